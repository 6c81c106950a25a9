"""Mattes on pictures whose alpha is known: softer where the picture is, and never worse than the mask at its rim."""

import numpy as np
import pytest

from sam.mattes import matte

HW = (120, 160)
ROWS, COLUMNS = np.mgrid[: HW[0], : HW[1]] + 0.5
DISTANCE = np.hypot(ROWS - 60, COLUMNS - 80)


def hair():
    """A head with strands of one pixel and less, pointing outwards."""
    angle = np.arctan2(ROWS - 60, COLUMNS - 80)
    strands = np.clip(1.2 - np.abs(np.sin(30 * angle)) * DISTANCE / 30, 0, 1) * (DISTANCE < 43)
    return np.maximum(np.clip(36.5 - DISTANCE, 0, 1), 0.8 * strands)


ALPHAS = {
    "crisp": (DISTANCE < 36).astype(float),
    "antialiased": np.clip(36.5 - DISTANCE, 0, 1),
    "blurred": np.clip((40 - DISTANCE) / 8, 0, 1),
    "hair": hair(),
}
CONTRASTS = {
    "strong": ((200, 150, 90), (30, 60, 120)),
    "weak": ((120, 110, 100), (100, 105, 110)),
    "none": ((90, 90, 90), (90, 90, 90)),
}


def picture(alpha, colours, noise, texture=0.0, seed=0):
    """An object of one colour over a background of another, mixed by alpha; both may be textured."""
    random = np.random.default_rng(seed)
    inner, outer = (np.broadcast_to(np.float64(colour), (*HW, 3)) for colour in colours)
    stripes = texture * np.sign(np.sin(COLUMNS / 3 + ROWS / 5))[..., None]
    mixed = alpha[..., None] * (inner + stripes) + (1 - alpha[..., None]) * (outer - np.roll(stripes, 7, axis=1))
    return np.clip(mixed + random.normal(0, noise, mixed.shape), 0, 255).astype(np.uint8)


def rim_error(found, alpha):
    """Mean difference within ten pixels of the edge."""
    rim = np.abs(DISTANCE - 38) < 10
    return float(np.abs(found - alpha)[rim].mean())


@pytest.mark.parametrize("texture", [0, 25])
@pytest.mark.parametrize("noise", [1, 6])
@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("kind", ALPHAS)
def test_a_matte_is_never_worse_than_its_mask_at_the_rim(kind, contrast, noise, texture):
    alpha = ALPHAS[kind]
    mask = alpha >= 0.5
    found = matte(picture(alpha, CONTRASTS[contrast], noise, texture), mask)
    assert found.shape == HW and found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    assert rim_error(found, alpha) <= rim_error(mask, alpha) + 0.002


@pytest.mark.parametrize(("kind", "part"), [("antialiased", 0.4), ("blurred", 0.3), ("hair", 0.5)])
def test_a_soft_edge_with_contrast_is_found(kind, part):
    alpha = ALPHAS[kind]
    found = matte(picture(alpha, CONTRASTS["strong"], noise=2), alpha >= 0.5)
    assert rim_error(found, alpha) < part * rim_error(alpha >= 0.5, alpha)


def test_doubtful_logits_widen_the_rim():
    alpha = np.clip((50 - DISTANCE) / 24, 0, 1)
    image, logits = picture(alpha, CONTRASTS["strong"], noise=1), 4 * (alpha - 0.5)
    narrow, wide = matte(image, alpha >= 0.5), matte(image, alpha >= 0.5, logits=logits)
    assert rim_error(wide, alpha) < rim_error(narrow, alpha)


def test_far_from_the_edge_nothing_changes():
    alpha = ALPHAS["blurred"]
    found = matte(picture(alpha, CONTRASTS["strong"], noise=2), alpha >= 0.5, radius=6)
    assert (found[DISTANCE < 24] == 1).all() and (found[DISTANCE > 48] == 0).all()


@pytest.mark.parametrize("value", [False, True])
def test_a_mask_without_an_edge_stays(value):
    image = picture(ALPHAS["crisp"], CONTRASTS["strong"], noise=2)
    assert (matte(image, np.full(HW, value)) == value).all()


def test_sizes_that_differ_and_radii_without_sense_are_refused():
    with pytest.raises(ValueError, match=r"\(120, 160, 3\), the mask \(5, 5\)"):
        matte(picture(ALPHAS["crisp"], CONTRASTS["strong"], 0), np.ones((5, 5), bool))
    with pytest.raises(ValueError, match="radius is 0"):
        matte(picture(ALPHAS["crisp"], CONTRASTS["strong"], 0), np.ones(HW, bool), radius=0)
