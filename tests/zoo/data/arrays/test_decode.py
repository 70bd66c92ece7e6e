import contextlib
import io
import struct
import warnings
import zlib

import keras
import numpy as np
import pytest
from PIL import Image

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.decode import (
    UnreadableImage,
    image_extensions,
    read_image,
    shrink,
    to_channels,
)

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (7, 9, 3)).astype("uint8")
GREY = RNG.integers(0, 256, (7, 9)).astype("uint8")
ALPHA = RNG.integers(0, 256, (7, 9)).astype("uint8")


def over_white(colour, alpha):
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def read_both(path):
    """Read in colour and in grey, which must agree by the luma of ITU-R 601."""
    colour, grey = read_image(path, 3), read_image(path, 1)
    assert colour.dtype == grey.dtype == np.uint8
    assert (*colour.shape[:2], 1) == grey.shape
    luma = colour @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[..., 0], luma, atol=1)
    return colour.astype(float)


class TestModes:
    @pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.tga"])
    def test_rgb(self, tmp_path, name):
        path = saved(tmp_path, Image.fromarray(RGB), name)
        assert (read_both(path) == RGB).all()

    @pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.pgm"])
    def test_grey(self, tmp_path, name):
        path = saved(tmp_path, Image.fromarray(GREY), name)
        assert (read_both(path) == GREY[..., None]).all()
        assert (read_image(path, 1)[..., 0] == GREY).all()

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif"])
    def test_one_bit_is_black_and_white(self, tmp_path, name):
        bits = GREY > 127
        path = saved(tmp_path, Image.fromarray(bits), name)
        assert (read_both(path) == np.where(bits, 255, 0)[..., None]).all()

    @pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp"])
    def test_palette(self, tmp_path, name):
        colours = RNG.integers(0, 256, (256, 3)).astype("uint8")
        image = Image.fromarray(GREY)
        image.putpalette(colours.tobytes())
        path = saved(tmp_path, image, name)
        assert (read_both(path) == colours[GREY]).all()

    def test_palette_with_transparency_lies_over_white(self, tmp_path):
        colours = RNG.integers(0, 256, (256, 3)).astype("uint8")
        alphas = RNG.integers(0, 256, 256).astype("uint8")
        image = Image.fromarray(GREY)
        image.putpalette(colours.tobytes())
        path = saved(tmp_path, image, "a.png", transparency=alphas.tobytes())
        expected = over_white(colours[GREY], alphas[GREY])
        np.testing.assert_allclose(read_both(path), expected, atol=1)

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
    def test_alpha_lies_over_white(self, tmp_path, name):
        image = Image.fromarray(np.dstack([RGB, ALPHA]))
        path = saved(tmp_path, image, name, lossless=True, exact=True)
        expected = over_white(RGB, ALPHA)
        np.testing.assert_allclose(read_both(path), expected, atol=1)

    def test_grey_alpha_lies_over_white(self, tmp_path):
        path = saved(tmp_path, Image.fromarray(np.dstack([GREY, ALPHA])), "a.png")
        assert Image.open(path).mode == "LA"
        expected = over_white(GREY[..., None], ALPHA)
        np.testing.assert_allclose(read_both(path), np.repeat(expected, 3, -1), atol=1)

    def test_one_transparent_colour_is_white(self, tmp_path):
        path = saved(
            tmp_path,
            Image.fromarray(RGB),
            "a.png",
            transparency=tuple(RGB[2, 3].tolist()),
        )
        expected = RGB.copy()
        expected[2, 3] = 255
        assert (read_both(path) == expected).all()

    @pytest.mark.parametrize(
        ("dtype", "name", "mode"),
        [
            ("<u2", "a.png", "I;16"),
            ("<u2", "a.tif", "I;16"),
            (">u2", "a.tif", "I;16B"),
            ("int32", "a.tif", "I"),
        ],
    )
    def test_sixteen_bits_are_scaled(self, tmp_path, dtype, name, mode):
        deep = np.linspace(0, 65535, 63).reshape(7, 9).astype(dtype)
        path = saved(tmp_path, Image.fromarray(deep), name)
        assert Image.open(path).mode == mode
        expected = np.rint(deep.astype(float) / 257)[..., None]
        assert (read_both(path) == expected).all()

    def test_sixteen_bit_pgm(self, tmp_path):
        deep = np.linspace(0, 65535, 63).reshape(7, 9).astype(">u2")
        path = tmp_path / "a.pgm"
        path.write_bytes(b"P5 9 7 65535\n" + deep.tobytes())
        assert (read_both(path) == np.rint(deep / 257)[..., None]).all()

    def test_sixteen_bit_transparent_grey_is_white(self, tmp_path):
        deep = np.array([[0, 1000, 60000]], "uint16")
        path = saved(tmp_path, Image.fromarray(deep), "a.png", transparency=1000)
        assert read_image(path, 1).ravel().tolist() == [0, 255, 233]

    def test_sixteen_bit_colour_png(self, tmp_path):
        deep = np.linspace(0, 65535, 4 * 5 * 3).reshape(4, 5, 3).astype(">u2")
        path = tmp_path / "a.png"
        path.write_bytes(png(5, 4, 16, 2, deep.reshape(4, -1)))
        np.testing.assert_allclose(read_both(path), deep / 257, atol=1)

    def test_cmyk(self, tmp_path):
        ink = RNG.integers(0, 256, (7, 9, 4)).astype("uint8")
        path = saved(tmp_path, Image.fromarray(ink, "CMYK"), "a.tif")
        paper = 1 - ink / 255
        expected = 255 * paper[..., :3] * paper[..., 3:]
        np.testing.assert_allclose(read_both(path), expected, atol=1)

    def test_cmyk_jpeg_is_not_inverted(self, tmp_path):
        ink = np.broadcast_to(np.uint8([255, 128, 0, 51]), (16, 16, 4))
        path = saved(tmp_path, Image.fromarray(ink, "CMYK"), "a.jpg", quality=95)
        assert b"Adobe" in path.read_bytes()  # which stores its inks inverted
        expected = np.broadcast_to([0, 102, 204], (16, 16, 3))
        np.testing.assert_allclose(read_both(path), expected, atol=3)

    @pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
    def test_ycbcr(self, tmp_path, name):
        orange = np.broadcast_to(np.uint8([250, 120, 10]), (16, 16, 3))
        image = Image.fromarray(orange).convert("YCbCr")
        path = saved(tmp_path, image, name)
        np.testing.assert_allclose(read_both(path), orange, atol=3)


