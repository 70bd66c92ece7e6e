"""The style of all figures, and how they are written.

No figure touches pyplot, so nothing leaves state behind or needs a display. The colours
can be told apart by colour-blind eyes: three of Okabe and Ito's.

Names of classes may be in any script. Where no installed font has a letter,
matplotlib draws an empty box instead, and its warning is silenced: the report's tables
show the same names in the reader's own fonts.
"""

import io
import os
import warnings
from pathlib import Path

from matplotlib import font_manager, style
from matplotlib.figure import Figure
from PIL import Image

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
INK, QUIET, BAND = "#1a1a1a", "#595959", "#f0f0f0"

# Fonts with many scripts that systems bring: those that are here follow DejaVu.
WIDE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Arial Unicode MS",
)
STYLE = {
    "font.family": [
        "DejaVu Sans",
        *(name for name in WIDE_FONTS if name in font_manager.get_font_names()),
    ],
    "font.size": 11,
    "text.parse_math": False,  # a class may be called "$5"
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "savefig.dpi": 130,
    "savefig.bbox": "tight",
}
# Ticks are made, and their letters looked up, when a figure is saved: drawing and
# saving both need the style. A reader's own matplotlibrc has no say in a report.
styled = style.context(STYLE, after_reset=True)

MOST_BYTES = 200_000


@styled
def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure as a PNG of 256 colours, or of 64 if it were over 200 kB.

    Args:
        figure: What was drawn in this style: a `matplotlib.figure.Figure`.
        path: File to write.
    """
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(drawn, format="png")
    picture = Image.open(drawn).convert("RGB")
    for colours in (256, 64):
        file = io.BytesIO()
        picture.quantize(colours).save(file, format="png", optimize=True)
        if file.tell() <= MOST_BYTES:
            break
    Path(path).write_bytes(file.getvalue())
