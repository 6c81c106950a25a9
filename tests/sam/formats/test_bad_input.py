"""Damaged, foreign and huge files: one clear error that names the entry, or everything; never half of it."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sam.formats import READERS, WRITERS, MaskObject, Picture, Session, png, voc, yolo
from sam.formats import arrays as npz
from sam.formats.session import palette_colour
from sam.formats.text import fixed, number, stem
from sam.masks import crop_to_rle, rle_encode

HW = (9, 13)
PICTURE = Picture("one.png", 13, 9)
CHARACTERS = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
LABELS = st.text(CHARACTERS, min_size=1, max_size=9)
OBJECTS = st.builds(
    MaskObject,
    LABELS,
    arrays(bool, HW).filter(np.any).map(rle_encode),
    st.integers(0, 255).map(palette_colour),
    st.booleans(),
    st.none() | st.integers(0, 10000).map(lambda n: n / 10000),
)
SESSIONS = st.lists(OBJECTS, max_size=4).map(lambda objects: Session(PICTURE, tuple(objects)))


def only(files):
    (data,) = files.values()
    return data


def square(x=2, y=2, side=4):
    mask = np.zeros(HW, bool)
    mask[y : y + side, x : x + side] = True
    return rle_encode(mask)


def coco(**changes):
    """A COCO file of two annotations, the second of them changed."""
    session = Session(PICTURE, (MaskObject("a", square()), MaskObject("b", square())))
    document = json.loads(only(WRITERS["coco"](session)))
    document["annotations"][1] |= changes
    return json.dumps(document).encode()


# --- round trips of anything ------------------------------------------------------------------------------------


@given(session=SESSIONS, format=st.sampled_from(["session", "coco"]))
def test_any_session_survives_an_exact_format(session, format):
    assert READERS[format](only(WRITERS[format](session)), PICTURE) == session


@given(session=SESSIONS)
def test_any_session_survives_polygons_without_tolerance(session):
    for format, reader in (("coco-polygons", "coco"), ("labelme", "labelme")):
        found = READERS[reader](only(WRITERS[format](session, tolerance=0)), PICTURE)
        assert [item.label for item in found.objects] == [item.label for item in session.objects]
        assert [item.mask for item in found.objects] == [item.mask for item in session.objects]


@given(session=SESSIONS)
def test_any_session_survives_indexed_pictures(session):
    first, *more = png.write_indexed(session).values()
    found = png.read(first, PICTURE, layers=more)
    assert [(item.label, item.mask, item.colour) for item in found.objects] == [
        (item.label, item.mask, item.colour) for item in session.objects
    ]


@given(session=SESSIONS)
def test_any_label_survives_yolo(session):
    files = WRITERS["yolo"](session)
    assert yolo.read_names(files["data.yaml"]) == session.labels
    found = yolo.read(files["labels/one.txt"], PICTURE, session.labels)
    assert [item.label for item in found.objects] == [item.label for item in session.objects]


# --- damaged files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["session", "coco", "labelme"])
def test_json_that_breaks_off_is_refused(format):
    data = only(WRITERS[format](Session(PICTURE, (MaskObject("a", square()),))))
    for length in (0, 1, len(data) // 2, len(data) - 3):
        with pytest.raises(ValueError, match="not complete JSON"):
            READERS[format](data[:length], PICTURE)
    with pytest.raises(ValueError, match="UTF-8"):
        READERS[format](b"\xff\xfe" + data, PICTURE)


@pytest.mark.parametrize(("changes", "message"), [
    ({"segmentation": [[50, 50, 60, 50, 60, 60]]}, "far outside of the picture of 13 x 9"),
    ({"segmentation": [[14, 1, 20, 1, 20, 6]]}, "covers no pixel of the picture of 13 x 9"),
    ({"segmentation": [[1, 1, 5, 5, 2]]}, "three points"),
    ({"segmentation": [[1, 1, 5, float("nan"), 2, 5]]}, "NaN"),
    ({"segmentation": []}, "empty"),
    ({"segmentation": {"size": [9, 12], "counts": [108]}}, "mask is 12 x 9, the picture 13 x 9"),
    ({"segmentation": {"size": [9, 13], "counts": [9]}}, "117 pixels"),
    ({"segmentation": {"size": [9, 13], "counts": "PPP"}}, "cut off"),
    ({"segmentation": {"size": [9, 13], "counts": [117]}}, "covers no pixel"),
    ({"segmentation": {"size": [9, 13]}}, "'counts' is missing"),
    ({"segmentation": 7}, "not what it should be"),
    ({"category_id": 9}, "category 9 is not listed"),
    ({"score": "good"}, "score 'good'"),
    ({"attributes": {"colour": "red"}}, "colour 'red'"),
])  # fmt: skip
def test_a_bad_annotation_is_named(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        READERS["coco"](coco(**changes), PICTURE)
    assert "annotation 2" in str(caught.value) or message == "NaN"


@pytest.mark.parametrize("format", ["session", "coco", "labelme"])
def test_a_file_of_another_size_is_refused_with_both(format):
    data = only(WRITERS[format](Session(PICTURE, (MaskObject("a", square()),))))
    with pytest.raises(ValueError, match=r"of 13 x 9 pixels, but 'other.png' has 20 x 10"):
        READERS[format](data, Picture("other.png", 20, 10))


@pytest.mark.parametrize(("line", "message"), [
    ("x 0.1 0.1 0.5 0.1 0.5 0.5", "class's number"),
    ("0 0.1 0.1 0.5", "3 numbers after the class"),
    ("0 0.1 0.1 0.5 0.1 0.5 1.5", "outside of 0 to 1"),
    ("0 0.1 0.1 0.5 nan 0.5 0.5", "outside of 0 to 1"),
    ("0 0.1 0.1 0.5 a 0.5 0.5", "'a'"),
])  # fmt: skip
def test_a_bad_line_is_named(line, message):
    with pytest.raises(ValueError, match=message) as caught:
        yolo.read(f"0 0.1 0.1 0.5 0.1 0.5 0.5\n{line}\n".encode(), PICTURE)
    assert "line 2" in str(caught.value)


@pytest.mark.parametrize(("shape", "message"), [
    ({"shape_type": "linestrip", "points": [[1, 1], [2, 2]]}, "'linestrip' covers no area"),
    ({"shape_type": "polygon", "points": [[1, 1], [2, 2]]}, "three points"),
    ({"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "AAAA"}, "not a PNG"),
    ({"points": [[1, 1], [5, 5], [1, 5]], "label": "a\x07"}, r"U\+0007"),
])  # fmt: skip
def test_a_bad_shape_is_named(shape, message):
    document = json.loads(only(WRITERS["labelme"](Session(PICTURE, (MaskObject("a", square()),)))))
    document["shapes"].append({"label": "b", "group_id": None, **shape})
    with pytest.raises(ValueError, match=message) as caught:
        READERS["labelme"](json.dumps(document).encode(), PICTURE)
    assert "shape 2" in str(caught.value) or "label" in str(caught.value)


def test_pictures_are_no_masks():
    colours = png.encode(np.zeros((*HW, 3), np.uint8))
    with pytest.raises(ValueError, match="RGB colours; a mask is an indexed or grey PNG"):
        png.read(colours, PICTURE)
    with pytest.raises(ValueError, match="not a PNG"):
        png.read(colours[:40], PICTURE)
    with pytest.raises(ValueError, match=r"13 x 9 pixels, but .* has 14 x 9"):
        png.read(png.encode(np.zeros(HW, np.uint8)), Picture("x", 14, 9))


def test_a_zip_without_a_session_is_refused():
    from sam.formats.archive import pack

    with pytest.raises(ValueError, match=r"no NAME\.session\.json"):
        READERS["zip"](pack({"a.txt": b"a"}))
    with pytest.raises(ValueError, match="not a zip"):
        READERS["zip"](b"PK")


@pytest.mark.parametrize("label", ["", "a\nb", "a\x00", "\ud800", "x" * 201, None])
def test_labels_that_files_cannot_hold_are_refused(label):
    with pytest.raises(ValueError, match="label"):
        MaskObject(label, square())


def test_an_object_without_pixels_is_named():
    with pytest.raises(ValueError, match=r"object 2 \('b'\): its mask covers no pixel"):
        Session(PICTURE, (MaskObject("a", square()), MaskObject("b", rle_encode(np.zeros(HW, bool)))))


# --- many -------------------------------------------------------------------------------------------------------


def test_ten_thousand_objects_go_out_and_come_in():
    picture, tile = Picture("tiles.png", 300, 300), np.ones((3, 3), bool)
    places = [crop_to_rle(tile, 3 * (n % 100), 3 * (n // 100), picture.size) for n in range(10_000)]
    many = Session(picture, tuple(MaskObject(f"label {n}", mask) for n, mask in enumerate(places)))
    found = READERS["coco"](only(WRITERS["coco"](many)), picture)
    assert [(item.label, item.mask) for item in found.objects] == [(item.label, item.mask) for item in many.objects]
    with np.load(io.BytesIO(only(npz.write(many)))) as data:
        assert data["ids"].shape == (1, 300, 300) and (data["ids"] > 0).all()
    with pytest.raises(ValueError, match="254 objects in a picture, these are 10000"):
        voc.write(many)


# --- text that languages write alike ----------------------------------------------------------------------------


def test_numbers_and_names_print_alike_everywhere():
    assert [number(value, 2) for value in (1.0, 0.125, 2.675, 1 / 3)] == [1, 0.13, 2.68, 0.33]
    assert [fixed(value, 6) for value in (0, 1, 1 / 128, 2 / 3)] == ["0.000000", "1.000000", "0.007813", "0.666667"]
    names = ["a/b\\cat.small.jpg", ".hidden", 'a<b>:"c".png', "...", "ü 目.webp"]
    assert [stem(name) for name in names] == ["cat.small", "hidden", "a_b___c_", "picture", "ü 目"]