def png(width, height, depth, colour, rows):
    """A PNG file by the standard."""

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


UPRIGHT = {  # by the EXIF standard, how stored rows and columns are turned to be seen
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_exif_orientation(tmp_path, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(RGB), name, exif=exif)
    assert (read_image(path, 3) == UPRIGHT[orientation](RGB)).all()


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_animation_gives_its_first_frame(tmp_path, name):
    frames = [Image.fromarray(np.full((8, 8), tone, "uint8")) for tone in (40, 200)]
    options = {"save_all": True, "append_images": frames[1:], "lossless": True}
    path = saved(tmp_path, frames[0], name, **options)
    assert Image.open(path).n_frames == 2
    assert (read_image(path, 1) == 40).all()


def test_content_counts_not_the_name(tmp_path):
    path = saved(tmp_path, Image.fromarray(RGB), "a.jpg", format="PNG")
    assert (read_image(str(path), 3) == RGB).all()


def encoded(form):
    picture = RNG.integers(0, 256, (40, 40, 3)).astype("uint8")
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, form)
    return buffer.getvalue()


class TestBadFiles:
    @pytest.mark.parametrize(
        "form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"]
    )
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
    @pytest.mark.filterwarnings("ignore:Truncated")  # which Pillow says of a TIFF
    def test_truncated(self, tmp_path, form, share):
        whole = encoded(form)
        path = tmp_path / "cut.png"
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(
            UnreadableImage, match=r"cut\.png cannot be read: .+"
        ) as caught:
            read_image(path, 3)
        assert "\n" not in str(caught.value)
        path.write_bytes(whole)
        assert read_image(path, 3).shape == (40, 40, 3)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "empty"),
            (b"Dear diary, today", "not an image"),
            (bytes(1000), "not an image"),
            (b"\x89PNG\r\n\x1a\n", "not an image"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
            (b"P5 3 3 255\nabc", "truncated|not enough"),
        ],
    )
    def test_other_content(self, tmp_path, content, reason):
        path = tmp_path / "a.png"
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"a\.png.*({reason})"):
            read_image(path, 1)

    def test_missing_file(self, tmp_path):
        with pytest.raises(InputError, match="No such file"):
            read_image(tmp_path / "a.png", 3)

    def test_folder(self, tmp_path):
        with pytest.raises(InputError, match="directory"):
            read_image(tmp_path, 3)

    def test_floating_point_greys(self, tmp_path):
        path = saved(tmp_path, Image.fromarray(np.ones((4, 4), "float32")), "a.tif")
        with pytest.raises(InputError, match="floating-point"):
            read_image(path, 1)

    @pytest.mark.parametrize("value", [-1, 65536])
    def test_greys_beyond_sixteen_bits(self, tmp_path, value):
        path = saved(
            tmp_path, Image.fromarray(np.full((4, 4), value, "int32")), "a.tif"
        )
        with pytest.raises(InputError, match="16 bits"):
            read_image(path, 1)

    def test_decompression_bomb(self, tmp_path):
        path = tmp_path / "bomb.png"
        path.write_bytes(png(60_000, 60_000, 1, 0, []))
        with pytest.raises(InputError, match=r"bomb\.png.*3600000000 pixels"):
            read_image(path, 1)

    @pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF", "BMP"])
    def test_damaged_bytes_are_read_or_refused(self, tmp_path, form):
        whole = np.frombuffer(encoded(form), "uint8")
        path = tmp_path / "a.png"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow grumbles at the corrupt ones
            for _ in range(60):
                spoilt = whole.copy()
                places = RNG.integers(0, min(200, len(whole)), 3)
                spoilt[places] = RNG.integers(0, 256, 3)
                path.write_bytes(spoilt.tobytes())
                with contextlib.suppress(UnreadableImage):
                    assert read_image(path, 3).dtype == np.uint8


