"""Every export read by a library that its users use: exact formats give the same masks, polygons an IoU of 0.995."""

import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sam.formats import READERS, WRITERS, Session, arrays, png, voc, yolo
from sam.formats.session import palette_colour
from sam.masks import mask_iou, rle_decode, rle_window

LEAST = 0.995


def only(files):
    (data,) = files.values()
    return data


def save(files, folder):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def ious(found, session):
    expected = [rle_decode(item.mask) for item in session.objects]
    assert len(found) == len(expected)
    return [float(mask_iou(np.asarray(one, bool), other)) for one, other in zip(found, expected, strict=True)]


@pytest.fixture
def picture_folder(session, tmp_path):
    """A folder with the session's picture in images/."""
    (tmp_path / "images").mkdir()
    image = Image.new("RGB", (session.picture.width, session.picture.height))
    image.save(tmp_path / "images" / session.picture.name, "JPEG")
    return tmp_path


# --- COCO -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "least"), [("coco", 1.0), ("coco-polygons", LEAST)])
def test_pycocotools_reads_coco(session, tmp_path, format, least, capsys):
    save(WRITERS[format](session), tmp_path)
    coco = COCO(tmp_path / f"{session.picture.stem}.coco.json")
    annotations = coco.loadAnns(coco.getAnnIds())
    assert min(ious([coco.annToMask(item) for item in annotations], session)) >= least
    names = [coco.loadCats(item["category_id"])[0]["name"] for item in annotations]
    assert names == [item.label for item in session.objects]
    for item in annotations:
        mask = coco_mask.decode(coco.annToRLE(item))
        assert item["area"] == pytest.approx(float(mask.sum()), rel=0.005)


def test_exact_polygons_are_exact_for_pycocotools(session, tmp_path, capsys):
    save(WRITERS["coco-polygons"](session, tolerance=0), tmp_path)
    coco = COCO(tmp_path / f"{session.picture.stem}.coco.json")
    found = [coco.annToMask(item) for item in coco.loadAnns(coco.getAnnIds())]
    assert min(ious(found, session)) == 1.0


@pytest.mark.parametrize(("format", "least"), [("coco", 1.0), ("coco-polygons", 0.96)])
def test_supervision_reads_coco(session, picture_folder, format, least):
    """It draws polygons with OpenCV, outline included, so they come back up to half a pixel larger."""
    sv = pytest.importorskip("supervision")
    save(WRITERS[format](session), picture_folder)
    path = picture_folder / f"{session.picture.stem}.coco.json"
    dataset = sv.DetectionDataset.from_coco(str(picture_folder / "images"), str(path), force_masks=True)
    (_, _, found) = dataset[0]
    thick = [index for index, item in enumerate(session.objects) if item.label not in ("pixel", "line")]
    values = ious(found.mask, session)
    assert min(values if format == "coco" else [values[index] for index in thick]) >= least


# --- LabelMe ----------------------------------------------------------------------------------------------------


def labelme_masks(document, hw):
    """What LabelMe's `shape_to_mask` and `shapes_to_label` do with each shape, grouped as they group."""
    from PIL import ImageDraw

    groups = {}
    for shape in document["shapes"]:
        canvas = Image.new("1", hw[::-1])
        if shape["shape_type"] == "mask":
            (x0, y0), (x1, y1) = shape["points"]
            import base64

            bitmap = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))).astype(bool)
            assert bitmap.shape == (y1 - y0 + 1, x1 - x0 + 1)
            drawn = np.zeros(hw, bool)
            drawn[y0 : y1 + 1, x0 : x1 + 1] = bitmap
        else:
            assert len(shape["points"]) > 2
            ImageDraw.Draw(canvas).polygon([tuple(point) for point in shape["points"]], outline=1, fill=1)
            drawn = np.array(canvas)
        key = shape["label"], shape["group_id"]
        groups[key] = groups.get(key, np.zeros(hw, bool)) | drawn
    return groups


