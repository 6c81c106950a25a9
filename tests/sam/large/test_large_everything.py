"""Everything mode over tiles: what tiles cut is one thing, the answer is the same every time, memory stays bounded."""

import os
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from sam.automatic import Settings
from sam.automatic.boxes import suppress_duplicates
from sam.automatic.candidates import Candidate
from sam.automatic.grids import Crop
from sam.automatic.regions import clean
from sam.automatic.runs import bounding_box, from_rle, to_mask
from sam.large import TiledMaskGenerator
from sam.large.merging import Merging, Thing, _cleaned
from sam.large.seams import Found, join
from sam.large.suppression import BoxIndex, Suppression
from sam.large.tiles import Level, levels, starts
from sam.masks import mask_iou, rle_decode, rle_encode

SETTINGS = Settings(points_per_side=8, pred_iou_thresh=0.6, stability_score_thresh=0.75, output_mode="uncompressed_rle")
HW = (100, 140)
LEVEL = Level.of(HW, 1, 80, 20)


def candidate(mask, tile, point=0, iou=0.9, level=LEVEL):
    """What a tile of the level sees of a mask of the level, (H, W) bool."""
    x0, y0, x1, y1 = level.boxes[tile]
    seen = np.zeros_like(mask)
    seen[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
    runs = from_rle(rle_encode(seen))
    box = bounding_box(runs, mask.shape[0])
    crop = Crop(level.boxes[tile], 0)
    return Candidate((tile, point, 0), crop, np.array([x0, y0]), np.float32(iou), np.float32(iou), box, runs)


def disc(x, y, radius):
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


# --- tiles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 79, 80, 81, 200, 1000])
def test_tiles_cover_everything_and_overlap(length):
    first = starts(length, 80, 24)
    assert first[0] == 0 and max(length - 80, 0) == first[-1]
    assert all(80 - (after - before) >= 24 for before, after in pairwise(first))


def test_levels_go_from_one_tile_to_every_pixel():
    found = levels((20_000, 33_000), 1024, 256)
    assert [level.scale for level in found] == [64, 32, 16, 8, 4, 2, 1]
    assert len(found[0].boxes) == 1 and found[0].view(0).window == (0, 0, 33_000, 20_000)
    for level in found:
        assert max(level.view(len(level.boxes) - 1).box) == 33_000
    with pytest.raises(ValueError, match="scales"):
        levels((100, 100), 64, 16, [0, 1])


@pytest.mark.parametrize("hw, side, overlap", [((900, 700), 80, 40), ((81, 400), 80, 8), ((50, 60), 80, 20)])
def test_overlapping_tiles_are_those_that_share_pixels(hw, side, overlap):
    level = Level.of(hw, 1, side, overlap)
    shared = [
        (one, other)
        for (one, a), (other, b) in combinations(enumerate(level.boxes), 2)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]
    assert sorted(level.overlapping()) == shared


# --- seams -----------------------------------------------------------------------------------------------------------


def test_a_thing_in_four_tiles_is_one():
    mask = disc(70, 50, 45)
    (found,) = join([candidate(mask, tile) for tile in (3, 0, 2, 1)], LEVEL)
    np.testing.assert_array_equal(to_mask(found.runs, HW), mask)
    assert len(found.candidates) == 4


def test_the_order_of_candidates_does_not_matter():
    pieces = [candidate(disc(70, 50, 45), tile) for tile in range(4)]
    pieces += [candidate(disc(70, 50, 30), tile, point=1) for tile in range(4)]
    one, other = join(pieces, LEVEL), join(pieces[::-1], LEVEL)
    assert [found.places for found in one] == [found.places for found in other] and len(one) == 2
    for found, radius in zip(one, (45, 30), strict=True):
        np.testing.assert_array_equal(to_mask(found.runs, HW), disc(70, 50, radius))


def test_what_a_tile_shows_whole_needs_no_pieces():
    level = Level.of((100, 200), 1, 80, 40)
    mask = np.roll(np.pad(disc(30, 40, 12), ((0, 0), (0, 60))), 25, axis=1)
    pieces = [candidate(mask, tile, level=level) for tile in range(len(level.boxes))]
    pieces = [piece for piece in pieces if len(piece.runs)]
    found = join(pieces, level)
    assert 0 < len(found) < len(pieces) and all((to_mask(one.runs, level.hw) == mask).all() for one in found)


def test_pieces_that_disagree_stay_apart_and_are_left_to_a_coarser_level():
    left, right = candidate(disc(70, 20, 18), 0), candidate(disc(75, 58, 18), 1)
    assert join([left, right], LEVEL) == []


def test_a_piece_has_one_partner_in_a_tile_the_one_that_agrees_most():
    mask, part = disc(70, 50, 45), disc(70, 50, 45)
    part[:, :72] = False
    part[:20] = False
    found = join([candidate(mask, tile) for tile in range(4)] + [candidate(part, 1, point=1)], LEVEL)
    assert any((to_mask(one.runs, HW) == mask).all() for one in found)


def test_of_duplicates_the_more_finely_seen_stays():
    fine, coarse = LEVEL, Level.of(HW, 2, 80, 20)
    small = disc(40, 40, 18)
    shrunk = small[::2, ::2]
    one = Thing.of(Found.whole(candidate(shrunk, 0, iou=0.99, level=coarse)), coarse)
    other = Thing.of(Found.whole(candidate(small, 0, iou=0.8)), fine)
    merging = Merging(fine, [one], SETTINGS)
    assert merging.things == [one]
    change = merging.add(other.found.candidates)
    assert [thing.key for thing in change.added] == [other.key] and change.dropped == [one]
    assert [thing.key for thing in merging.things] == [other.key]


@given(st.integers(0, 2**32 - 1), st.integers(2, 90))
def test_cleaning_in_a_window_is_cleaning_in_the_picture(seed, least):
    coarse = np.random.default_rng(seed).random((10, 14)) < 0.5
    coarse[:, 9:] = False
    mask = np.kron(coarse, np.ones((10, 10), bool)) & disc(40, 50, 45)
    found = Found.whole(candidate(mask, 0, level=Level.of(HW, 1, 140, 20)))
    np.testing.assert_array_equal(_cleaned(found, HW, least).runs, clean(found.runs, HW, least))


# --- suppression -----------------------------------------------------------------------------------------------------


@st.composite
def batches_of_boxes(draw):
    """Batches of boxes of very different sizes, many of them near to an earlier one, and a rank for each."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=6))
    side = 2.0 ** rng.uniform(0, draw(st.integers(1, 14)), (sum(sizes), 2))
    boxes = np.concatenate([rng.uniform(0, 300, side.shape), side], axis=1)
    for index in range(1, len(boxes)):
        if rng.random() < 0.6:
            boxes[index] = boxes[rng.integers(index)] * rng.uniform(0.9, 1.1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return np.split(boxes.astype(np.int64), np.cumsum(sizes)[:-1]), rng.permutation(len(boxes)).tolist()


@given(batches_of_boxes(), st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.7, 0.95, 1.0]))
def test_suppression_as_boxes_come_is_suppression_of_all_of_them(found, threshold):
    batches, ranks = found
    suppression, staying, added = Suppression(threshold), set(), 0
    for boxes in batches:
        come, gone = suppression.add(boxes, ranks[added : added + len(boxes)])
        added += len(boxes)
        assert not staying & set(come) and staying >= set(gone)
        staying = (staying | set(come)) - set(gone)
        expected = suppress_duplicates(np.concatenate(batches)[:added], -np.array(ranks[:added]), threshold)
        assert staying == set(expected.tolist()) == set(np.flatnonzero(suppression.stays))


def test_a_box_comes_back_when_what_suppressed_it_goes():
    suppression = Suppression(0.5)
    suppression.add(np.array([[0, 0, 100, 100]]), [3])
    assert suppression.add(np.array([[30, 0, 130, 100]]), [2]) == ([1], [0])
    assert suppression.add(np.array([[60, 0, 160, 100]]), [1]) == ([2, 0], [1])


def test_a_box_is_compared_with_its_neighbourhood_only():
    corners = np.stack(np.meshgrid(np.arange(100), np.arange(100)), axis=-1).reshape(-1, 2) * 100
    index = BoxIndex(0.7)
    for box in np.concatenate([corners, corners + 80], axis=1):
        index.add(box)
    assert len(index.around(np.array([5000, 5000, 5080, 5080]))) <= 25
    assert len(index.around(np.array([0, 0, 9000, 9000]))) == 0, "nothing so large is there"


# --- the whole -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finest(tiny, circles):
    """Records of the finest level only."""
    return TiledMaskGenerator(tiny, SETTINGS, tile=320, scales=[1]).generate(circles)


def best(records, truth):
    return max(records, key=lambda record: mask_iou(rle_decode(record["segmentation"]), truth))


def test_a_drawn_circle_across_four_tiles_is_one_record(finest, circle):
    truth = circle("crossing")
    tiles = [box for box in Level.of((560, 800), 1, 320, 80).boxes if truth[box[1] : box[3], box[0] : box[2]].any()]
    assert len(tiles) >= 4 and not any(truth[y0:y1, x0:x1].sum() == truth.sum() for x0, y0, x1, y1 in tiles)
    found = best(finest, truth)
    assert mask_iou(rle_decode(found["segmentation"]), truth) > 0.9
    assert len(found["point_coords"]) >= 4
    masks = [rle_decode(record["segmentation"]) for record in finest]
    pieces = [mask for mask in masks if (mask & truth).sum() > 0.9 * mask.sum() and mask.sum() < 0.8 * truth.sum()]
    assert not pieces, "a piece that one tile saw is left over"


def test_levels_find_every_circle_and_the_updates_end_with_the_answer(tiny, circles, circle, places):
    generator = TiledMaskGenerator(tiny, SETTINGS, tile=320, scales=[4, 2])
    held, updates = {}, []
    for update in generator.generate_iter(circles):
        assert not update.added.keys() & held.keys() and set(update.retracted) <= held.keys()
        held = {number: record for number, record in held.items() if number not in update.retracted} | update.added
        updates.append(update)
    records = [held[number] for number in updates[-1].order]
    assert records == generator.generate(circles) and len(held) == len(records)
    assert updates[-1].done == updates[-1].total == 64 * len(updates)
    assert updates[0].added, "the coarsest level comes first and shows something"
    for name in places:
        assert mask_iou(rle_decode(best(records, circle(name))["segmentation"]), circle(name)) > 0.8, name
    for record in records:
        mask = rle_decode(record["segmentation"])
        rows, columns = np.nonzero(mask)
        assert record["area"] == mask.sum()
        assert record["bbox"] == [columns.min(), rows.min(), np.ptp(columns), np.ptp(rows)]
        assert coco.area(coco.frPyObjects(record["segmentation"], *mask.shape)) == record["area"]


def test_a_small_picture_is_what_the_plain_generator_finds(tiny, circles):
    from sam import SamAutomaticMaskGenerator

    small = np.ascontiguousarray(circles[::2, ::2])
    settings = {"points_per_side": 6, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.6, "output_mode": "coco_rle"}
    plain = SamAutomaticMaskGenerator(tiny, **settings).generate(small)
    assert TiledMaskGenerator(tiny, Settings(**settings)).generate(small) == plain and plain


def test_cancelling_ends_the_updates(tiny, circles):
    asked = []
    generator = TiledMaskGenerator(tiny, SETTINGS, tile=320)
    updates = list(generator.generate_iter(circles, cancelled=lambda: asked.append(1) or len(asked) > 3))
    assert len(asked) == 4 and len(updates) <= 1


@pytest.mark.parametrize("options, message", [({"tile": 10}, "tile 10"), ({"overlap": 0.7}, "overlap 0.7")])
def test_options_are_checked(tiny, options, message):
    with pytest.raises(ValueError, match=message):
        TiledMaskGenerator(tiny, **options)


@pytest.mark.data
def test_on_real_pictures_no_object_is_lost_at_the_seams(tiny):
    """What the plain generator finds in a picture, and believes in, tiles of half its size find too, in one piece."""
    from sam import SamAutomaticMaskGenerator

    folder = Path(os.environ.get("SAM_DATA", ""), "val", "coco_val_subset")
    if not folder.is_dir():
        pytest.skip("SAM_DATA names no folder of pictures")
    settings = Settings.preset("balanced", "tiny", points_per_side=8)
    found, joined = [], 0
    for path in sorted(folder.glob("*.jpg"))[:2]:
        pixels = np.array(Image.open(path).convert("RGB"))
        plain = SamAutomaticMaskGenerator(tiny, **vars(settings)).generate(pixels)
        tiled = TiledMaskGenerator(tiny, settings, tile=320).generate(pixels)
        sure = [record["segmentation"] for record in plain if record["predicted_iou"] >= 0.5]
        found += [max(mask_iou(mask, other["segmentation"]) for other in tiled) for mask in sure]
        joined += sum(len(record["point_coords"]) > 1 for record in tiled)
    assert len(found) > 10 and np.mean(np.array(found) > 0.6) > 0.8
    assert joined, "nothing was joined"


MEASURED = """
import sys
import threading
import numpy as np
from sam import load_sam
from sam.automatic import Settings
from sam.automatic.boxes import suppress_duplicates
from sam.bench.everything import resident_kilobytes
from sam.large import LargePicture, TiledMaskGenerator, open_picture

settings = Settings(points_per_side=2, pred_iou_thresh=0.5, output_mode="coco_rle")
model = load_sam("tiny")
generator = TiledMaskGenerator(model, settings, scales=[16])


def peak(source):  # megabytes of its own, not of files, that the process reaches while it works on a picture
    done, seen = threading.Event(), [0]

    def watch():
        while not done.wait(0.002):
            seen.append(resident_kilobytes("RssAnon"))

    threading.Thread(target=watch).start()
    generator.generate(source)
    LargePicture(model, source).predict([[500, 400]], [1], shown=(400, 300, 500, 500))
    done.set()
    return max(seen) // 1024


small = peak(np.random.default_rng(0).integers(0, 255, (9000 // 8, 12000 // 8, 3), np.uint8))
with open_picture(sys.argv[1], limit_bytes=32 * 2**20) as source:
    print(peak(source) - small)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read as Linux tells it")
@pytest.mark.parametrize("tiled", [True, False])
def test_memory_does_not_follow_the_picture(tmp_path, tiled):
    """A picture of 288 MB, of which 32 may be in memory; strips and libvips' buffers come on top."""
    pyvips = pytest.importorskip("pyvips")
    path = tmp_path / ("picture.tif" if tiled else "picture.png")
    image = pyvips.Image.new_from_array(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).replicate(3000, 2000)
    image.write_to_file(str(path), **({"tile": True, "compression": "deflate"} if tiled else {"compression": 1}))
    # What is freed goes back at once: glibc's arenas keep hundreds of megabytes or none, as threads happen to meet.
    frugal = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    run = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, env=frugal)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 144, f"{run.stdout} MB more than for a picture of 5 MB"
