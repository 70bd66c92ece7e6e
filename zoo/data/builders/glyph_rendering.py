"""Letters and symbols drawn from matplotlib's fonts, distorted like handwriting.

No digit is ever drawn, so that a backbone trained on these glyphs sees its first
digit during fine-tuning. See FONTS.md for the fonts and their licences.
"""

import functools
import os
import string
import unicodedata

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import gaussian_filter, map_coordinates

SIZE = 36  # of a rendered glyph; four pixels more than a training crop
CANVAS = 72  # glyphs are bent at twice the size

TEXT_FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-BoldOblique.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSansMono-BoldOblique.ttf",
    "DejaVuSansMono-Oblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-BoldItalic.ttf",
    "DejaVuSerif-Italic.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralBolIta.ttf",
    "STIXGeneralItalic.ttf",
)
LATIN_FONTS = (
    "cmb10.ttf",
    "cmmi10.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
    "cmti10.ttf",
    "cmtt10.ttf",
)
CAPITAL_FONTS = ("cmsy10.ttf",)

# Lower-case letters that differ from their capitals in size alone share a class.
SAME_SHAPE = frozenset("cijklmopsuvwxyz")
GREEK = "αβγδεζηθλμξπσφχψωΓΔΘΛΞΠΣΦΨΩ"
CYRILLIC = "БДЖИЛУЦЧШЩЪЫЭЮЯ"
SYMBOLS = "!?&@#$%+*/<>{}()[]~^="
# First code points of the mathematical alphabets: script, fraktur, double-struck, ...
ALPHABETS = (
    *(0x1D434, 0x1D49C, 0x1D4D0, 0x1D504, 0x1D538),
    *(0x1D56C, 0x1D5A0, 0x1D608, 0x1D670),
)


def font_path(name: str) -> str:
    """Path of a font file that matplotlib bundles."""
    from matplotlib import get_data_path

    return os.path.join(get_data_path(), "fonts", "ttf", name)


@functools.cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_path(name), size)


@functools.cache
def _characters(name: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(font_path(name)).get_charmap())


@functools.cache
def glyph_classes() -> dict[str, tuple[tuple[str, str], ...]]:
    """The classes, and what can be drawn for each.

    Returns:
        Dict from class name (one character) to a tuple of `(font file, character)`,
        sorted by class name.

    Example:

    >>> names = list(glyph_classes())
    >>> "Q" in names, any(name.isdigit() for name in names)
    (True, False)
    """
    classes: dict[str, list[tuple[str, str]]] = {}

    def add(name: str, fonts: tuple[str, ...], character: str) -> None:
        for font in fonts:
            if ord(character) in _characters(font):
                classes.setdefault(name, []).append((font, character))

    for letter in string.ascii_letters:
        name = letter.upper() if letter in SAME_SHAPE else letter
        for start in ALPHABETS:
            offset = string.ascii_uppercase + string.ascii_lowercase
            styled = chr(start + offset.index(letter))
            add(name, ("STIXGeneral.ttf", "DejaVuSans.ttf"), styled)
        # The TeX fonts have their own encoding, equal to ASCII for letters alone.
        for font in TEXT_FONTS + LATIN_FONTS:
            classes.setdefault(name, []).append((font, letter))
    for letter in string.ascii_uppercase:
        classes[letter] += [(font, letter) for font in CAPITAL_FONTS]
    for character in GREEK + CYRILLIC + SYMBOLS:
        add(character, TEXT_FONTS, character)
    for name, drawings in classes.items():
        for _, character in drawings:
            assert unicodedata.category(character) != "Nd", (name, character)
    return {name: tuple(classes[name]) for name in sorted(classes)}


