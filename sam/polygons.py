"""Masks as polygons and back: rings along the pixels' edges, simplified within a stated error, and filled again.

A ring is an (N, 2) array of x, y in picture pixels, where pixel (0, 0) covers the square from 0 to 1; it is closed
without repeating its first point. Outer rings run clockwise as seen on the screen (their area is positive), holes the
other way. Traced rings are simple and meet in points at most: pixels that touch at a corner only are apart. The page
computes the same in static/js/export/polygons.js, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .masks import mask_iou

Frame = Literal["edges", "pixels"]
"""Where the points of a ring lie: on the pixels' edges, or in the mask's outermost pixels, for the many tools that turn
coordinates into whole ones and then draw the pixels that the outline touches, too."""
INSET = 0.25
"""Where in a pixel: some of these tools drop the fraction of a coordinate, others round it, and all find this pixel."""

TOLERANCES = (1.0, 0.75, 0.6, 0.5, 0.35, 0.0)
"""Errors in pixels that an outline without a stated tolerance tries in turn."""
MOST_PAIRS = 500_000
"""Pairs of edges compared at once, for memory's sake."""
RUN = 64
"""Points of a ring that are compared together, or passed over together, when the nearest are looked for."""
LEAST_IOU = 0.997
"""What such an outline keeps of its mask at least; other tools' drawing may take another 0.002."""


@dataclass(frozen=True)
class Outline:
    """A mask's polygons, each an outer ring and its holes.

    `error` is how far, in pixels, the middle of a pixel's side that was on the edge lies from it, at most.
    """

    polygons: list[list[np.ndarray]]
    error: float


def trace(mask: np.ndarray) -> list[np.ndarray]:
    """Rings around a boolean H,W mask and its holes, exact: int64 corners of pixels, each ring from its topmost, then
    leftmost point on, the rings sorted by that point."""
    flat, flat_sign = _edges(mask)
    tall, tall_sign = _edges(mask.T)
    tall, tall_sign = tall[:, ::-1, ::-1], 1 - tall_sign  # down the columns, the mask on the other hand
    after_flat = _link(flat[:, 1], flat_sign, tall[:, 0], tall_sign)
    after_tall = _link(tall[:, 1], 1 - tall_sign, flat[:, 0], flat_sign)
    rings = _walk(flat[:, 0], tall[:, 0], after_flat, after_tall)
    return sorted(rings, key=lambda ring: (ring[0, 1], ring[0, 0]))