def test_pillow_draws_labelme_polygons_as_labelme_has_it_do(session):
    document = json.loads(only(WRITERS["labelme"](session)))
    groups = labelme_masks(document, session.picture.size)
    assert [label for label, _ in groups] == [item.label for item in session.objects]
    assert min(ious(list(groups.values()), session)) >= LEAST
    exact = json.loads(only(WRITERS["labelme"](session, tolerance=0)))
    assert min(ious(list(labelme_masks(exact, session.picture.size).values()), session)) == 1.0


def test_supervision_reads_labelme(session, picture_folder):
    """It reads polygons, each by itself, and leaves bitmaps out."""
    sv = pytest.importorskip("supervision")
    plain = [item for item in session.objects if item.label in ("flower", "a: b, c") and item.prompts is None][:1]
    some = Session(session.picture, tuple(plain))
    save(WRITERS["labelme"](some), picture_folder / "labels")
    folder = picture_folder / "labels"
    dataset = sv.DetectionDataset.from_labelme(str(picture_folder / "images"), str(folder), force_masks=True)
    assert dataset.classes == ["flower"]
    assert min(ious(dataset[0][2].mask, some)) >= LEAST


# --- YOLO -------------------------------------------------------------------------------------------------------


def test_supervision_reads_yolo(session, picture_folder):
    """Parts come back joined by a line of one pixel: the format has one polygon for each object."""
    sv = pytest.importorskip("supervision")
    save(WRITERS["yolo"](session), picture_folder)
    dataset = sv.DetectionDataset.from_yolo(
        str(picture_folder / "images"), str(picture_folder / "labels"), str(picture_folder / "data.yaml"),
        force_masks=True,
    )  # fmt: skip
    found = dataset[0][2]
    assert [dataset.classes[kind] for kind in found.class_id] == [item.label for item in session.objects]
    values = ious(found.mask, session)
    parts = {2, 4}  # the objects of several parts
    assert min(value for index, value in enumerate(values) if index not in parts) >= LEAST
    assert min(values[index] for index in parts) >= 0.97


def test_a_yaml_reader_finds_the_classes(session):
    yaml = pytest.importorskip("yaml")
    document = yaml.safe_load(WRITERS["yolo"](session)["data.yaml"])
    assert list(document["names"].values()) == session.labels
    assert document["train"] == document["val"] == "images"


# --- GeoJSON and SVG --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tolerance", "least"), [(0, 1.0), (None, LEAST)])
def test_shapely_reads_geojson(session, tolerance, least):
    shapely = pytest.importorskip("shapely")
    document = json.loads(only(WRITERS["geojson"](session, tolerance=tolerance)))
    rows, columns = np.mgrid[: session.picture.height, : session.picture.width] + 0.5
    found = []
    for feature in document["features"]:
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid, shapely.is_valid_reason(shape)
        found.append(shapely.contains_xy(shape, columns.ravel(), rows.ravel()).reshape(session.picture.size))
    assert min(ious(found, session)) >= least
    names = [feature["properties"]["classification"]["name"] for feature in document["features"]]
    assert names == [item.label for item in session.objects]


@pytest.mark.parametrize(("tolerance", "least"), [(0, 1.0), (None, LEAST)])
def test_resvg_renders_svg(session, tolerance, least):
    resvg = pytest.importorskip("resvg_py")
    found = []
    for item in session.objects:
        shown = Session(session.picture, (type(item)(item.label, item.mask, "#ffffff"),))
        text = only(WRITERS["svg"](shown, tolerance=tolerance)).decode()
        image = resvg.svg_to_bytes(svg_string=text, background="#000000", shape_rendering="crisp_edges")
        found.append(np.array(Image.open(io.BytesIO(bytes(image))).convert("L")) >= 128)
    assert min(ious(found, session)) >= least