@functools.cache
def _stencil(font: str, character: str) -> Image.Image:
    """The glyph cut out and scaled to 48 pixels, as a grey PIL image."""
    image = Image.new("L", (120, 120), 0)
    pen = ImageDraw.Draw(image)
    pen.text((60, 60), character, font=_font(font, 48), fill=255, anchor="mm")
    image = image.crop(image.getbbox())
    scale = 48 / max(image.size)
    size = [max(4, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.BILINEAR)


def upsample_scan(blocks: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Scales 8×8 block counts of 0 to 16, as in UCI's digits, to a grey image.

    Args:
        blocks: Array `(8, 8)`, 0 to 16.
        size: Side of the result in pixels.

    Returns:
        uint8 array `(size, size)`, 0 to 255, bilinear.

    Example:

    >>> upsample_scan(np.full((8, 8), 16)).min()
    np.uint8(255)
    """
    image = Image.fromarray(np.asarray(blocks, "float32") * (255 / 16))
    scaled = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(scaled), 0, 255).astype("uint8")


def render_glyph(font: str, character: str, rng: np.random.Generator) -> np.ndarray:
    """Draws one glyph with a random stroke, pose, wobble, resolution and noise.

    Args:
        font: File name of a bundled font.
        character: The character to draw.
        rng: `numpy.random.Generator`; the same state gives the same image.

    Returns:
        uint8 array `(36, 36)`: ink is bright, paper is 0.

    Example:

    >>> a = render_glyph("DejaVuSans.ttf", "Q", np.random.default_rng(0))
    >>> a.shape, bool(a.max() > 128)
    ((36, 36), True)
    """
    while True:
        ink = _bend(_stroke(_stencil(font, character), rng), rng)
        rows, columns = (np.flatnonzero((ink > 64).any(axis)) for axis in (1, 0))
        if len(rows) > 3 and len(columns) > 1:  # else a thinned stroke vanished
            break
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    image = Image.fromarray(np.clip(box, 0, 255).astype("uint8"))
    return _scan(image, rng) if rng.random() < 0.6 else _photograph(image, rng)


def _stroke(stencil: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Thickens, thins or keeps the strokes."""
    canvas = Image.new("L", (CANVAS, CANVAS), 0)
    corner = [(CANVAS - side) // 2 for side in stencil.size]
    canvas.paste(stencil, tuple(corner))
    choice = rng.random()
    if choice < 0.3:
        return canvas.filter(ImageFilter.MaxFilter(int(rng.choice([3, 5]))))
    thin = canvas.filter(ImageFilter.MinFilter(3)) if choice < 0.5 else canvas
    return thin if thin.getextrema()[1] > 60 else canvas


def _bend(
    image: Image.Image, rng: np.random.Generator, wobble: float = 3.2
) -> np.ndarray:
    """Affine pose plus a smooth random displacement of a few pixels."""
    centre = (CANVAS - 1) / 2
    y, x = np.mgrid[:CANVAS, :CANVAS] - centre
    turn, shear = rng.normal(0, 0.16), rng.normal(0, 0.22)
    wide, high = np.exp(rng.normal(0, 0.13, 2))
    x, y = x * wide + y * shear, y * high
    x, y = (
        x * np.cos(turn) - y * np.sin(turn),
        x * np.sin(turn) + y * np.cos(turn),
    )
    shift = wobble * np.stack([_smooth_field(rng), _smooth_field(rng)])
    at = [y + shift[0] + centre, x + shift[1] + centre]
    return map_coordinates(np.asarray(image, "float32"), at, order=1)


def _smooth_field(rng: np.random.Generator) -> np.ndarray:
    nodes = int(rng.integers(3, 6))
    coarse = Image.fromarray(rng.normal(size=(nodes, nodes)).astype("float32"))
    return np.asarray(coarse.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC))


def _scan(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Like UCI's digits: a 32×32 bitmap whose ink is counted in 4×4 blocks."""
    scale = 32 / max(image.size)
    width, height = (max(4, round(side * scale)) for side in image.size)
    if rng.random() < 0.5:
        width = int(min(32, width * rng.uniform(1, 1.4)))
    left = int(np.clip((32 - width) // 2 + rng.integers(-2, 3), 0, 32 - width))
    top = (32 - height) // 2
    bitmap = np.zeros((32, 32), "float32")
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    ink = np.asarray(scaled, "float32") > rng.uniform(70, 170)
    bitmap[top : top + height, left : left + width] = ink
    return upsample_scan(bitmap.reshape(8, 4, 8, 4).sum((1, 3)))


def _photograph(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """At full resolution: shifted, blurred, faded, with sensor noise."""
    scale = rng.uniform(22, 34) / max(image.size)
    width, height = (max(3, round(side * scale)) for side in image.size)
    left, top = (
        int(np.clip((SIZE - side) // 2 + rng.integers(-3, 4), 0, SIZE - side))
        for side in (width, height)
    )
    paper = Image.new("L", (SIZE, SIZE), 0)
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    paper.paste(scaled, (left, top))
    grey = np.asarray(paper, "float32")
    if rng.random() < 0.6:
        grey = gaussian_filter(grey, rng.uniform(0.3, 1.8))
    grey = grey * rng.uniform(0.6, 1.1)
    grey = grey + rng.normal(0, rng.uniform(0, 14), grey.shape)
    return np.clip(grey, 0, 255).astype("uint8")
