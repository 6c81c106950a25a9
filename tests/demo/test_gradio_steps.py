"""What a visitor can do on Gradio's page, step by step over the real service: prompts, objects, undo, everything."""

import asyncio
import io
import json
import os
import time
import zipfile

import numpy as np
import pytest
from demo_world import png
from PIL import Image

from demo.gradio_app.desk import PALETTE
from demo.gradio_app.drawing import PREVIEW_SIDE, draw
from demo.gradio_app.refused import Refused
from demo.gradio_app.visits import CLOSED_S, IDLE_S, MOST_VISITS, UPLOAD_S, Visits, owner_of
from demo.gradio_app.work import Work, wanted
from demo.routes.page import static_folder
from demo.schemas import EverythingRequest, Prompts
from demo.service import DemoService, LoadedModel
from sam import load_sam
from sam.formats import READERS
from sam.masks import rle_decode, rle_decompress

ANY = EverythingRequest(points_per_side=12, pred_iou_thresh=0, stability_score_thresh=0, least_share=0)


@pytest.fixture
def work(shared_service) -> Work:
    return Work(shared_service)


@pytest.fixture(scope="module")
def trained():
    """The embedded model: what random weights find is one mask of the whole picture."""
    service = DemoService(LoadedModel(load_sam("tiny")))
    yield service
    service.close()


@pytest.fixture
def visits(tmp_path) -> Visits:
    return Visits(tmp_path)


@pytest.fixture
def visit(visits):
    return visits.of("anna", "one")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "blobs.png"
    path.write_bytes(png(160, 120, seed=60))
    return path


async def opened(work, visit, file):
    return [event.name async for event in work.open(visit, file)]


def run(steps):
    return asyncio.run(steps)


@pytest.fixture
def small_file(tmp_path):
    """Masks of random weights are ragged, and their outlines take a while."""
    path = tmp_path / "blobs.png"
    path.write_bytes(png(48, 36, seed=60))
    return path


def pixels_of(mask: dict) -> np.ndarray:
    return rle_decode(rle_decompress(mask))


# ---- prompts


def test_a_click_shows_the_mask_of_the_service_and_its_four_candidates(work, visit, file, shared_service):
    async def steps():
        events = await opened(work, visit, file)
        await work.click(visit, "add", (40.0, 50.0))
        return events, await shared_service.segment(visit.desk.picture.id, Prompts(points=[(40, 50)], labels=[1]))

    events, segment = run(steps())
    assert events[-1] == "done"
    answer = visit.desk.answer
    assert len(answer.candidates.scores) == 4 and answer.chosen == answer.candidates.best
    assert answer.score == pytest.approx(min(max(segment.iou, 0), 1), abs=1e-6)
    np.testing.assert_array_equal(pixels_of(answer.drawn.mask), segment.mask)


def test_a_further_click_corrects_the_mask_that_was_chosen(work, visit, file, shared_service):
    async def steps():
        await opened(work, visit, file)
        await work.click(visit, "add", (40.0, 50.0))
        await work.choose(visit, 2)
        chosen = visit.desk.answer.candidates.logits[2]
        await work.click(visit, "remove", (100.0, 90.0))
        prompts = Prompts(points=[(40, 50), (100, 90)], labels=[1, 0]).model_copy(update={"mask": chosen[None]})
        return await shared_service.candidates(visit.desk.picture.id, prompts)

    expected = run(steps())
    np.testing.assert_array_equal(visit.desk.answer.candidates.logits, expected.logits)
    assert visit.desk.answer.chosen == 0


def test_two_corners_in_any_order_make_the_box(work, visit, file, shared_service):
    async def steps():
        await opened(work, visit, file)
        await work.click(visit, "corner", (120.0, 20.0))
        assert visit.desk.corner == (120, 20) and visit.desk.answer is None
        await work.click(visit, "corner", (30.0, 100.0))
        return await shared_service.segment(visit.desk.picture.id, Prompts(box=(30, 20, 120, 100)))

    segment = run(steps())
    assert visit.desk.box == (30, 20, 120, 100) and visit.desk.corner is None
    np.testing.assert_array_equal(pixels_of(visit.desk.answer.drawn.mask), segment.mask)