def test_an_xml_reader_finds_labels_colours_and_what_is_hidden(session):
    root = ElementTree.fromstring(only(WRITERS["svg"](session)))
    paths = root.findall("{http://www.w3.org/2000/svg}path")
    assert [path.get("data-label") for path in paths] == [item.label for item in session.objects]
    assert [path.get("fill") for path in paths] == [item.colour for item in session.objects]
    assert [path.get("display") is None for path in paths] == [item.visible for item in session.objects]
    assert all(float(path.get("data-error")) <= 1 for path in paths)


# --- CVAT and Pascal VOC ----------------------------------------------------------------------------------------


def test_cvat_masks_are_exact_and_in_order(session):
    root = ElementTree.fromstring(only(WRITERS["cvat"](session)))
    image = root.find("image")
    assert image.get("name") == session.picture.name
    assert [name.text for name in root.iter("name")][1:] == session.labels
    found = []
    for order, mask in enumerate(image.findall("mask")):
        runs = [int(run) for run in mask.get("rle").split(",")]
        x, y, width, height = (int(mask.get(key)) for key in ("left", "top", "width", "height"))
        pixels = np.zeros(session.picture.size, bool)
        pixels[y : y + height, x : x + width] = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width)
        found.append(pixels)
        assert mask.get("z_order") == str(order)
    assert min(ious(found, session)) == 1.0


def test_datumaro_reads_cvat(session, picture_folder):
    """Not among the test extra's packages, for its 200 MB; this runs where it is installed."""
    datumaro = pytest.importorskip("datumaro", reason="datumaro is installed by hand: pip install datumaro")
    save(WRITERS["cvat"](session), picture_folder)
    found = datumaro.Dataset.import_from(str(picture_folder / f"{session.picture.stem}.cvat.xml"), "cvat")
    (item,) = list(found)
    ordered = sorted(item.annotations, key=lambda annotation: annotation.z_order)
    assert min(ious([annotation.image for annotation in ordered], session)) == 1.0


def test_supervision_reads_pascal_voc_boxes(session, picture_folder):
    sv = pytest.importorskip("supervision")
    save(voc.write(session), picture_folder)
    dataset = sv.DetectionDataset.from_pascal_voc(str(picture_folder / "images"), str(picture_folder / "Annotations"))
    found = dataset[0][2]
    assert [dataset.classes[kind] for kind in found.class_id] == [item.label for item in session.objects]
    windows = np.array([rle_window(item.mask) for item in session.objects])
    expected = np.concatenate([windows[:, :2], windows[:, :2] + windows[:, 2:]], axis=1)
    np.testing.assert_array_equal(found.xyxy, expected)


def test_pillow_reads_pascal_voc_with_the_upper_object_on_top(session):
    files, name = voc.write(session), session.picture.stem
    by_object = Image.open(io.BytesIO(files[f"SegmentationObject/{name}.png"]))
    by_class = Image.open(io.BytesIO(files[f"SegmentationClass/{name}.png"]))
    assert by_object.mode == by_class.mode == "P"
    covered = np.zeros(session.picture.size, bool)
    for index, item in reversed(list(enumerate(session.objects))):
        seen = rle_decode(item.mask) & ~covered
        np.testing.assert_array_equal(np.array(by_object) == index + 1, seen)
        assert (np.array(by_class)[seen] == 1 + session.labels.index(item.label)).all()
        covered |= seen
    assert bytes(by_object.getpalette())[3:6] == bytes.fromhex(palette_colour(1)[1:])


# --- pictures and arrays ----------------------------------------------------------------------------------------


def test_pillow_reads_binary_masks(session):
    images = [Image.open(io.BytesIO(data)) for data in png.write_binary(session).values()]
    assert {image.mode for image in images} == {"L"}
    assert {*np.unique([np.array(image) for image in images])} == {0, 255}
    assert min(ious([np.array(image) == 255 for image in images], session)) == 1.0


def test_pillow_reads_indexed_masks_with_palette_and_labels(session):
    found = {}
    for data in png.write_indexed(session).values():
        image = Image.open(io.BytesIO(data))
        assert image.mode == "P" and image.info["transparency"] == 0
        for entry in json.loads(image.text["objects"]):
            item = session.objects[entry["order"]]
            found[entry["order"]] = np.array(image) == entry["id"]
            assert entry["label"] == item.label
            assert bytes(image.getpalette()[3 * entry["id"] :][:3]).hex() == item.colour[1:]
    assert min(ious([mask for _, mask in sorted(found.items())], session)) == 1.0