def _edges(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longest straight edges along the rows, mask on the right hand: (N, 2 ends, xy), and 1 for those that go right."""
    padded = np.pad(mask, 1).astype(np.int8)
    steps = np.pad(padded[1:] - padded[:-1], ((0, 0), (1, 1)))  # 1: mask below, -1: mask above
    change = steps[:, 1:] != steps[:, :-1]
    y, start = np.nonzero(change & (steps[:, 1:] != 0))
    _, end = np.nonzero(change & (steps[:, :-1] != 0))
    rightward = steps[y, start + 1] > 0
    from_to = np.where(rightward[:, None], np.stack([start, end], 1), np.stack([end, start], 1)) - 1
    return np.stack([from_to, np.stack([y, y], 1)], axis=2), rightward.astype(np.int64)


def _link(ends: np.ndarray, wanted: np.ndarray, starts: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Which edge goes on from each end: the only one, or where two pixels touch at a corner the `wanted` of the two."""
    span = 1 + max(ends.max(initial=0), starts.max(initial=0))
    keys = 2 * (starts[:, 1] * span + starts[:, 0]) + signs
    order = np.argsort(keys)
    keys, points = keys[order], ends[:, 1] * span + ends[:, 0]
    at = np.searchsorted(keys, 2 * points)
    is_double = np.append(keys, -1)[at + 1] >> 1 == points
    return order[at + is_double * wanted]


def _walk(flat: np.ndarray, tall: np.ndarray, after_flat: np.ndarray, after_tall: np.ndarray) -> list[np.ndarray]:
    """Follow the links; flat and tall edges take turns, given by their starts."""
    flat_points, tall_points = list(map(tuple, flat.tolist())), list(map(tuple, tall.tolist()))
    to_tall, to_flat, seen, rings = after_flat.tolist(), after_tall.tolist(), [False] * len(flat), []
    for first in range(len(flat_points)):
        ring, edge = [], first
        while not seen[edge]:
            seen[edge] = True
            ring += [flat_points[edge], tall_points[to_tall[edge]]]
            edge = to_flat[to_tall[edge]]
        rings += map(_from_top, _split(ring)) if ring else []
    return rings


def _split(ring: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Simple rings of one that meets itself in points."""
    if len(set(ring)) == len(ring):
        return [ring]
    simple, path, at = [], [], {}
    for point in ring:
        if point in at:
            loop = path[at[point] :]
            del path[at[point] :]
            for passed in loop:
                del at[passed]
            simple.append(loop)
        at[point] = len(path)
        path.append(point)
    return [*simple, path]


def _from_top(ring: list[tuple[int, int]]) -> np.ndarray:
    first = min(range(len(ring)), key=lambda index: (ring[index][1], ring[index][0]))
    return np.array(ring[first:] + ring[:first], dtype=np.int64)


def ring_area(ring: np.ndarray) -> float:
    """Pixels inside, negative for a hole."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def group(rings: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Traced rings as polygons: every outer ring with its holes."""
    outer = [ring for ring in rings if ring_area(ring) > 0]
    boxes = np.array([[*ring.min(0), *ring.max(0)] for ring in outer]).reshape(-1, 4)
    by_size = np.argsort([ring_area(ring) for ring in outer], kind="stable")
    polygons = [[ring] for ring in outer]
    for hole in (ring for ring in rings if ring_area(ring) < 0):
        x, y = hole[0] + (0.5, -0.5)  # above a hole's topmost edge is mask
        inside = (boxes[:, 0] < x) & (x < boxes[:, 2]) & (boxes[:, 1] < y) & (y < boxes[:, 3])
        polygons[next(index for index in by_size if inside[index] and contains(outer[index], x, y))].append(hole)
    return polygons


def contains(ring: np.ndarray, x: float, y: float) -> bool:
    """Whether a point off the ring lies inside it."""
    (ax, ay), (bx, by) = ring.T, np.roll(ring, -1, axis=0).T
    crossing = (ay > y) != (by > y)
    ax, ay, bx, by = ax[crossing], ay[crossing], bx[crossing], by[crossing]
    return bool((ax + (y - ay) * (bx - ax) / (by - ay) > x).sum() % 2)


def fill(rings: Iterable[np.ndarray], width: int, height: int) -> np.ndarray:
    """How often each pixel's centre is wound by the rings: (height, width) int32, positive inside outer rings.

    Exact for traced rings; rings may reach over the picture.
    """
    winding = np.zeros((height, width + 1), dtype=np.int32)
    for ring in rings:
        _add_crossings(winding, np.asarray(ring, dtype=np.float64), signed=True)
    return winding[:, :-1].cumsum(axis=1, dtype=np.int32)


def fill_even_odd(ring: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels whose centres lie inside one ring of any kind, also one that crosses itself: (height, width) boolean."""
    crossings = np.zeros((height, width + 1), dtype=np.int32)
    _add_crossings(crossings, np.asarray(ring, dtype=np.float64), signed=False)
    return crossings[:, :-1].cumsum(axis=1, dtype=np.int32) % 2 == 1


def _add_crossings(winding: np.ndarray, ring: np.ndarray, *, signed: bool) -> None:
    """Add 1 where a ring's edge is passed going right, -1 for an edge that goes down."""
    height, width = winding.shape[0], winding.shape[1] - 1
    ends = np.roll(ring, -1, axis=0)
    down = ring[:, 1] < ends[:, 1]
    (ax, ay), (bx, by) = np.where(down[:, None], ring, ends).T, np.where(down[:, None], ends, ring).T
    first = np.clip(np.ceil(ay - 0.5), 0, height).astype(np.int64)
    count = np.clip(np.ceil(by - 0.5), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(ring)), count)
    rows = np.arange(len(edge)) - np.repeat(count.cumsum() - count - first, count)
    slope = (bx - ax) / np.where(by == ay, 1, by - ay)
    x = ax[edge] + (rows + 0.5 - ay[edge]) * slope[edge]
    columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    np.add.at(winding, (rows, columns), np.where(down[edge], -1, 1) if signed else 1)


def draw(ring: np.ndarray, width: int, height: int) -> np.ndarray:
    """One ring as OpenCV and Pillow draw it: fractions dropped, pixels inside and those under the outline, boolean."""
    pixels = np.floor(np.asarray(ring, dtype=np.float64))
    drawn = fill_even_odd(pixels + 0.5, width, height)
    ends = np.roll(pixels, -1, axis=0)
    steps = np.maximum(np.abs(ends - pixels).max(axis=1), 1).astype(np.int64)
    edge = np.repeat(np.arange(len(pixels)), steps)
    part = (np.arange(len(edge)) - np.repeat(steps.cumsum() - steps, steps)) / steps[edge]
    x, y = np.floor(pixels[edge] + (ends - pixels)[edge] * part[:, None] + 0.5).astype(np.int64).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    drawn[y[inside], x[inside]] = True
    return drawn


def through_pixels(ring: np.ndarray) -> np.ndarray:
    """A traced ring, moved into the mask's pixels beside it, `INSET` from their top left."""
    ends = np.roll(ring, -1, axis=0)
    step = np.sign(ends - ring)
    right_hand = np.stack([-step[:, 1], step[:, 0]], axis=1)
    inward = (step + right_hand) / 2 - (0.5 - INSET)
    points = np.stack([ring + inward, ends - step + inward], axis=1).reshape(-1, 2)
    return points[(points != np.roll(points, 1, axis=0)).any(axis=1)] if (points != points[0]).any() else points[:1]


def smooth(ring: np.ndarray) -> np.ndarray:
    """A traced ring through the middles of its pixels' sides, so that a slope is a line and no stair; float64.

    No pixel's centre changes sides. Corners between two sides of 3 pixels and more stay.
    """
    ends = np.roll(ring, -1, axis=0)
    step = np.sign(ends - ring)
    is_long = np.abs(ends - ring).max(axis=1) >= 3
    points = np.stack([ring, ring + step / 2, ends - step / 2], axis=1).reshape(-1, 2)
    kept = np.ones((len(ring), 3), dtype=bool)
    kept[:, 0] = is_long & np.roll(is_long, 1)
    kept[:, 2] = np.abs(ends - ring).max(axis=1) > 1
    return points[kept.ravel()]


def simplify_traced(ring: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    """As `simplify`, from the smoothed ring; the traced one itself where the tolerance is 0."""
    if tolerance <= 0:
        return ring, 0.0
    simple, error = simplify(smooth(ring), tolerance)
    return (simple, error) if ring_area(simple) * ring_area(ring) > 0 else (ring, 0.0)


def simplify(ring: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    """A closed ring with fewer of its points, and the distance of the furthest dropped one from its edge.

    Ramer 1972, Douglas and Peucker 1973, from the first point and the one furthest from it; distances are to the
    segment. A ring that would fall flat stays as it is.
    """
    points = np.asarray(ring, dtype=np.float64)
    if len(points) < 4 or tolerance <= 0:
        return ring, 0.0
    kept, error, stack = {0}, 0.0, [(0, len(points))]
    closed = np.vstack([points, points[:1]])
    kept.add(furthest := int(_distances(points, points[0], points[0]).argmax()))
    stack = [(0, furthest), (furthest, len(points))]
    while stack:
        start, end = stack.pop()
        if end - start < 2:
            continue
        distances = _distances(closed[start + 1 : end], closed[start], closed[end])
        worst = int(distances.argmax())
        if distances[worst] > tolerance * tolerance:
            kept.add(middle := start + 1 + worst)
            stack += [(start, middle), (middle, end)]
        else:
            error = max(error, float(distances[worst]))
    simple = ring[sorted(kept)]
    is_flat = len(simple) < 3 or ring_area(simple) * ring_area(ring) <= 0
    return (ring, 0.0) if is_flat else (simple, float(np.sqrt(error)))


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Squared distances of points from a segment."""
    (dx, dy), x, y = end - start, points[:, 0] - start[0], points[:, 1] - start[1]
    length = dx * dx + dy * dy
    along = np.clip((x * dx + y * dy) / length, 0, 1) if length > 0 else np.zeros(len(points))
    x, y = x - along * dx, y - along * dy
    return x * x + y * y


def simplify_together(rings: list[np.ndarray], tolerance: float) -> tuple[list[np.ndarray], float]:
    """Traced rings of one mask, smoothed and simplified; those that would cross themselves or others by less."""
    if tolerance == 0:
        return rings, 0.0
    tolerances = [tolerance] * len(rings)
    found = [simplify_traced(ring, tolerance) for ring in rings]
    while conflicts := crossing_rings([ring for ring, _ in found]):
        if all(tolerances[index] == 0 for index in conflicts):
            break
        for index in conflicts:
            tolerances[index] = tolerances[index] / 2 if tolerances[index] > 0.5 else 0.0
            found[index] = simplify_traced(rings[index], tolerances[index])
    return [ring for ring, _ in found], max((error for _, error in found), default=0.0)


def crossing_rings(rings: Sequence[np.ndarray]) -> set[int]:
    """Indices of rings with an edge that crosses or touches another, but for points that edges share as their ends."""
    if not rings:
        return set()
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    a = np.concatenate(rings).astype(np.float64)
    b = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]).astype(np.float64)
    axis = int(np.ptp(a, axis=0).argmax())
    order = np.argsort(np.minimum(a, b)[:, axis], kind="stable")
    a, b, owner = a[order], b[order], owner[order]
    reach = np.searchsorted(np.minimum(a, b)[:, axis], np.maximum(a, b)[:, axis], side="right")
    found: set[int] = set()
    for chunk in np.array_split(np.arange(len(a)), 1 + int((reach - np.arange(len(a))).sum()) // MOST_PAIRS):
        one = np.repeat(chunk, count := reach[chunk] - chunk - 1)
        other = np.arange(len(one)) - np.repeat(count.cumsum() - count, count) + one + 1
        hits = _meet(a[one], b[one], a[other], b[other])
        found |= {*owner[one[hits]].tolist(), *owner[other[hits]].tolist()}
    return found


def _meet(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Whether segment ab meets each segment cd elsewhere than in an end of both."""
    sides = _side(a, b, c), _side(a, b, d), _side(c, d, a), _side(c, d, b)
    crossing = (sides[0] * sides[1] < 0) & (sides[2] * sides[3] < 0)
    for side, point, start, end in zip(sides, (c, d, a, b), (a, a, c, c), (b, b, d, d), strict=True):
        crossing |= (side == 0) & (((point - start) * (point - end)).sum(-1) < 0)
    return crossing | (((c == b) & (d == a)).all(-1)) | (((c == a) & (d == b)).all(-1))


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    return np.sign((end - start)[..., 0] * (point - start)[..., 1] - (end - start)[..., 1] * (point - start)[..., 0])


def outline(mask: np.ndarray, tolerance: float | None = None, frame: Frame = "edges") -> Outline:
    """The polygons of a boolean H,W mask.

    tolerance: how far in pixels edges may move, 0 for the exact ones; by default the largest of `TOLERANCES` that
    leaves an IoU of `LEAST_IOU`. `ValueError` for one that is negative or no number.
    """
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise ValueError(f"the tolerance is {tolerance} pixels; give 0 or more, or none to have it chosen")
    polygons = group(trace(mask))
    for allowed in TOLERANCES if tolerance is None else (tolerance,):
        found = _on_edges(polygons, allowed) if frame == "edges" else _in_pixels(polygons, allowed)
        if tolerance is not None or allowed == 0 or mask_iou(_PAINTED[frame](found, mask.shape), mask) >= LEAST_IOU:
            break
    return found


def _on_edges(polygons: list[list[np.ndarray]], tolerance: float) -> Outline:
    rings, error = simplify_together([ring for polygon in polygons for ring in polygon], tolerance)
    rest = iter(rings)
    return Outline([[next(rest) for _ in polygon] for polygon in polygons], error)


def _in_pixels(polygons: list[list[np.ndarray]], tolerance: float) -> Outline:
    found = [[simplify(through_pixels(ring), tolerance) for ring in polygon] for polygon in polygons]
    errors = [error for polygon in found for _, error in polygon]
    return Outline([[ring for ring, _ in polygon] for polygon in found], max(errors, default=0.0))


def paint(found: Outline, shape: tuple[int, int]) -> np.ndarray:
    """The mask of (height, width) that an outline on the pixels' edges covers, boolean."""
    return fill([ring for polygon in found.polygons for ring in polygon], *shape[::-1]) > 0


def _paint_pixels(found: Outline, shape: tuple[int, int]) -> np.ndarray:
    drawn = [draw(keyhole(polygon), *shape[::-1]) for polygon in found.polygons]
    return np.any(drawn, axis=0) if drawn else np.zeros(shape, dtype=bool)


_PAINTED: dict[Frame, Callable[[Outline, tuple[int, int]], np.ndarray]] = {"edges": paint, "pixels": _paint_pixels}


def keyhole(rings: Sequence[np.ndarray]) -> np.ndarray:
    """One ring of several, for formats without holes or parts: each is joined to those before it by a bridge that is
    passed both ways, between their nearest points. Filling by the even-odd rule, bridges cover nothing."""
    joined = rings[0]
    for ring in rings[1:]:
        here, there = _nearest(joined, ring)
        joined = np.concatenate([joined[: here + 1], ring[there:], ring[: there + 1], joined[here:]])
    return joined


def _nearest(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Where two rings are nearest to each other: an index in each, of equals the first in `one`, then in `other`.

    Neighbours on a ring lie together, so runs of them are passed over where the box around them is too far away.
    """
    runs = np.arange(0, len(one), RUN)
    low, high = np.minimum.reduceat(one, runs), np.maximum.reduceat(one, runs)
    to_first = ((one - other[0]) ** 2).sum(-1)
    best = (to_first.min(), int(to_first.argmin()), 0)
    for there in range(0, len(other), RUN):
        part = other[there : there + RUN]
        gaps = (np.maximum(0, np.maximum(low - part.max(0), part.min(0) - high)) ** 2).sum(-1)
        for run in np.flatnonzero(gaps <= best[0]):
            if gaps[run] <= best[0]:
                apart = ((one[runs[run] : runs[run] + RUN, None] - part) ** 2).sum(-1)
                i, j = divmod(int(apart.argmin()), len(part))
                best = min(best, (apart[i, j], int(runs[run]) + i, there + j))
    return best[1:]


def fill_holes(mask: np.ndarray, largest: float = float("inf")) -> np.ndarray:
    """The mask without its holes of up to `largest` pixels; what lies in them counts. H,W boolean."""
    rings = [ring for ring in trace(mask) if not 0 < -ring_area(ring) <= largest]
    return fill(rings, *mask.shape[::-1]) > 0


def remove_islands(mask: np.ndarray, largest: float) -> np.ndarray:
    """The mask without its parts of up to `largest` pixels, their holes counted in. H,W boolean."""
    rings = [ring for ring in trace(mask) if not 0 < ring_area(ring) <= largest]
    return fill(rings, *mask.shape[::-1]) > 0