def test_undo_goes_back_through_every_kind_of_step(work, visit, file):
    async def steps():
        await opened(work, visit, file)
        desks = [visit.desk]
        for step in (
            work.click(visit, "add", (40.0, 50.0)),
            work.choose(visit, 0),
            work.keep(visit, "blob"),
            work.relabel(visit, 0, "other"),
            work.show(visit, []),
            work.remove(visit, 0),
            work.click(visit, "corner", (10.0, 10.0)),
            work.clear(visit),
        ):
            await step
            assert visit.desk is not desks[-1]
            desks.append(visit.desk)
        for desk in reversed(desks[:-1]):
            await work.undo(visit)
            assert visit.desk is desk
        with pytest.raises(Refused, match="nothing to undo"):
            await work.undo(visit)

    run(steps())


@pytest.mark.parametrize(
    ("kind", "point", "sentence"),
    [
        ("add", (161.0, 5.0), r"\(161, 5\) is not on the picture; x goes from 0 to 160, y from 0 to 120"),
        ("add", (float("nan"), 5.0), "not on the picture"),
        ("remove", (5.0, 5.0), "nothing to take away from"),
        ("take", (5.0, 5.0), "find everything first"),
        ("paint", (5.0, 5.0), "'paint' is unknown; there are add, remove, corner, take"),
    ],
)
def test_a_click_that_cannot_be_is_refused_and_changes_nothing(work, visit, file, kind, point, sentence):
    async def steps():
        await opened(work, visit, file)
        before = visit.desk
        with pytest.raises(Refused, match=sentence):
            await work.click(visit, kind, point)
        assert visit.desk is before and not visit.past

    run(steps())


def test_before_a_picture_every_step_says_so(work, visit):
    async def steps():
        for step in (work.click(visit, "add", (1, 1)), work.clear(visit), work.keep(visit, "x"), work.draw(visit)):
            with pytest.raises(Refused, match="open one first"):
                await step

    run(steps())


# ---- how it looks


def test_the_preview_is_drawn_over_where_the_mask_is_and_nowhere_else(work, visit, file):
    async def steps():
        await opened(work, visit, file)
        bare = await work.draw(visit)
        await work.click(visit, "corner", (20.0, 20.0))
        await work.click(visit, "corner", (140.0, 100.0))
        return bare, await work.draw(visit)

    bare, drawn = (np.asarray(Image.open(path)).astype(int) for path in run(steps()))
    assert bare.shape == drawn.shape == (960, PREVIEW_SIDE, 3)
    sketch = visit.desk.answer.drawn.sketch
    mask = np.zeros(bare.shape[:2], bool)
    mask[sketch.y : sketch.y + sketch.pixels.shape[0], sketch.x : sketch.x + sketch.pixels.shape[1]] = sketch.pixels
    changed = np.abs(bare - drawn).max(-1) > 24
    rows, columns = np.mgrid[:960, :PREVIEW_SIDE] / 8
    to_box = np.minimum.reduce([abs(rows - 20), abs(rows - 100), abs(columns - 20), abs(columns - 140)])
    assert 0 < mask.mean() < 1
    assert (changed == mask)[to_box > 2].mean() > 0.97


def test_hidden_objects_are_neither_drawn_nor_exported(work, visit, file):
    async def steps():
        await opened(work, visit, file)
        bare = draw(visit.desk)
        for label in ("one", "two"):
            await work.click(visit, "corner", (20.0, 20.0))
            await work.click(visit, "corner", (140.0, 100.0))
            await work.keep(visit, label)
        assert draw(visit.desk) != bare
        await work.show(visit, [1])
        exported = [item.label for item in visit.desk.exported]
        await work.show(visit, [])
        return exported, draw(visit.desk) == bare

    assert run(steps()) == (["two"], True)


