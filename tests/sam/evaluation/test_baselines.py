"""Answers without a model are what they say."""

from itertools import pairwise

import numpy as np
import pytest

from sam.evaluation.baselines import (
    WAND_TOLERANCES,
    disc,
    grab_cut,
    inscribed_ellipse,
    lab_image,
    magic_wand,
    rectangle,
)
from sam.evaluation.metrics import iou
from sam.evaluation.protocol import bounding_box


@pytest.fixture
def leaf():
    """A noisy green ellipse on noisy brown, H,W,3, and its mask."""
    y, x = np.mgrid[:120, :160]
    mask = ((x - 80) / 40) ** 2 + ((y - 60) / 30) ** 2 <= 1
    noise = np.random.default_rng(0).normal(0, 6, (120, 160, 3))
    image = np.where(mask[..., None], (40, 160, 60), (120, 80, 50)) + noise
    return image.clip(0, 255).astype(np.uint8), mask


def test_ellipse_and_rectangle_fill_the_box():
    box = np.array([20.0, 10, 50, 30])
    ellipse, whole = inscribed_ellipse(box, (40, 60)), rectangle(box, (40, 60))
    assert bounding_box(ellipse).tolist() == bounding_box(whole).tolist() == box.tolist()
    assert ellipse.sum() == pytest.approx(np.pi * 15 * 10, rel=0.02) and whole.sum() == 600


def test_a_disc_is_as_large_as_its_share_of_the_long_side():
    assert disc(np.array([30, 20]), 0.1, (40, 60)).sum() == pytest.approx(np.pi * 36, rel=0.05)


def test_a_wand_takes_more_the_more_it_tolerates(leaf):
    masks = list(magic_wand(lab_image(leaf[0]), np.array([80.0, 60])))
    assert len(masks) == len(WAND_TOLERANCES)
    assert all(mask[60, 80] for mask in masks)
    assert all((less <= more).all() for less, more in pairwise(masks))


def test_a_wand_finds_an_even_thing_and_stays_connected(leaf):
    image, mask = leaf
    image[5:15, 5:15] = image[60, 80]  # the same colour elsewhere
    best = max(magic_wand(lab_image(image), np.array([80.0, 60])), key=lambda answer: (answer & mask).sum())
    assert iou(best, mask, np.ones_like(mask)) > 0.9 and not best[10, 10]


def test_grab_cut_finds_the_thing_in_the_box_and_the_same_one_again(leaf):
    image, mask = leaf
    box = bounding_box(mask)
    answer = grab_cut(image, box)
    assert iou(answer, mask, np.ones_like(mask)) > 0.95
    assert np.array_equal(answer, grab_cut(image, box))


def test_grab_cut_of_a_large_picture_answers_at_its_size(leaf):
    image, mask = (array.repeat(6, 0).repeat(6, 1) for array in leaf)
    answer = grab_cut(image, bounding_box(mask))
    assert answer.shape == mask.shape and iou(answer, mask, np.ones_like(mask)) > 0.95


def test_grab_cut_without_background_answers_with_the_box(leaf):
    assert grab_cut(leaf[0], np.array([0.0, 0, 160, 120])).all()
