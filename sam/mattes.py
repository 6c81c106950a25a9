"""Soft edges: how much of each pixel near a mask's edge is object, told by the picture's colours there.

Where a pixel mixes object and background, its colour lies between theirs; where it lies is its alpha. Both colours are
local means of what is surely object and surely background (the linear model behind Ruzon and Tomasi 2000 and Chuang et
al. 2001, solved in closed form for one mean each). Where the two are hard to tell apart, in texture or without
contrast, the mask's own edge stays: a matte is better than the mask or equal to it, never a guess.
"""

from __future__ import annotations

import numpy as np

LEAST_CONTRAST = 12.0
"""Distance of two colours, of 441, at which they are half trusted."""
SPREAD = 25.0
"""How much the spread of colours takes from that trust."""
CERTAIN = 2.0
"""Logits beyond this are no matter of doubt."""
SNAP = 0.06
"""Alphas this near to 0 or 1 become that: noise is not transparency."""


def matte(image: np.ndarray, mask: np.ndarray, radius: int = 6, logits: np.ndarray | None = None) -> np.ndarray:
    """Alpha of an object, (H, W) float32 from 0 to 1.

    image: (H, W, 3) uint8. mask: (H, W) boolean. radius: pixels to each side of its edge that may become soft, 1 to
    64. logits: (H, W) of the mask, if known: where they doubt, up to twice as far. `ValueError` for sizes that differ.
    """
    if image.shape != (*mask.shape, 3):
        raise ValueError(f"the picture is {image.shape}, the mask {mask.shape}; they must have one size")
    if not 1 <= radius <= 64:
        raise ValueError(f"the radius is {radius} pixels; give 1 to 64")
    sure, sure_not = ~_grown(~mask, radius), ~_grown(mask, radius)
    if logits is not None:
        sure &= (logits > CERTAIN) | ~_grown(~mask, 2 * radius)
        sure_not &= (logits < -CERTAIN) | ~_grown(mask, 2 * radius)
    alpha = _between(image.astype(np.float64), mask, sure, sure_not, 3 * radius if logits is None else 6 * radius)
    return np.where(sure, 1, np.where(sure_not, 0, alpha)).astype(np.float32)


def _between(image: np.ndarray, mask: np.ndarray, sure: np.ndarray, sure_not: np.ndarray, reach: int) -> np.ndarray:
    """Where each colour lies between the background's and the object's around it, as far as that can be trusted."""
    (inner, inner_spread, has_inner), (outer, outer_spread, has_outer) = (
        _local_colour(image, known, reach) for known in (sure, sure_not)
    )
    line = inner - outer
    length = (line * line).sum(-1)
    along = ((image - outer) * line).sum(-1) / np.maximum(length, 1e-6)
    off = image - outer - np.clip(along, 0, 1)[..., None] * line  # a third colour is no mixture
    doubt = LEAST_CONTRAST**2 + SPREAD * (inner_spread + outer_spread) + 4 * (off * off).sum(-1)
    trust = np.where(has_inner & has_outer, length / (length + doubt), 0)
    trust = np.clip(2 * trust - 0.5, 0, 1)
    stretched = np.clip((along - SNAP) / (1 - 2 * SNAP), 0, 1)
    return trust * stretched + (1 - trust) * mask


def _local_colour(image: np.ndarray, known: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean colour of the known pixels around each one, their variance around it, and whether there are any."""
    count = _box_sum(known.astype(np.float64), reach)
    share = 1 / np.maximum(count, 1)
    mean = np.stack([_box_sum(image[..., channel] * known, reach) * share for channel in range(3)], axis=-1)
    squares = _box_sum((image * image).sum(-1) * known, reach) * share
    return mean, np.maximum(squares - (mean * mean).sum(-1), 0), count > 0


def _box_sum(values: np.ndarray, reach: int) -> np.ndarray:
    """Sum of a square of 2 * reach + 1 pixels around each one; nothing lies outside."""
    for axis in (0, 1):
        sums = np.cumsum(values, axis=axis)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis=axis)), sums], axis=axis)
        at = np.arange(values.shape[axis])
        last, first = np.minimum(at + reach + 1, values.shape[axis]), np.maximum(at - reach, 0)
        values = sums.take(last, axis=axis) - sums.take(first, axis=axis)
    return values


def _grown(mask: np.ndarray, radius: int) -> np.ndarray:
    """The mask and what lies within `radius` pixels of it, in a square."""
    return _box_sum(mask.astype(np.float64), radius) > 0.5