# ---- objects and files


async def with_objects(work, visit, file):
    await opened(work, visit, file)
    height, width = visit.desk.picture.original_hw
    for label, corners in (("cup", ((0.1, 0.1), (0.6, 0.6))), ("", ((0.4, 0.3), (0.9, 0.9)))):
        for x, y in corners:
            await work.click(visit, "corner", (x * width, y * height))
        await work.keep(visit, label)


def test_objects_get_labels_and_colours_of_their_own(work, visit, file):
    run(with_objects(work, visit, file))
    assert [thing.label for thing in visit.desk.things] == ["cup", "object 2"]
    assert [thing.colour for thing in visit.desk.things] == list(PALETTE[:2])
    assert visit.desk.answer is None and visit.desk.box is None


def test_every_format_is_written_and_those_that_can_be_read_come_back(work, visit, small_file, shared_service):
    async def steps():
        await with_objects(work, visit, small_file)
        return {kind: await work.export(visit, kind, "sharp") for kind in shared_service.formats}

    files = run(steps())
    masks = [pixels_of(thing.drawn.mask) for thing in visit.desk.things]
    assert files["coco"].name == "blobs.coco.json" and files["masks"].name == "blobs.masks.zip"
    for kind, reader in (("coco", "coco"), ("session", "session"), ("zip", "zip")):
        session = READERS[reader](files[kind].read_bytes())
        assert [item.label for item in session.objects] == ["cup", "object 2"]
        for item, mask in zip(session.objects, masks, strict=True):
            np.testing.assert_array_equal(rle_decode(item.mask), mask)
    assert all(path.stat().st_size for path in files.values())


@pytest.mark.parametrize("edge", ["sharp", "feathered", "matte"])
def test_a_cut_out_holds_the_picture_s_pixels_under_its_mask(work, visit, file, edge):
    async def steps():
        await opened(work, visit, file)
        await work.click(visit, "corner", (20.0, 20.0))
        await work.click(visit, "corner", (140.0, 100.0))
        return await work.export(visit, "cutouts", edge)

    with Image.open(run(steps())) as image:
        cut, mask = np.asarray(image), pixels_of(visit.desk.answer.drawn.mask)
    picture = np.asarray(Image.open(io.BytesIO(png(160, 120, seed=60))).convert("RGB"))
    windows = np.lib.stride_tricks.sliding_window_view(picture, cut[..., :3].shape)[..., 0, :, :, :]
    assert (windows == cut[..., :3]).all((-1, -2, -3)).any()
    covered = (cut[..., 3] / 255).sum()
    assert covered == mask.sum() if edge == "sharp" else covered > 0
    assert (len(np.unique(cut[..., 3])) > 2) == (edge == "feathered"), "this noise has no edges for a matte to find"


def test_what_cannot_be_exported_says_why(work, visit, file):
    async def steps():
        await opened(work, visit, file)
        with pytest.raises(Refused, match="nothing to take home"):
            await work.export(visit, "coco", "sharp")
        with pytest.raises(Refused, match="no mask to keep"):
            await work.keep(visit, "x")
        await with_objects(work, visit, file)
        with pytest.raises(Exception, match="'word' is unknown; there are cutouts, session, coco"):
            await work.export(visit, "word", "sharp")
        with pytest.raises(Refused, match="There is no object 6; 2 are kept"):
            await work.remove(visit, 5)
        with pytest.raises(Refused, match="1 to 200 characters"):
            await work.relabel(visit, 0, "\x07" * 3)

    run(steps())


# ---- everything


