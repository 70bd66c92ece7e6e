"""What the studies' pictures share: colours, frames, and a mean with its spread."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

# Okabe and Ito's, which colour-blind readers can tell apart; the pale ones left out.
BLUE_TO_RED = "RdBu_r"  # for values around 0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def panels(columns, rows=1, width=4.4, height=3.6, **options):
    """A figure and its axes, with a light grid and no box.

    Args:
        columns: Panels side by side.
        rows: Panels one above the other.
        width: Of a panel, in inches.
        height: Of a panel, in inches.
        **options: For `Figure.subplots`.

    Returns:
        The figure, and a flat list of its axes.
    """
    figure = Figure((width * columns, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in grid.flat:
        axes.grid(color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid.flat)


def band(axes, x, curves, colour, label, log=False, **options):
    """The mean of several curves and, paler, one standard deviation around it.

    Args:
        axes: Where to draw.
        x: The places.
        curves: Array `(seeds, places)`.
        colour: Of both.
        label: For the legend.
        log: Whether mean and deviation are of the logarithms.
        **options: For `Axes.plot`.
    """
    curves = np.asarray(curves, float)
    curves = np.log(np.maximum(curves, 1e-300)) if log else curves
    mean, sd = curves.mean(axis=0), curves.std(axis=0, ddof=1)
    low, middle, high = (
        np.exp(each) if log else each for each in (mean - sd, mean, mean + sd)
    )
    axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    axes.plot(x, middle, color=colour, label=label, **options)


def dots(axes, x, values, colour, label=None):
    """Every seed as a dot at a place, and mean and standard deviation over them."""
    axes.plot([x] * len(values), values, "o", color=colour, alpha=0.35, ms=4)
    mean, sd = np.mean(values), np.std(values, ddof=1)
    axes.errorbar(x, mean, sd, fmt="D", color=colour, capsize=3, ms=5, label=label)


def groups(axes, names, table, colours=COLOURS):
    """Dots in groups side by side.

    Args:
        axes: Where to draw.
        names: Of the groups, along the axis.
        table: Dict from what the legend says to the values by group, a list of lists.
        colours: One for each of these.
    """
    for place, ((label, of), colour) in enumerate(
        zip(table.items(), colours, strict=False)
    ):
        for i, values in enumerate(of):
            x = i + 0.64 / len(table) * (place - (len(table) - 1) / 2)
            dots(axes, x, values, colour, None if i else label)
    axes.set_xticks(range(len(names)), names)


def plain_log(axis, ticks):
    """A logarithmic axis whose ticks are written out."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def legend_below(figure, axes, columns=2):
    """The legend of one panel, under all of them."""
    handles, labels = axes.get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": columns}
    figure.legend(handles, labels, **place, frameon=False, fontsize=9)


def heat(axes, values, rows, columns, label, text="{:.0f}", **options):
    """A heat map with its numbers in it.

    Args:
        axes: Where to draw.
        values: Array `(rows, columns)`.
        rows: Their names.
        columns: Their names.
        label: Of the colours.
        text: How a number is written.
        **options: For `Axes.imshow`.
    """
    image = axes.imshow(values, aspect="auto", cmap="cividis", **options)
    low, high = image.get_clim()
    for (row, column), value in np.ndenumerate(np.asarray(values)):
        dark = value < (low + high) / 2
        axes.text(
            column,
            row,
            text.format(value),
            ha="center",
            va="center",
            color="white" if dark else "black",
        )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.figure.colorbar(image, ax=axes, label=label)
