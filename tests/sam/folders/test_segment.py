"""`python -m sam segment`: masks for folders, in every format, and what happens when things go wrong."""

import base64
import errno
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from sam import encode
from sam.__main__ import main
from sam.folders import answering
from sam.folders.answers import FOLDER, Answers
from sam.folders.cache import EmbeddingCache
from sam.folders.pictures import Picture, find_pictures
from sam.folders.prompts import Prompt, read_prompts
from sam.predictor import ImageEmbedding

EVERYTHING = ["--points-per-side", "3", "--pred-iou-thresh", "0.2", "--stability-score-thresh", "0.3"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two pictures, one of them a folder further down, and a text."""
    pictures = tmp_path / "pictures"
    (pictures / "more").mkdir(parents=True)
    for name, colour in (("b.png", (180, 40, 50)), ("more/a.jpg", (30, 80, 160))):
        pixels = np.full((60, 80, 3), (200, 205, 190), np.uint8)
        pixels[10:40, 15:50] = colour
        Image.fromarray(pixels).save(pictures / name)
    (pictures / "notes.txt").write_text("no picture")
    return pictures


@pytest.fixture
def boxes(tmp_path) -> Path:
    """A box on each picture."""
    path = tmp_path / "boxes.csv"
    path.write_text("file,x0,y0,x1,y1,category\nb.png,15,10,50,40,card\nmore/a.jpg,14,9,51,41,\n")
    return path


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Names of the pictures that the model is asked about."""
    names, answer = [], answering.Asker.answer

    def listen(self, picture, prompts):
        names.append(picture.name)
        return answer(self, picture, prompts)

    monkeypatch.setattr(answering.Asker, "answer", listen)
    return names


def segment(*arguments) -> int:
    return main(["segment", *map(str, arguments)])


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- formats ---------------------------------------------------------------------------------------------------------


def test_everything_becomes_one_coco_file(folder, tmp_path):
    assert segment(folder, "--out", tmp_path / "out", *EVERYTHING) == 0
    document = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["b.png", "more/a.jpg"]
    assert {annotation["image_id"] for annotation in document["annotations"]} == {1, 2}
    for annotation in document["annotations"]:
        assert coco.area(annotation["segmentation"]) == annotation["area"]
        assert coco.toBbox(annotation["segmentation"]).tolist() == annotation["bbox"]
        assert annotation["category_id"] == document["categories"][0]["id"]


def test_boxes_keep_their_categories(folder, boxes, tmp_path):
    assert segment(folder, "--mode", "boxes", "--prompts", boxes, "--out", tmp_path / "out") == 0
    document = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [entry["name"] for entry in document["categories"]] == ["object", "card"]
    assert [annotation["category_id"] for annotation in document["annotations"]] == [2, 1]
    mask = coco.decode(document["annotations"][0]["segmentation"])
    card = np.zeros((60, 80), bool)
    card[10:40, 15:50] = True
    assert (mask & card).sum() / (mask | card).sum() > 0.8


def test_png_labelme_and_run_lengths_hold_the_same_masks(folder, boxes, tmp_path):
    for name in ("png", "labelme", "rle"):
        assert segment(folder, "--mode", "boxes", "--prompts", boxes, "--out", tmp_path / name, "--format", name) == 0
    lengths = json.loads((tmp_path / "rle" / "b.png.json").read_text())
    expected = coco.decode(lengths["annotations"][0]["segmentation"]) == 1
    png = np.array(Image.open(tmp_path / "png" / "b.png.masks" / "0.png"))
    np.testing.assert_array_equal(png, expected * 255)
    labelme = json.loads((tmp_path / "labelme" / "b.json").read_text())
    assert (labelme["imageHeight"], labelme["imageWidth"]) == expected.shape
    assert (tmp_path / "labelme" / labelme["imagePath"]).samefile(folder / "b.png")
    (shape,) = labelme["shapes"]
    (x0, y0), (x1, y1) = shape["points"]
    inside = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
    np.testing.assert_array_equal(inside > 0, expected[y0 : y1 + 1, x0 : x1 + 1])
    assert (inside > 0).sum() == expected.sum() and shape["label"] == "card"


@pytest.mark.parametrize("format", ["svg", "geojson", "cvat", "numpy"])
def test_every_picture_has_a_file_of_its_own(folder, boxes, tmp_path, format):
    arguments = ("--mode", "boxes", "--prompts", boxes, "--out", tmp_path / "out", "--format", format)
    assert segment(folder, *arguments) == 0
    written = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")]
    suffix = {"cvat": ".cvat.xml", "numpy": ".npz"}.get(format, f".{format}")
    assert {f"b{suffix}", f"more/a{suffix}"} <= set(written)
    assert format == "numpy" or "card" in (tmp_path / "out" / f"b{suffix}").read_text()


def test_points_of_one_object_belong_together(folder, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("file,x,y,label,object\nb.png,30,25,1,card\nb.png,70,50,0,card\nmore/a.jpg,30,25,1,\n")
    assert segment(folder, "--mode", "points", "--prompts", points, "--out", tmp_path / "out", "--format", "rle") == 0
    (mask,) = json.loads((tmp_path / "out" / "b.png.json").read_text())["annotations"]
    assert mask["prompt"] == {"points": [[30.0, 25.0, 1], [70.0, 50.0, 0]]}
    assert coco.decode(mask["segmentation"])[25, 30] == 1


def test_a_coco_files_boxes_are_prompts(folder, tmp_path):
    document = {
        "images": [{"id": 7, "file_name": "b.png"}],
        "annotations": [{"image_id": 7, "bbox": [15, 10, 35, 30], "category_id": 3}],
        "categories": [{"id": 3, "name": "card"}],
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(document))
    assert read_prompts(path, "boxes") == {"b.png": [Prompt((15, 10, 50, 40), category="card")]}


def test_large_pictures_are_tiled_and_have_the_same_results(folder, boxes, tmp_path, monkeypatch):
    boxed = (folder, "--mode", "boxes", "--prompts", boxes, "--format", "rle")
    assert segment(*boxed, "--out", tmp_path / "plain") == 0
    assert segment(folder, *EVERYTHING, "--format", "rle", "--out", tmp_path / "plain-all") == 0
    monkeypatch.setattr(Picture, "pixels", None)
    assert segment(*boxed, "--tile-above", "0.001", "--out", tmp_path / "tiled") == 0
    assert (
        segment(folder, *EVERYTHING, "--format", "rle", "--tile-above", "0.001", "--out", tmp_path / "tiled-all") == 0
    )
    for one, other in (("plain", "tiled"), ("plain-all", "tiled-all")):
        found, expected = (json.loads((tmp_path / name / "b.png.json").read_text()) for name in (other, one))
        assert found["image"] == expected["image"] and expected["annotations"]
        for mask, wanted in zip(found["annotations"], expected["annotations"], strict=True):
            pixels, others = coco.decode(mask["segmentation"]), coco.decode(wanted["segmentation"])
            assert (pixels & others).sum() / (pixels | others).sum() > 0.99
            assert mask["area"] == pixels.sum() and mask["bbox"] == coco.toBbox(mask["segmentation"]).tolist()


# --- going on --------------------------------------------------------------------------------------------------------


def test_the_same_run_gives_the_same_bytes(folder, boxes, tmp_path):
    for out in ("one", "two"):
        segment(folder, "--mode", "boxes", "--prompts", boxes, "--out", tmp_path / out)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(folder, boxes, tmp_path, asked, monkeypatch):
    command = (folder, "--mode", "boxes", "--prompts", boxes)
    segment(*command, "--out", tmp_path / "whole")
    store = Answers.store
    monkeypatch.setattr(Answers, "store", lambda self, answer: (store(self, answer), kill())[0])

    def kill():
        raise KeyboardInterrupt

    assert segment(*command, "--out", tmp_path / "killed") == 130
    monkeypatch.setattr(Answers, "store", store)
    asked.clear()
    assert segment(*command, "--out", tmp_path / "killed") == 0
    assert asked == ["more/a.jpg"]
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_another_format_needs_no_new_answers(folder, boxes, tmp_path, asked):
    command = (folder, "--mode", "boxes", "--prompts", boxes, "--out", tmp_path / "out")
    segment(*command)
    asked.clear()
    segment(*command, "--format", "png")
    assert not asked and (tmp_path / "out" / "b.png.masks" / "0.png").exists()


def test_a_changed_picture_or_prompt_is_asked_again(folder, boxes, tmp_path, asked):
    command = (folder, "--mode", "boxes", "--prompts", boxes, "--out", tmp_path / "out")
    segment(*command)
    asked.clear()
    boxes.write_text(boxes.read_text().replace("15,10", "14,10"))
    Image.new("RGB", (80, 60)).save(folder / "more" / "a.jpg")
    segment(*command)
    assert asked == ["b.png", "more/a.jpg"]


def test_a_cached_embedding_gives_the_same_answer(folder, boxes, tmp_path, monkeypatch):
    command = (folder, "--mode", "boxes", "--prompts", boxes, "--cache", tmp_path / "cache", "--out")
    segment(*command, tmp_path / "one")
    monkeypatch.setattr(answering, "encode_crop", None)
    assert segment(*command, tmp_path / "two") == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


# --- the cache -------------------------------------------------------------------------------------------------------


def test_the_cache_returns_what_it_was_given(small_model, photo, tmp_path):
    embedding, cache = encode(small_model, photo), EmbeddingCache(tmp_path, 10**8)
    cache.store("content", "fp32", embedding)
    found = cache.load("content", embedding.weights_hash, "fp32")
    assert (found.frame, found.weights_hash, found.model_id) == (embedding.frame, embedding.weights_hash, "custom")
    torch.testing.assert_close(found.features, embedding.features, rtol=0, atol=0)
    assert cache.load("content", embedding.weights_hash, "bf16") is None
    assert cache.load("content", "other weights", "fp32") is None


def test_a_damaged_file_counts_as_missing(small_model, photo, tmp_path):
    embedding, cache = encode(small_model, photo), EmbeddingCache(tmp_path, 10**8)
    cache.store("content", "fp32", embedding)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert cache.load("content", embedding.weights_hash, "fp32") is None


def test_the_cache_stays_below_its_limit_and_drops_what_was_unused_longest(small_model, photo, tmp_path):
    embedding = encode(small_model, photo)
    EmbeddingCache(tmp_path, 10**8).store("first", "fp32", embedding)
    size = next(tmp_path.iterdir()).stat().st_size
    cache = EmbeddingCache(tmp_path, 2 * size)
    cache.store("second", "fp32", embedding)
    assert cache.load("first", embedding.weights_hash, "fp32")  # used again
    cache.store("third", "fp32", embedding)
    kept = [name for name in ("first", "second", "third") if cache.load(name, embedding.weights_hash, "fp32")]
    assert kept == ["first", "third"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * size
    assert isinstance(cache.load("third", embedding.weights_hash, "fp32"), ImageEmbedding)


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_broken_files_are_skipped_and_reported(folder, boxes, tmp_path, capsys):
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes((folder / "b.png").read_bytes()[:90])
    out = tmp_path / "out"
    assert segment(folder, "--mode", "boxes", "--prompts", boxes, "--out", out) == 1
    failures = json.loads((out / "failures.json").read_text())
    assert failures.keys() == {"empty.png", "cut.png"}
    assert "0 bytes" in failures["empty.png"] and "0 bytes" in capsys.readouterr().err
    assert len(json.loads((out / "annotations.json").read_text())["images"]) == 2
    (folder / "empty.png").unlink()
    (folder / "cut.png").unlink()
    assert segment(folder, "--mode", "boxes", "--prompts", boxes, "--out", out) == 0
    assert not (out / "failures.json").exists()


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(folder, boxes, tmp_path, monkeypatch, capsys):
    store = Answers.store

    def full(self, answer):
        if answer.name != "b.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        store(self, answer)

    monkeypatch.setattr(Answers, "store", full)
    assert segment(folder, "--mode", "boxes", "--prompts", boxes, "--out", tmp_path / "out") == 2
    assert "No space left" in capsys.readouterr().err
    assert list(files(tmp_path / "out")) == [f"{FOLDER}/b.png.json"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nothing"], "nothing: no such file or folder"),
        (["."], "no picture in ."),
        (["pictures", "--mode", "boxes"], "--mode boxes needs --prompts"),
        (["pictures", "--prompts", "boxes.csv"], "everything needs no --prompts"),
        (["pictures", "--points-per-side", "0"], "points_per_side 0 must be at least 1"),
        (["pictures", "--checkpoint", "none.pth"], "none.pth"),
        (["pictures", "--mode", "boxes", "--prompts", "wrong.csv"], "no column x1, y1"),
        (["pictures", "--mode", "boxes", "--prompts", "empty.csv"], "line 2: the box 5, 5, 5, 9 is empty"),
        (["pictures", "--mode", "points", "--prompts", "points.csv"], "line 2: x is 'left', not a number"),
        (["pictures", "--mode", "boxes", "--prompts", "stranger.csv"], "c.png is none of the pictures"),
    ],
)
def test_a_wrong_command_is_one_sentence(folder, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("wrong.csv").write_text("file,x0,y0\n")
    Path("empty.csv").write_text("file,x0,y0,x1,y1\nb.png,5,5,5,9\n")
    Path("points.csv").write_text("file,x,y\nb.png,left,5\n")
    Path("stranger.csv").write_text("file,x0,y0,x1,y1\nc.png,1,1,5,9\n")
    if arguments == ["."]:
        for path in folder.rglob("*.*"):
            path.unlink()
    assert segment(*arguments, "--out", "out") == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_without_ray_a_cluster_is_refused_with_what_to_install(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert segment(folder, "--out", tmp_path / "out", "--on", "ray") == 2
    assert 'pip install "sam-in-the-browser[ray]"' in capsys.readouterr().err


def test_a_prompt_outside_the_picture_is_that_pictures_failure(folder, tmp_path, capsys):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,x0,y0,x1,y1\nb.png,90,10,95,40\nmore/a.jpg,15,10,50,40\n")
    assert segment(folder, "--mode", "boxes", "--prompts", boxes, "--out", tmp_path / "out") == 1
    assert "90, 10 lies outside of 80 x 60 pixels" in capsys.readouterr().err


def test_pictures_that_would_overwrite_each_other_are_named(folder, tmp_path, capsys):
    Image.open(folder / "b.png").save(folder / "b.jpg")
    assert segment(folder, "--out", tmp_path / "out", "--format", "labelme") == 2
    assert "b.jpg and b.png have the same labelme file" in capsys.readouterr().err


def test_pictures_are_found_once_and_sorted(folder):
    names = [picture.name for picture in find_pictures([folder, folder / "b.png"])]
    assert names == ["b.png", "more/a.jpg"]
