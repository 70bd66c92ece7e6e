# SPDX-License-Identifier: Apache-2.0
"""select_model: train models of several complexities, take the simplest of the best.

What:    trains each candidate for the same epochs, restores its best one, and chooses
         by validation loss; draws the curves side by side and the errors against
         complexity.
When:    a run underfits or overfits, before any regulariser is added.
Not for: searches over learning rates and the like; candidates that each need a budget
         of their own; a figure to report, which needs a test set: the lowest of several
         validation losses is too optimistic.
Source:  Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd
         edition, Springer 2009, sections 7.2 and 7.10: complexity is chosen on held-out
         data, and the simplest model that is about as good as the best is taken.
Differs: there by cross-validation and one standard error; here by one validation set
         and a relative tolerance.
Needs:   keras>=3.12; matplotlib for pictures.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
PANELS = 6  # in a row


@dataclass(frozen=True)
class _Trial:
    """One candidate, trained.

    Attributes:
        name: Its name.
        parameters: Its weights, in numbers.
        loss, val_loss: Tuples of a value for each epoch.
        epoch: The best epoch, from 1; `None` if no validation loss was finite.
        train_error: Loss on the training set after that epoch, without dropout.
        val_error: Loss on the validation set after that epoch; infinite without one.
        model: The model as it was then.
    """

    name: str
    parameters: int
    loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    epoch: int | None
    train_error: float
    val_error: float
    model: keras.Model = field(repr=False)


@dataclass(frozen=True)
class ModelSelection:
    """What `select_model` chose, and from what; `print` shows the table.

    Attributes:
        trials: For each candidate, in order of complexity, its `name`, `parameters`,
            curves `loss` and `val_loss`, best `epoch` (from 1; `None` if no
            validation loss was finite), `train_error` and `val_error` after that
            epoch, and `model`.
        chosen: The chosen candidate.
        tol: How far above the lowest validation loss another one still counts as
            equally good, as a fraction of it.
    """

    trials: tuple[_Trial, ...]
    chosen: _Trial
    tol: float

    @property
    def model(self) -> keras.Model:
        """The chosen model."""
        return self.chosen.model

    def __str__(self):
        width = max(len(each.name) for each in self.trials)
        lines = [
            f"  {'':{width}} {'parameters':>12} {'training':>10} {'validation':>10}"
        ]
        for each in self.trials:
            mark = "*" if each is self.chosen else " "
            lines.append(
                f"{mark} {each.name:{width}} {each.parameters:12,} "
                f"{each.train_error:10.4g} {each.val_error:10.4g}"
                f"  epoch {each.epoch} of {len(each.loss)}"
            )
        return "\n".join(lines)

    def plot(self, path=None):
        """Draws each candidate's curves, and the errors against complexity.

        The errors are shown after the last epoch, where complexity shows best (the
        training loss falls, the validation loss falls and then rises), and after the
        best epoch, by which the choice is made.

        Args:
            path: Where to save the picture. By default it is not saved.

        Returns:
            A matplotlib `Figure`.
        """
        from matplotlib.figure import Figure

        rows = math.ceil(len(self.trials) / PANELS)
        size = (max(7, 2.2 * min(len(self.trials), PANELS)), 3.2 + 2.2 * rows)
        figure = Figure(size, layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=(2.2 * rows, 3.2))
        columns = math.ceil(len(self.trials) / rows)
        grid = top.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        axes = list(grid.flat)
        for panel, each in zip(axes, self.trials, strict=False):
            epochs = range(1, len(each.loss) + 1)
            panel.plot(epochs, each.loss, color=BLUE)
            panel.plot(epochs, each.val_loss, color=ORANGE, linestyle="--")
            if each.epoch:
                panel.plot(each.epoch, each.val_error, "o", color=ORANGE)
            weight = "bold" if each is self.chosen else "normal"
            panel.set_title(each.name, fontweight=weight)
        for panel in axes[len(self.trials) :]:
            panel.set_visible(False)
        top.supxlabel("epoch", fontsize="medium")
        top.supylabel("loss", fontsize="medium")

        below = bottom.subplots()
        places = range(len(self.trials))
        for label, colour, style, errors in (
            ("training, last epoch", BLUE, "o-", [t.loss[-1] for t in self.trials]),
            ("validation, last", ORANGE, "s--", [t.val_loss[-1] for t in self.trials]),
            ("validation, best", GREEN, "D:", [t.val_error for t in self.trials]),
        ):
            errors = np.where(np.isfinite(errors), errors, np.nan)
            below.plot(places, errors, style, color=colour, label=label)
        place = self.trials.index(self.chosen)
        below.axvline(place, color="0.7", zorder=0)
        labels = [f"{each.name}\n{each.parameters:,}" for each in self.trials]
        below.set_xticks(places, labels)
        below.set(xlabel="complexity: parameters", ylabel="loss")
        below.legend(frameon=False)
        positive = all(min(each.loss + each.val_loss) > 0 for each in self.trials)
        for panel in (*axes, below):
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_yscale("log" if positive else "linear")
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def select_model(
    candidates: Mapping[str, Callable[[], keras.Model]]
    | Sequence[Callable[[], keras.Model]],
    x: Any,
    y: Any = None,
    *,
    validation_data: Any,
    epochs: int,
    batch_size: int | None = None,
    tol: float = 0.01,
    seed: int = 0,
    verbose: int | str = 0,
) -> ModelSelection:
    """Chooses among models of several complexities by validation loss.

    Each candidate is built and trained from the same random seed, for the same epochs,
    and gets the weights of the epoch of its lowest validation loss. Of those whose
    lowest loss is at most `1 + tol` times the lowest of all, the first, which is the
    simplest, is chosen. A candidate whose validation loss is never finite is not.

    The seeds of Python, NumPy and the backend are set. All models are kept in memory.

    Args:
        candidates: List of functions without arguments that return a compiled
            `keras.Model` with the same loss, the simplest first; or a dict of such
            functions by name.
        x: Training inputs, or a data set that can be iterated over more than once.
        y: Training targets, if `x` does not contain them. Defaults to `None`.
        validation_data: Validation data, as for `fit`.
        epochs: Int, the number of epochs to train each candidate for.
        batch_size: Int, for arrays. Defaults to `None`, which is 32.
        tol: Float of at least 0, how far above the lowest validation loss another one
            still counts as equally good, as a fraction of it. Defaults to 0.01.
        seed: Int, the random seed of each candidate. Defaults to 0.
        verbose: As for `fit`. Defaults to 0.

    Returns:
        A `ModelSelection`.

    Raises:
        ValueError: If there are no candidates, one is not a function or returns a
            model that is not compiled, an argument is out of range, the data can be
            iterated over only once, or no validation loss is finite.

    Example:
    >>> def candidate(units):
    ...     model = keras.Sequential(
    ...         [
    ...             keras.Input((1,)),
    ...             keras.layers.Dense(units, activation="tanh"),
    ...             keras.layers.Dense(1),
    ...         ]
    ...     )
    ...     model.compile(keras.optimizers.Adam(0.05), "mse")
    ...     return model
    >>> x = np.linspace(-2, 2, 60)[:, None]
    >>> found = select_model(
    ...     {"1 unit": lambda: candidate(1), "8 units": lambda: candidate(8)},
    ...     x[::2],
    ...     x[::2] ** 2,
    ...     validation_data=(x[1::2], x[1::2] ** 2),
    ...     epochs=60,
    ... )
    >>> found.chosen.name
    '8 units'
    """
    if not isinstance(candidates, Mapping):
        candidates = {str(n): each for n, each in enumerate(candidates, 1)}
    if not candidates or not all(map(callable, candidates.values())):
        raise ValueError(
            "`candidates` must be one or more functions that return a compiled model. "
            f"Received: candidates={candidates}"
        )
    if epochs < 1 or not 0 <= tol < math.inf:
        raise ValueError(
            "`epochs` must be at least 1 and `tol` at least 0. "
            f"Received: epochs={epochs}, tol={tol}"
        )
    for name, data in (("x", x), ("validation_data", validation_data)):
        if data is None or hasattr(data, "__next__"):
            raise ValueError(
                f"`{name}` must be data that can be iterated over more than once. "
                f"Received: {name}={data!r:.80}"
            )
    models = {name: _build(name, make, seed) for name, make in candidates.items()}
    trials = []
    for name, model in models.items():
        keras.utils.set_random_seed(seed)
        back_to_best = keras.callbacks.EarlyStopping(
            "val_loss", patience=epochs, mode="min", restore_best_weights=True
        )
        curves = model.fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            validation_data=validation_data,
            callbacks=[back_to_best],
            verbose=verbose,
        ).history
        losses = np.where(np.isfinite(curves["val_loss"]), curves["val_loss"], np.inf)
        found = bool(np.isfinite(losses).any())
        after = model.evaluate(
            x, y, batch_size=batch_size, verbose=verbose, return_dict=True
        )
        trials.append(
            _Trial(
                name=name,
                parameters=model.count_params(),
                loss=tuple(curves["loss"]),
                val_loss=tuple(curves["val_loss"]),
                epoch=int(losses.argmin()) + 1 if found else None,
                train_error=float(after["loss"]),
                val_error=float(losses.min()),
                model=model,
            )
        )
    lowest = min(each.val_error for each in trials)
    if lowest == math.inf:
        raise ValueError(
            "No candidate's validation loss is finite: look for NaN in the data, or "
            f"lower the learning rate. Received: {len(trials)} candidates"
        )
    # A negative loss, such as a density's, has its margin above it too.
    bound = lowest + tol * abs(lowest)
    chosen = next(each for each in trials if each.val_error <= bound)
    return ModelSelection(tuple(trials), chosen, tol)


def _build(name, make, seed):
    """A candidate's model, which must be compiled."""
    keras.utils.set_random_seed(seed)
    model = make()
    if not (isinstance(model, keras.Model) and model.compiled):
        raise ValueError(
            "A candidate must return a compiled `keras.Model`. "
            f"Received: {model} from candidate {name!r}"
        )
    return model