def test_everything_appears_batch_by_batch_and_a_click_or_a_button_keeps_it(trained, visit):
    work = Work(trained)

    async def steps():
        await opened(work, visit, static_folder() / "gallery" / "coffee.jpg")
        updates = [update async for update in work.find(visit, EverythingRequest(preset="few", points_per_side=8))]
        found = dict(visit.found.objects)
        first = min(found.values(), key=lambda pair: pair[0].area)[0]
        rows, columns = np.nonzero(pixels_of(first.mask))
        middle = len(rows) // 2
        await work.click(visit, "take", (columns[middle] + 0.5, rows[middle] + 0.5))
        taken = visit.desk.things[0].found_id
        await work.take_all(visit)
        return updates, found, taken

    updates, found, taken = run(steps())
    assert updates[-1].done == updates[-1].total and len(found) > 1
    assert found[taken][0].area == min(item.area for item, _ in found.values())
    assert sorted(thing.found_id for thing in visit.desk.things) == sorted(found)


def test_a_search_that_is_stopped_ends_at_once_and_keeps_what_it_found(work, visit, file):
    async def steps():
        await opened(work, visit, file)
        done = []
        async for update in work.find(visit, ANY):
            done.append(update.done)
            await work.stop(visit)
        return done, update.total

    done, total = run(steps())
    assert len(done) == 1 and done[0] < total
    assert not visit.found.running


def test_another_picture_ends_the_search_on_the_last_one(work, visit, file, tmp_path):
    async def steps():
        await opened(work, visit, file)
        other = tmp_path / "other.png"
        other.write_bytes(png(seed=61))
        async for _ in work.find(visit, ANY):
            await opened(work, visit, other)

    run(steps())
    assert visit.found is None and visit.desk.picture.name == "other.png"


def test_a_preset_that_does_not_exist_is_named():
    with pytest.raises(Refused, match="no preset 'many'; there are few, balanced, fine"):
        wanted("many")


# ---- visits


def test_visits_are_apart_by_visitor_and_by_session(visits):
    anna = visits.of("anna", "one")
    assert visits.of("anna", "one") is anna
    others = [visits.of("anna", "two"), visits.of("ben", "one"), visits.of("", "one")]
    assert len({id(visit) for visit in (anna, *others)}) == len({visit.folder for visit in (anna, *others)}) == 4
    assert anna.folder.parent.name == owner_of("anna") and "anna" not in str(anna.folder)


def test_a_visit_ends_with_its_files_when_it_is_idle_or_was_closed(tmp_path):
    now = [0.0]
    visits = Visits(tmp_path, clock=lambda: now[0])
    idle, closed, back = (visits.of(name, "s") for name in ("idle", "closed", "back"))
    files = [visit.write("a.txt", b"a") for visit in (idle, closed, back)]
    visits.close("closed", "s")
    visits.close("back", "s")
    visits.of("back", "s")
    now[0] = CLOSED_S + 1
    visits.sweep()
    assert [file.exists() for file in files] == [True, False, True]
    now[0] = IDLE_S + 1
    visits.sweep()
    assert not len(visits) and not any(file.exists() for file in files)


def test_the_oldest_visit_makes_room(visits):
    first = visits.of("first", "s")
    file = first.write("a.txt", b"a")
    for number in range(MOST_VISITS):
        visits.of(f"visitor {number}", "s")
    assert len(visits) == MOST_VISITS and not file.exists()
    assert visits.of("first", "s") is not first


def test_uploads_that_nobody_opened_are_swept_away(visits, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.png").write_bytes(b"a")
    (tmp_path / "tmpabc").write_bytes(b"half")
    (tmp_path / "new").mkdir()
    for name in ("old", "tmpabc"):
        os.utime(tmp_path / name, times=(time.time() - UPLOAD_S - 1,) * 2)
    kept = visits.of("anna", "one").write("a.txt", b"a")
    visits.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {"new", visits.folder.name}
    assert kept.exists()


def test_a_zip_holds_every_format_in_a_folder(work, visit, small_file):
    async def steps():
        await with_objects(work, visit, small_file)
        return await work.export(visit, "zip", "sharp")

    with zipfile.ZipFile(run(steps())) as archive:
        folders = {name.split("/")[0] for name in archive.namelist() if "/" in name}
        assert {"coco", "labelme", "yolo", "svg", "masks"} <= folders
        assert json.loads(archive.read("blobs.session.json"))["picture"]["width"] == 48
