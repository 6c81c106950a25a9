"""Masks as polygons: tracing is exact, simplifying keeps its promise, what comes out is valid for strict readers."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw

from sam.masks import mask_iou
from sam.polygons import (
    contains,
    crossing_rings,
    draw,
    fill,
    fill_even_odd,
    fill_holes,
    group,
    keyhole,
    outline,
    paint,
    remove_islands,
    ring_area,
    simplify,
    simplify_together,
    smooth,
    through_pixels,
    trace,
)

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14))
RING = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]], bool)


def blob(size=200, seed=0):
    """A wavy disc with a wavy hole and an island in it, and one beside it."""
    rows, columns = np.mgrid[:size, :size] - size / 2 + 0.5
    radius, angle = np.hypot(rows, columns) / size, np.arctan2(rows, columns)
    wave = 0.02 * np.sin(5 * angle + seed) + 0.01 * np.cos(11 * angle)
    mask = (radius < 0.36 + wave) & (radius > 0.2 + wave) | (radius < 0.1)
    mask[2:14, 3:20] = True
    return mask


# --- tracing ----------------------------------------------------------------------------------------------------


@given(mask=MASKS)
def test_filling_the_traced_rings_gives_the_mask(mask):
    winding = fill(trace(mask), *mask.shape[::-1])
    np.testing.assert_array_equal(winding, mask)  # nothing is wound twice


@given(mask=MASKS)
def test_traced_rings_are_simple_and_start_at_their_top(mask):
    rings = trace(mask)
    assert not crossing_rings(rings)
    for ring in rings:
        assert len({tuple(point) for point in ring.tolist()}) == len(ring) >= 4
        assert tuple(ring[0, ::-1]) == min(tuple(point) for point in ring[:, ::-1].tolist())
        assert (np.sign(np.abs(np.roll(ring, -1, axis=0) - ring)).sum(axis=1) == 1).all()
    assert sum(map(ring_area, rings)) == mask.sum()


@given(mask=MASKS)
def test_smoothing_moves_no_pixel_over_the_edge(mask):
    np.testing.assert_array_equal(fill(map(smooth, trace(mask)), *mask.shape[::-1]), mask)


def test_a_hole_turns_the_other_way_and_belongs_to_its_ring():
    outer, hole = trace(RING)
    assert outer.tolist() == [[0, 0], [4, 0], [4, 4], [0, 4]]
    assert hole.tolist() == [[1, 1], [1, 3], [3, 3], [3, 1]]
    ((first, second),) = group([hole, outer])
    assert first is outer and second is hole


def test_pixels_that_touch_at_a_corner_are_apart_and_so_are_holes():
    assert [ring_area(ring) for ring in trace(np.eye(2, dtype=bool))] == [1, 1]
    holes = np.pad(~np.eye(2, dtype=bool), 1, constant_values=True)
    assert sorted(ring_area(ring) for ring in trace(holes)) == [-1, -1, 16]


@given(mask=MASKS)
def test_every_hole_lies_in_its_polygon(mask):
    polygons = group(trace(mask))
    assert sum(len(polygon) for polygon in polygons) == len(trace(mask))
    for outer, *holes in polygons:
        assert ring_area(outer) > 0
        for hole in holes:
            assert ring_area(hole) < 0 and contains(outer, *(hole[0] + (0.5, -0.5)))


@given(mask=MASKS)
def test_polygons_of_any_mask_are_valid_for_shapely(mask):
    shapely = pytest.importorskip("shapely")
    polygons = [shapely.Polygon(outer, holes) for outer, *holes in group(trace(mask))]
    assert shapely.MultiPolygon(polygons).is_valid
    assert sum(polygon.area for polygon in polygons) == mask.sum()


# --- filling and drawing ----------------------------------------------------------------------------------------


COORDINATES = st.integers(-40, 140).map(lambda n: n / 7)


@given(ring=arrays(np.float64, st.tuples(st.integers(3, 7), st.just(2)), elements=COORDINATES))
def test_filling_covers_the_pixels_whose_centres_are_inside(ring):
    filled = fill_even_odd(ring, 12, 9)
    centres = [[contains(ring, x + 0.5, y + 0.5) for x in range(12)] for y in range(9)]
    near = np.abs(np.roll(ring, -1, axis=0) - ring).max() < 1e-9  # a point has no inside
    assert near or np.mean(filled == centres) > 0.97  # centres on the ring itself may fall to either side
    np.testing.assert_array_equal(fill([ring], 12, 9) % 2 == 1, filled)


@given(mask=MASKS)
def test_rings_through_pixels_draw_the_mask_as_pillow_draws_it(mask):
    drawn = np.zeros(mask.shape, bool)
    for polygon in group(trace(fill_holes(mask))):
        ring = through_pixels(polygon[0])
        ours = draw(ring, *mask.shape[::-1])
        image = Image.new("1", mask.shape[::-1])
        ImageDraw.Draw(image).polygon([tuple(point) for point in ring.tolist() + 2 * ring[-1:].tolist()], 1, 1)
        np.testing.assert_array_equal(ours, np.array(image))
        drawn |= ours
    np.testing.assert_array_equal(drawn, fill_holes(mask))


@given(mask=MASKS)
def test_one_ring_with_bridges_covers_what_its_rings_cover(mask):
    rings = trace(mask)
    if rings:
        np.testing.assert_array_equal(fill_even_odd(keyhole(rings), *mask.shape[::-1]), mask)


def walk(steps, start):
    """A ring whose neighbours lie together, on whole pixels, so that many points are equally near."""
    return np.cumsum(np.array(steps) - 1, axis=0) + start


STEPS = st.integers(3, 300).flatmap(lambda n: arrays(np.int8, (n, 2), elements=st.integers(0, 2)))


@given(steps=st.lists(STEPS, min_size=2, max_size=2), start=st.tuples(st.integers(-30, 30), st.integers(-30, 30)))
def test_a_bridge_joins_the_first_of_the_nearest_points(steps, start):
    one, other = walk(steps[0], (0, 0)), walk(steps[1], start)
    apart = ((one[:, None] - other) ** 2).sum(-1)
    here, there = divmod(int(apart.argmin()), len(other))
    joined = np.concatenate([one[: here + 1], other[there:], other[: there + 1], one[here:]])
    np.testing.assert_array_equal(keyhole([one, other]), joined)


def test_a_bridge_between_long_rings_takes_little_memory():
    turns = np.linspace(0, 2 * np.pi, 7000, endpoint=False)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    tracemalloc.start()
    keyhole([900 * circle, 500 * circle[::-1]])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20, "all pairs of points would take 390 MB a number"


# --- simplifying ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [0.3, 0.75, 1.0, 2.5, 8.0])
def test_no_point_moves_further_than_the_error_and_that_than_the_tolerance(tolerance):
    for ring in trace(blob()):
        simple, error = simplify(ring, tolerance)
        assert 0 <= error <= tolerance and len(simple) <= len(ring)
        for point in ring.astype(float):
            start, end = simple.astype(float), np.roll(simple, -1, axis=0).astype(float)
            along = ((point - start) * (end - start)).sum(1) / ((end - start) ** 2).sum(1)
            foot = start + np.clip(along, 0, 1)[:, None] * (end - start)
            assert np.hypot(*(point - foot).T).min() <= error + 1e-9


@given(mask=MASKS, tolerance=st.sampled_from([0.5, 0.75, 1.0, 3.0]))
def test_simplified_rings_do_not_cross(mask, tolerance):
    shapely = pytest.importorskip("shapely")
    rings, error = simplify_together(trace(mask), tolerance)
    assert not crossing_rings(rings) and error <= tolerance
    assert all(shapely.Polygon(ring).is_valid for ring in rings)
    assert len(rings) == len(trace(mask))


def test_an_outline_needs_fewer_points_than_its_pixels():
    mask = blob()
    exact, simple = outline(mask, 0), outline(mask)
    points = [sum(len(ring) for polygon in found.polygons for ring in polygon) for found in (exact, simple)]
    assert points[1] < points[0] / 2
    assert exact.error == 0 and 0 < simple.error <= 1


@given(mask=MASKS, frame=st.sampled_from(["edges", "pixels"]))
def test_an_outline_without_a_tolerance_keeps_its_mask(mask, frame):
    found = outline(mask, frame=frame)
    if frame == "edges":
        assert mask_iou(paint(found, mask.shape), mask) >= 0.997
    elif found.polygons and all(len(polygon) == 1 for polygon in found.polygons):
        drawn = np.any([draw(polygon[0], *mask.shape[::-1]) for polygon in found.polygons], axis=0)
        assert mask_iou(drawn, mask) >= 0.997


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
def test_a_tolerance_must_be_a_distance(tolerance):
    with pytest.raises(ValueError, match=f"{tolerance} pixels"):
        outline(RING, tolerance)


# --- holes and islands ------------------------------------------------------------------------------------------


def test_holes_and_islands_go_by_size():
    mask = np.zeros((12, 12), bool)
    mask[:9, :9] = True
    mask[1:7, 1:7] = False  # a hole of 36, in it an island of 9 with a hole of 1
    mask[3:6, 3:6] = True
    mask[4, 4] = False
    mask[11, 11] = True
    assert fill_holes(mask, 1).sum() == mask.sum() + 1
    assert fill_holes(mask).sum() == 81 + 1
    assert remove_islands(mask, 1).sum() == mask.sum() - 1
    assert remove_islands(mask, 9).sum() == 81 - 36


@given(mask=MASKS, largest=st.integers(0, 40))
def test_filling_only_adds_and_removing_only_takes_away(mask, largest):
    assert (fill_holes(mask, largest) >= mask).all() and (remove_islands(mask, largest) <= mask).all()
    np.testing.assert_array_equal(fill_holes(fill_holes(mask, largest), largest), fill_holes(mask, largest))