def test_the_training_data_reader_takes_indexed_masks(session, tmp_path):
    from sam.datasets import find_records

    Image.new("RGB", (session.picture.width, session.picture.height)).save(tmp_path / f"{session.picture.stem}.png")
    save(png.write_indexed(session), tmp_path)
    (record,) = find_records(tmp_path)
    found = {(layer == id).tobytes() for layer in record.layers() for id in range(1, layer.max() + 1)}
    assert found == {rle_decode(item.mask).tobytes() for item in session.objects}


def test_numpy_reads_arrays_without_pickle(session):
    with np.load(io.BytesIO(only(arrays.write(session))), allow_pickle=False) as found:
        masks = [found["ids"][layer] == id for layer, id in zip(found["layer"], found["id"], strict=True)]
        assert found["labels"].tolist() == [item.label for item in session.objects]
        assert found["colours"].tolist() == [item.colour for item in session.objects]
        assert np.isnan(found["scores"]).tolist() == [item.score is None for item in session.objects]
    assert min(ious(masks, session)) == 1.0


# --- our own readers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "reader", "least"), [
    ("session", "session", 1.0), ("coco", "coco", 1.0), ("coco-polygons", "coco", LEAST), ("labelme", "labelme", LEAST),
])  # fmt: skip
def test_what_goes_out_comes_in_again(session, format, reader, least):
    found = READERS[reader](only(WRITERS[format](session)), session.picture)
    assert [item.label for item in found.objects] == [item.label for item in session.objects]
    assert min(ious([rle_decode(item.mask) for item in found.objects], session)) >= least
    if least == 1.0:
        assert found == session


def test_exact_polygons_come_in_again_as_they_were(session):
    for format, reader in (("coco-polygons", "coco"), ("labelme", "labelme")):
        found = READERS[reader](only(WRITERS[format](session, tolerance=0)), session.picture)
        assert [item.mask for item in found.objects] == [item.mask for item in session.objects]


def test_yolo_comes_in_again_with_its_names(session):
    files = WRITERS["yolo"](session, tolerance=0)
    names = yolo.read_names(files["data.yaml"])
    assert names == session.labels
    found = yolo.read(files[f"labels/{session.picture.stem}.txt"], session.picture, names)
    assert [item.label for item in found.objects] == [item.label for item in session.objects]
    values = ious([rle_decode(item.mask) for item in found.objects], session)
    assert [value for index, value in enumerate(values) if index not in (2, 3, 4)] == [1.0] * 6  # of one part


def test_indexed_masks_come_in_again_as_objects(session):
    first, *more = png.write_indexed(session).values()
    found = png.read(first, session.picture, layers=more)
    same = ("label", "mask", "colour", "visible")
    assert [[getattr(item, key) for key in same] for item in found.objects] == [
        [getattr(item, key) for key in same] for item in session.objects
    ]


def test_binary_masks_and_cut_outs_come_in_again(session):
    image = np.zeros((*session.picture.size, 3), np.uint8)
    for files in (png.write_binary(session), png.write_cutouts(session, image, trimmed=False)):
        shown = [item for item in session.objects if item.visible or len(files) == len(session.objects)]
        for data, item in zip(files.values(), shown, strict=True):
            (found,) = png.read(data, session.picture).objects
            assert found.mask == item.mask


def test_a_zip_holds_everything_and_gives_the_session_back(session):
    from zipfile import ZipFile

    from sam.formats import write_all

    data = only(write_all(session))
    with ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name.split("/")[0] for name in archive.namelist()} >= set(WRITERS) - {"session"}
    assert READERS["zip"](data, session.picture) == session
    assert only(write_all(session)) == data, "the same work gives the same file"
