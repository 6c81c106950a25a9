"""`python -m sam convert`: what one tool wrote becomes what another reads."""

import io

import numpy as np
import pytest
from PIL import Image

from sam.__main__ import main
from sam.formats import READERS, WRITERS, Session, archive, coco, png, yolo
from sam.masks import mask_iou, rle_decode


@pytest.fixture
def files(session, tmp_path):
    """The session in every format, and its picture."""
    Image.new("RGB", (session.picture.width, session.picture.height)).save(tmp_path / session.picture.name)
    for name, data in {**WRITERS["yolo"](session), **archive.write(session), **WRITERS["coco"](session)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def convert(*arguments) -> int:
    return main(["convert", *map(str, arguments)])


@pytest.mark.parametrize("format", WRITERS)
def test_a_zip_becomes_any_format(session, files, format):
    assert convert(files / f"{session.picture.stem}.zip", files / "out", "--format", format) == 0
    for name, data in WRITERS[format](session).items():
        assert (files / "out" / name).read_bytes() == data


def test_yolo_needs_its_picture_and_its_names(session, files, capsys):
    source = files / "labels" / f"{session.picture.stem}.txt"
    assert convert(source, files / "out", "--format", "coco") == 2
    assert "name it with --image" in capsys.readouterr().err
    image, names = files / session.picture.name, files / "data.yaml"
    assert convert(source, files / "out", "--format", "coco", "--image", image, "--names", names) == 0
    found = READERS["coco"]((files / "out" / f"{session.picture.stem}.coco.json").read_bytes())
    assert [item.label for item in found.objects] == [item.label for item in session.objects]


def test_pictures_of_one_file_share_their_classes(session, files):
    other = Session(type(session.picture)("other.png", *session.picture.size[::-1]), session.objects[3:4])
    (files / "two.zip").write_bytes(archive.pack({
        name: data for each in (session, other) for name, data in WRITERS["session"](each).items()
    }))  # fmt: skip
    assert archive.read_all((files / "two.zip").read_bytes()) == [session, other]
    assert archive.read((files / "two.zip").read_bytes(), other.picture) == other
    assert convert(files / "two.zip", files / "out", "--format", "yolo") == 0
    assert yolo.read_names((files / "out" / "data.yaml").read_bytes()) == session.labels
    number = session.labels.index(other.objects[0].label)
    assert (files / "out" / "labels" / "other.txt").read_text().startswith(f"{number} ")


def test_every_picture_of_a_coco_file_is_read(session):
    (data,) = WRITERS["coco"](session).values()
    assert coco.read_all(data) == [session]


def test_a_soft_cut_out_is_wider_and_never_opaque_beyond_its_reach(session):
    image = np.random.default_rng(0).integers(0, 255, (*session.picture.size, 3), np.uint8)
    item = session.objects[0]
    image[rle_decode(item.mask)] = 250
    soft = png.cut_out(image, item, trimmed=False, soft=4)[..., 3]
    assert mask_iou(soft >= 128, rle_decode(item.mask)) > 0.97
    window = png.cut_out(image, item, soft=4)
    hard = png.cut_out(image, item)
    assert window.shape[0] == hard.shape[0] + 8 and Image.fromarray(window).mode == "RGBA"
    assert io.BytesIO(png.encode(window)).getbuffer().nbytes > 0
