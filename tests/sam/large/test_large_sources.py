"""Windows of files are the pixels of the file, with libvips and without, and damaged or too large files are named."""

import builtins
import errno
import tempfile

import numpy as np
import pytest
from PIL import Image

from sam.large import ArraySource, View, open_picture
from sam.large.sources import RawFile, WindowedFile

pyvips = pytest.importorskip("pyvips")
WINDOWS = [(0, 0, 300, 200), (17, 31, 5, 100), (299, 199, 1, 1), (0, 150, 300, 50)]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(200, 300, 3) noise."""
    return np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)


@pytest.fixture
def files(tmp_path, pixels):
    """The same picture in several formats."""
    image = pyvips.Image.new_from_array(pixels)
    image.write_to_file(str(tmp_path / "tiled.tif"), tile=True, tile_width=64, tile_height=64)
    image.write_to_file(str(tmp_path / "strips.tif"))
    image.write_to_file(str(tmp_path / "picture.png"))
    return tmp_path


@pytest.fixture
def without_vips(monkeypatch):
    """libvips cannot be imported."""
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "pyvips":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize("name, limit, kind", [
    ("tiled.tif", 1, WindowedFile),
    ("strips.tif", 1, RawFile),
    ("picture.png", 1000, RawFile),
    ("picture.png", 180_000, ArraySource),
])  # fmt: skip
def test_windows_of_a_file_are_its_pixels(files, pixels, name, limit, kind):
    with open_picture(files / name, limit) as source:
        assert isinstance(source, kind) and source.hw == (200, 300)
        for x, y, width, height in WINDOWS:
            np.testing.assert_array_equal(source.read((x, y, width, height)), pixels[y : y + height, x : x + width])


def test_arrays_and_memory_maps_are_sources(tmp_path, pixels):
    mapped = np.memmap(tmp_path / "raw", np.uint8, "w+", shape=pixels.shape)
    mapped[:] = pixels
    for source in (ArraySource(pixels), ArraySource(mapped)):
        np.testing.assert_array_equal(source.read((3, 4, 50, 60)), pixels[4:64, 3:53])
    with pytest.raises(ValueError, match="uint8"):
        ArraySource(pixels.astype(float))


@pytest.mark.parametrize("limit", [1, 10**9])
def test_grey_transparent_and_turned_pictures_are_upright_rgb(tmp_path, pixels, limit):
    grey, clear, turned = tmp_path / "grey.png", tmp_path / "clear.png", tmp_path / "turned.png"
    Image.fromarray(pixels[..., 0]).save(grey)
    Image.fromarray(np.dstack([pixels, pixels[..., :1]])).save(clear)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(pixels)).save(turned, exif=exif)
    for path, expected in ((grey, np.repeat(pixels[..., :1], 3, 2)), (clear, pixels), (turned, pixels)):
        with open_picture(path, limit) as source:
            np.testing.assert_array_equal(source.read((0, 0, 300, 200)), expected, err_msg=path.name)


def test_without_libvips_pillow_reads_what_fits(files, pixels, without_vips):
    with open_picture(files / "picture.png", 180_000) as source:
        np.testing.assert_array_equal(source.read((0, 0, 300, 200)), pixels)
    with pytest.raises(ValueError, match=r"picture.png: 300 x 200 pixels take .* install libvips"):
        open_picture(files / "picture.png", 179_999).__enter__()


@pytest.mark.parametrize("data", [b"", b"no picture", None])
def test_damaged_files_are_named(files, data):
    path = files / "broken.png"
    path.write_bytes((files / "picture.png").read_bytes()[:20_000] if data is None else data)
    with (
        pytest.raises(ValueError, match=r"broken\.png: not a picture that can be read"),
        open_picture(path, 10) as source,
    ):
        source.read((0, 0, 300, 200))


def test_a_full_disk_is_told_and_leaves_nothing(files, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sam.large.sources._decode_into", full)
    with pytest.raises(OSError, match="No space left"), open_picture(files / "picture.png", 10):
        pass
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("window", [(0, 0, 301, 10), (-1, 0, 5, 5), (0, 0, 0, 5), (0, 196, 5, 5)])
def test_a_window_outside_is_refused(pixels, window):
    with pytest.raises(ValueError, match="does not lie inside a picture of 300 x 200"):
        ArraySource(pixels).read(window)


@pytest.mark.parametrize("scale", [1, 2, 3, 7, 64])
def test_a_view_averages_and_reads_in_strips(pixels, scale, monkeypatch):
    view = View((10, 20, 211, 133), scale)
    whole = view.look(ArraySource(pixels))
    monkeypatch.setattr("sam.large.views.STRIP_BYTES", 4000)
    np.testing.assert_array_equal(view.look(ArraySource(pixels)), whole)
    assert whole.shape == (*view.hw, 3)
    first = pixels[20 : 20 + scale, 10 : 10 + scale].reshape(-1, 3).mean(0)
    np.testing.assert_allclose(whole[0, 0], first, atol=1)
    last_h, last_w = (133 - 1) % scale + 1, (211 - 1) % scale + 1
    last = pixels[153 - last_h : 153, 221 - last_w : 221].reshape(-1, 3).mean(0)
    np.testing.assert_allclose(whole[-1, -1], last, atol=1)