def test_extensions():
    known = image_extensions()
    assert {".jpg", ".jpeg", ".png", ".tiff", ".gif", ".webp", ".bmp", ".mpo"} <= known
    assert not {".txt", ".pdf", ".eps", ".h5", ".mpeg", ""} & known


class TestToChannels:
    def test_grey_to_colour_and_back(self):
        colour = to_channels(GREY, 3)
        assert (colour == GREY[..., None]).all() and colour.shape == (7, 9, 3)
        assert (to_channels(colour, 1)[..., 0] == GREY).all()
        assert (to_channels(GREY[..., None], 3) == colour).all()

    def test_same_stays(self):
        assert to_channels(RGB, 3) is RGB

    def test_fourth_channel_is_opacity(self):
        result = to_channels(np.dstack([RGB, ALPHA]), 3)
        np.testing.assert_allclose(result, over_white(RGB, ALPHA), atol=1)


class TestShrink:
    @pytest.mark.parametrize(
        ("height", "width"),
        [(100, 130), (131, 97), (37, 36), (33, 200), (20, 31), (36, 36), (480, 641)],
    )
    @pytest.mark.parametrize("channels", [1, 3])
    def test_equals_the_layer_in_the_model(self, height, width, channels):
        layer = keras.layers.Resizing(36, 36, crop_to_aspect_ratio=True, antialias=True)
        coarse = RNG.integers(0, 256, (6, 6, 3)).astype("uint8")
        smooth = Image.fromarray(coarse).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        noise = RNG.integers(0, 256, (height, width, 3))
        for picture in (np.asarray(smooth), noise.astype("uint8")):
            picture = picture[..., :channels]
            expected = np.asarray(layer(picture[None].astype("float32")))[0]
            result = shrink(picture, 36)
            assert result.shape == (36, 36, channels) and result.dtype == np.uint8
            assert np.abs(result - expected).max() <= 1.001

    def test_takes_the_middle(self):
        picture = np.zeros((4, 10, 1), "uint8")
        picture[:, 3:7] = 200
        assert (shrink(picture, 4) == 200).all()
        assert (shrink(picture.swapaxes(0, 1), 4) == 200).all()

    def test_averages_instead_of_picking(self):
        stripes = np.tile(np.uint8([0, 255]), 32)
        picture = np.broadcast_to(stripes, (64, 64))[..., None]
        np.testing.assert_allclose(shrink(picture, 8), 127.5, atol=8)
