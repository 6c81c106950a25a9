"""Picture files of every kind, made with Pillow, read or refused."""

import io
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from demo.pictures import PICTURE_FORMATS, PictureLimits, read_picture
from demo.problems import BrokenPicture, TooManyBytes, TooManyPixels, UnsupportedPicture

LOSSLESS = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}, "JPEG": {"quality": 100}}


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    if kind == "HEIF":  # what the server has reads only
        pillow_heif.from_pillow(image).save(file, quality=-1)
    else:
        image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def photo() -> Image.Image:
    """A smooth 48 x 32 gradient: survives lossy formats within a few grey levels."""
    y, x = np.mgrid[0:32, 0:48]
    return Image.fromarray(np.stack([x * 5, y * 7, 255 - x * 3], axis=2).astype(np.uint8))


@pytest.mark.parametrize("kind", PICTURE_FORMATS)
def test_every_allowed_format_is_read_as_rgb(photo, kind):
    pixels = read_picture(encode(photo, kind, **LOSSLESS.get(kind, {})))
    assert pixels.shape == (32, 48, 3)
    assert pixels.dtype == np.uint8
    tolerance = {"GIF": 60, "JPEG": 12, "AVIF": 6, "HEIF": 6}.get(kind, 0)
    assert np.abs(pixels.astype(int) - np.asarray(photo).astype(int)).max() <= tolerance


@pytest.mark.parametrize("kind", PICTURE_FORMATS)
def test_a_picture_cut_in_half_is_refused(kind):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises((BrokenPicture, UnsupportedPicture)):
        read_picture(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
        ("pdf", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF"),
        ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"),
        ("html", b"<!doctype html><title>no</title>"),
        ("text", b"not a picture at all"),
        ("empty", b""),
    ],
)
def test_what_is_no_picture_is_refused_with_the_formats_that_are(name, data):
    with pytest.raises(UnsupportedPicture) as refusal:
        read_picture(data)
    assert "JPEG" in refusal.value.document()["allowed"]


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO", "PCX"])
def test_formats_that_pillow_reads_but_we_do_not_are_refused(photo, kind):
    with pytest.raises(UnsupportedPicture):
        read_picture(encode(photo, kind))


def test_too_many_bytes_names_limit_and_size():
    with pytest.raises(TooManyBytes) as refusal:
        read_picture(b"x" * 11, PictureLimits(max_bytes=10))
    assert (refusal.value.extensions["limit"], refusal.value.extensions["given"]) == (10, 11)


def test_too_many_pixels_are_refused_before_they_are_decoded(photo, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(TooManyPixels) as refusal:
        read_picture(png_of_size(5000, 4000), PictureLimits(max_pixels=1_000_000))
    assert (refusal.value.extensions["limit"], refusal.value.extensions["given"]) == (1_000_000, 20_000_000)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side):
    """144 megapixels make Pillow warn and 3600 make it raise; both are our refusal."""
    with pytest.raises(TooManyPixels) as refusal:
        read_picture(png_of_size(side, side))
    assert refusal.value.extensions["limit"] == PictureLimits().max_pixels


def test_a_gif_frame_larger_than_its_canvas_counts_in_full():
    data = bytearray(encode(Image.new("P", (10, 10)), "GIF"))
    descriptor = data.index(b"\x2c", 13)
    data[descriptor + 5 : descriptor + 9] = struct.pack("<HH", 3000, 3000)
    with pytest.raises((TooManyPixels, BrokenPicture)):
        read_picture(bytes(data), PictureLimits(max_pixels=1_000_000))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises more than its data holds."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# ---- EXIF orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind, orientation):
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = 255  # the top left quarter is white
    stored = stored_as(upright, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(stored), kind, exif=exif, **LOSSLESS.get(kind, {}))
    pixels = read_picture(data)
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).max() <= 3


def stored_as(upright: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera stores an upright picture, from the definition of the EXIF tag (row 0, column 0 are ...)."""
    inverse = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(inverse[orientation](upright))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_is_ignored(photo):
    data = encode(photo, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    assert read_picture(data).shape == (32, 48, 3)


# ---- kinds of pixels


def test_alpha_is_composited_on_white():
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    image.putpixel((1, 1), (200, 0, 0, 255))
    pixels = read_picture(encode(image, "PNG"))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [200, 0, 0]


def test_grey_with_alpha_is_composited_on_white():
    pixels = read_picture(encode(Image.new("LA", (4, 4), (0, 128)), "PNG"))
    assert np.abs(pixels.astype(int) - 127).max() <= 1


def test_the_transparent_colour_of_a_palette_becomes_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 1), 1)
    pixels = read_picture(encode(image, "PNG", transparency=0))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [40, 50, 60]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_full_range(kind):
    grey = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    pixels = read_picture(encode(Image.fromarray(grey), kind))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (pixels == pixels[:, :, :1]).all()


def test_float_grey_is_stretched_and_survives_nan():
    grey = np.array([[-1.0, 0.0, 1.0, np.nan]], np.float32)
    pixels = read_picture(encode(Image.fromarray(grey), "TIFF"))
    assert pixels[0, :, 0].tolist() == [0, 128, 255, 128]


def test_constant_float_grey_does_not_divide_by_zero():
    pixels = read_picture(encode(Image.fromarray(np.full((3, 3), 7.5, np.float32)), "TIFF"))
    assert pixels.max() == 0


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind):
    pixels = read_picture(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind))
    red, green, blue = pixels[8, 8].tolist()
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_simple_modes_become_rgb(mode):
    pixels = read_picture(encode(Image.new("RGB", (5, 3), "white").convert(mode), "PNG"))
    assert pixels.shape == (3, 5, 3) and pixels.min() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_only_the_first_frame_of_an_animation_is_read(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **LOSSLESS.get(kind, {}))
    red, _, blue = read_picture(data)[4, 4].tolist()
    assert red > 240 and blue < 15


def test_a_photograph_with_an_embedded_second_picture_is_a_jpeg():
    """Many phones write MPO: a JPEG with more pictures behind it."""
    photo, depth = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")
    data = encode(photo, "MPO", save_all=True, append_images=[depth])
    assert read_picture(data).shape == (16, 16, 3)
