"""Smooth outlines: cubic Bézier curves through a traced ring, as few as a stated error in pixels allows.

Least squares between given tangents, improved by Newton steps, split where it is worst: Schneider, "An Algorithm for
Automatically Fitting Digitized Curves", Graphics Gems, 1990. A curve is a (4, 2) array: start, two handles, end.
"""

from __future__ import annotations

import numpy as np

from .polygons import simplify, smooth

CORNER = np.cos(np.radians(50))
"""A turn sharper than this is a corner; anywhere else curves join smoothly."""
IMPROVEMENTS = 4
FAR = 9
"""Times the allowed squared error: what is worse is split at once rather than improved."""
REACH = 3
"""Points to each side that a tangent is taken from."""


def fit_ring(ring: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    """A traced ring as closed curves, (N, 4, 2) float64, and the distance of its furthest point from them.

    The distance is at most `tolerance`, which must be above 0, in pixels.
    """
    points = _dense(smooth(ring))
    breaks = _corners(points) or [0]
    curves, errors = [], []
    for start, end in zip(breaks, [*breaks[1:], breaks[0] + len(points)], strict=True):
        stretch = np.take(points, range(start, end + 1), axis=0, mode="wrap")
        tangents = None if len(breaks) > 1 else _tangent(points, start)
        for curve, error in _fit(stretch, tangents, tolerance * tolerance):
            curves.append(curve)
            errors.append(error)
    return np.array(curves), float(np.sqrt(max(errors)))


def flatten_curves(curves: np.ndarray, steps: int = 12) -> np.ndarray:
    """Closed curves as a ring of `steps` points each."""
    t = np.arange(steps) / steps
    return _at(curves[:, None], t[None, :, None]).reshape(-1, 2)


def _at(curve: np.ndarray, t: np.ndarray) -> np.ndarray:
    s = 1 - t
    a, b, c, d = (curve[..., index, :] for index in range(4))
    return s * s * s * a + 3 * s * s * t * b + 3 * s * t * t * c + t * t * t * d


def _dense(ring: np.ndarray) -> np.ndarray:
    """Points no more than one pixel apart."""
    step = np.roll(ring, -1, axis=0) - ring
    pieces = np.maximum(np.ceil(np.sqrt((step * step).sum(1)) - 1e-9), 1).astype(int)
    index = np.repeat(np.arange(len(ring)), pieces)
    part = (np.arange(len(index)) - np.repeat(pieces.cumsum() - pieces, pieces)) / pieces[index]
    return ring[index] + step[index] * part[:, None]


def _corners(points: np.ndarray) -> list[int]:
    """Indices of points where the ring turns sharply, in order."""
    simple, _ = simplify(points, 0.75)
    place = {tuple(point): index for index, point in enumerate(points.tolist())}
    before, after = simple - np.roll(simple, 1, axis=0), np.roll(simple, -1, axis=0) - simple
    lengths = np.sqrt((before * before).sum(1) * (after * after).sum(1))
    sharp = (before * after).sum(1) < CORNER * lengths
    return sorted(place[tuple(point)] for point in simple[sharp].tolist())


def _tangent(points: np.ndarray, index: int) -> np.ndarray:
    """Direction of travel at a point of a closed ring."""
    return _unit(points[(index + REACH) % len(points)] - points[index - REACH])


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.sqrt((vector * vector).sum())
    return vector / length if length > 0 else vector


def _fit(points: np.ndarray, through: np.ndarray | None, most: float) -> list[tuple[np.ndarray, float]]:
    """Curves along points, in order, with their squared errors; `through` is the direction at both ends, if known."""
    last = len(points) - 1
    start = through if through is not None else _unit(points[min(REACH, last)] - points[0])
    end = -through if through is not None else _unit(points[max(last - REACH, 0)] - points[last])
    found, stack = [], [(0, last, start, end)]
    while stack:
        first, last, start, end = stack.pop()
        curve, error, worst = _fit_one(points[first : last + 1], start, end, most)
        if error <= most:
            found.append((curve, error))
            continue
        middle = first + worst
        along = _unit(points[min(middle + REACH, last)] - points[max(middle - REACH, first)])
        stack += [(middle, last, along, end), (first, middle, start, -along)]
    return found


def _fit_one(points: np.ndarray, start: np.ndarray, end: np.ndarray, most: float) -> tuple[np.ndarray, float, int]:
    """The best curve found along points, its squared error, and the index of the point where that is (never an end)."""
    first, last = points[0], points[-1]
    straight = np.array([first, first + (last - first) / 3, last - (last - first) / 3, last])
    if len(points) <= 2:
        return straight, 0.0, 0
    steps = points[1:] - points[:-1]
    t = np.concatenate([[0], np.sqrt((steps * steps).sum(1)).cumsum()])
    t = t / t[-1]
    curve, error, worst = straight, *_error(points, straight, t)
    for _ in range(1 + IMPROVEMENTS):
        if error <= most:
            break
        candidate = _least_squares(points, t, start, end)
        found = _error(points, candidate, t)
        if found[0] < error:
            curve, (error, worst) = candidate, found
        if found[0] > FAR * most:
            break
        t = _improve(points, candidate, t)
    return curve, error, worst


def _error(points: np.ndarray, curve: np.ndarray, t: np.ndarray) -> tuple[float, int]:
    distances = ((_at(curve, t[:, None]) - points) ** 2).sum(1)[1:-1]
    worst = int(distances.argmax())
    return float(distances[worst]), 1 + worst


def _least_squares(points: np.ndarray, t: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The curve with these directions at its ends that lies nearest to points at parameters t."""
    first, last, s = points[0], points[-1], 1 - t
    ahead, back = (3 * s * s * t)[:, None] * start, (3 * s * t * t)[:, None] * end
    rest = points - ((s * s * s + 3 * s * s * t)[:, None] * first + (3 * s * t * t + t * t * t)[:, None] * last)
    aa, ab, bb = (ahead * ahead).sum(), (ahead * back).sum(), (back * back).sum()
    ra, rb = (rest * ahead).sum(), (rest * back).sum()
    determinant = aa * bb - ab * ab
    chord = np.sqrt(((last - first) ** 2).sum())
    reach = np.array([ra * bb - rb * ab, rb * aa - ra * ab]) / max(determinant, 1e-12)
    if (reach < 1e-3 * chord).any() or (reach > 3 * len(points)).any():
        reach = np.full(2, chord / 3)  # handles that point backwards or fly off make loops
    return np.array([first, first + reach[0] * start, last + reach[1] * end, last])


def _improve(points: np.ndarray, curve: np.ndarray, t: np.ndarray) -> np.ndarray:
    """One Newton step of every parameter towards its point's foot on the curve."""
    once, s = 3 * (curve[1:] - curve[:-1]), (1 - t)[:, None]
    twice, u = 2 * (once[1:] - once[:-1]), t[:, None]
    away = _at(curve, u) - points
    speed = s * s * once[0] + 2 * s * u * once[1] + u * u * once[2]
    bend = s * twice[0] + u * twice[1]
    slope = (speed * speed).sum(1) + (away * bend).sum(1)
    moved = t - np.where(slope > 1e-12, (away * speed).sum(1) / np.where(slope > 1e-12, slope, 1), 0)
    moved = np.clip(moved, 0, 1)
    moved[[0, -1]] = 0, 1
    return moved
