"""Picture files from strangers: bytes in, RGB pixels out, or a refusal that names the limit.

What becomes of the odd kinds:

    EXIF orientation        applied; a damaged EXIF block is ignored, as browsers do
    alpha                   composited on white
    palette, 1 bit, CMYK    converted to RGB (CMYK without its colour profile)
    16-bit grey             its full range is scaled to 0..255
    32-bit or float grey    no range is declared, so darkest..brightest becomes 0..255
    animated, many pages    the first frame
    cut short               refused
"""

from __future__ import annotations

import hashlib
import hmac
import io
from dataclasses import dataclass

import numpy as np
import pi_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from demo.problems import BrokenPicture, TooManyBytes, TooManyPixels, UnsupportedPicture

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
PICTURE_PIXELS_ROOF = 178_000_000  # Pillow's own guard refuses anything larger, whatever we are told to allow
_FAST_COMPRESSION = 1
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class PictureLimits:
    """The largest picture that is taken: bytes of the file, pixels (width x height) of the picture."""

    max_bytes: int = 50_000_000
    max_pixels: int = 60_000_000


DEFAULT_LIMITS = PictureLimits()


def read_picture(data: bytes, limits: PictureLimits = DEFAULT_LIMITS) -> np.ndarray:
    """Decode a picture file to HWC uint8 RGB, upright; raises a Problem when it is refused.

    The size is checked from the header, before a pixel is decoded.
    """
    if len(data) > limits.max_bytes:
        raise TooManyBytes(limits.max_bytes, len(data))
    with _open(data, limits) as image:
        _check_pixels(image, limits)
        _load(image)
        _check_pixels(image, limits)
        return _to_rgb(_upright(image))


def picture_name(data: bytes, owner: str = "") -> str:
    """The name of a picture file, 64 hexadecimal digits: the SHA-256 of its bytes; where it has an owner, theirs alone.

    owner: a secret. Without it, nobody can tell what an owned name is made of, or make one that is of that owner.
    """
    content = hashlib.sha256(data).hexdigest()
    if not owner:
        return content
    own = _keyed(owner, f"picture {content}")
    return own + _seal(own, owner)


def is_picture_of(name: str, owner: str) -> bool:
    """Whether `picture_name` gave this name to a picture of `owner`."""
    half = len(name) // 2
    return bool(owner) and hmac.compare_digest(name[half:].encode(), _seal(name[:half], owner).encode())


def _seal(own: str, owner: str) -> str:
    return _keyed(owner, f"seal {own}")


def _keyed(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


def write_png(pixels: np.ndarray) -> bytes:
    """HWC uint8 RGB as a PNG file: for browsers that cannot show the file which the pixels came from."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=_FAST_COMPRESSION)
    return file.getvalue()


def _open(data: bytes, limits: PictureLimits) -> Image.Image:
    pi_heif.register_heif_opener()  # no more than two entries in Pillow's tables
    try:
        return Image.open(io.BytesIO(data), formats=PICTURE_FORMATS)
    except _BOMBS:
        raise TooManyPixels(limits.max_pixels) from None
    except UnidentifiedImageError:
        allowed = ", ".join(PICTURE_FORMATS)
        detail = f"the {len(data)} bytes are none of {allowed}"
        raise UnsupportedPicture(detail, allowed=PICTURE_FORMATS) from None
    except Exception as error:  # Pillow's parsers raise whatever the damage makes them trip over
        raise BrokenPicture(f"its header cannot be read: {error}") from error


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise BrokenPicture(f"its pixels cannot be read: {error}") from error


def _check_pixels(image: Image.Image, limits: PictureLimits) -> None:
    pixels = image.width * image.height
    if pixels > limits.max_pixels:
        raise TooManyPixels(limits.max_pixels, pixels)
    if pixels == 0:
        raise BrokenPicture(f"its size is {image.width} x {image.height}")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return image


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        return np.repeat(_deep_grey(image)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = _on_white(image.convert("RGBA"))
    try:
        return np.array(image.convert("RGB"))
    except ValueError:
        raise UnsupportedPicture(f"pixels of kind {image.mode} are not read here", mode=image.mode) from None


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image)


def _deep_grey(image: Image.Image) -> np.ndarray:
    """Grey of more than eight bits -> uint8; 65535 / 257 is 255, so 16 bits lose nothing but precision."""
    grey = np.asarray(image)
    if image.mode.startswith("I;16"):
        return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)
    grey = np.nan_to_num(grey.astype(np.float64), posinf=0, neginf=0)
    darkest, brightest = grey.min(), grey.max()
    return np.rint((grey - darkest) * (255 / max(brightest - darkest, 1e-12))).astype(np.uint8)
