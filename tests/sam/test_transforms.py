"""Geometry: what goes through a frame comes back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sam.transforms import (
    BICUBIC,
    ImageFrame,
    image_to_tensor,
    masks_to_original,
    pad_tensor,
    resize_image,
    resize_pictures,
)

sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)
padded_sides = st.sampled_from([64, 256, 512, 1024])
frames = st.one_of(
    st.builds(ImageFrame.fit, sizes, padded_sides),
    st.builds(ImageFrame.fit, sizes, st.tuples(padded_sides, padded_sides)),
    st.builds(ImageFrame.stretch, sizes, padded_sides),
)
unit = st.floats(0, 1)


@given(frame=frames, x=unit, y=unit)
def test_point_survives_the_way_to_the_model_and_back(frame, x, y):
    point = np.array([x * frame.original_hw[1], y * frame.original_hw[0]])
    inside = frame.points_to_model(point)
    assert (inside >= 0).all() and inside[0] <= frame.resized_hw[1] + 1e-6 and inside[1] <= frame.resized_hw[0] + 1e-6
    np.testing.assert_allclose(frame.points_to_original(inside), point, rtol=1e-9, atol=1e-9)


@given(frame=frames, corners=st.tuples(unit, unit, unit, unit))
def test_box_survives_resize_round_trip(frame, corners):
    box = np.array(corners) * (frame.original_hw[::-1] * 2)
    moved = frame.boxes_to_model(box)
    np.testing.assert_allclose(moved.reshape(2, 2), frame.points_to_model(box.reshape(2, 2)))
    np.testing.assert_allclose(frame.boxes_to_original(moved), box, rtol=1e-9, atol=1e-9)


@given(size=sizes, padded=padded_sides)
def test_fitted_picture_fills_the_frames_long_side(size, padded):
    frame = ImageFrame.fit(size, padded)
    assert max(frame.resized_hw) == padded and min(frame.resized_hw) >= 1
    assert frame.padded_hw == (padded, padded)
    longer = 0 if size[0] >= size[1] else 1
    assert frame.resized_hw[longer] == padded


@given(size=sizes)
def test_resized_size_follows_metas_rounding(size):
    scale = 1024 / max(size)
    expected = tuple(max(1, int(side * scale + 0.5)) for side in size)
    assert ImageFrame.fit(size, 1024).resized_hw == expected


def test_each_axis_has_its_own_scale():
    frame = ImageFrame.fit((133, 200), 256)  # 170.24 rows are rounded to 170
    assert frame.scale_xy == (256 / 200, 170 / 133)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_empty_picture_has_no_frame(size):
    with pytest.raises(ValueError, match="at least 1 x 1"):
        ImageFrame.fit(size, 64)


def test_frame_too_small_for_its_picture_is_refused():
    with pytest.raises(ValueError, match=r"\(80, 64\).*\(64, 64\)"):
        ImageFrame((40, 32), (80, 64), (64, 64))


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (30, 300), (64, 64)])
def test_mask_of_a_half_plane_lies_where_the_picture_says(size):
    """Logits that split the padded frame at a model coordinate split the picture at the original coordinate."""
    frame = ImageFrame.fit(size, 64)
    x_model = frame.points_to_model(np.array([size[1] / 2, 0.0]))[0]
    columns = (torch.arange(16) + 0.5) * 4
    logits = (columns - x_model).expand(1, 1, 16, 16)
    mask = masks_to_original(logits, frame)[0, 0] > 0
    assert mask.shape == size
    edge = mask.float().sum(1).mean()  # columns right of the edge
    assert abs(float(edge) - size[1] / 2) <= max(1.0, size[1] / frame.resized_hw[1])


def test_padding_is_right_and_below():
    padded = pad_tensor(torch.ones(1, 3, 2, 3), (4, 5))
    assert padded.shape == (1, 3, 4, 5) and padded[..., :2, :3].min() == 1 and padded.sum() == 3 * 6


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_whole_number_pictures_are_resized_as_pillow_does(photo, kind):
    frame = ImageFrame.fit(photo.shape[:2], 128)
    tensor = image_to_tensor(photo).to(kind).repeat(2, 1, 1, 1)
    for resample in (Image.Resampling.BILINEAR, BICUBIC):
        expected = image_to_tensor(resize_image(photo, frame, resample=resample))
        resized = resize_pictures(tensor, frame, resample=resample)
        assert resized.dtype == torch.float32 and torch.equal(resized, expected.repeat(2, 1, 1, 1))


def test_other_pictures_are_interpolated_with_their_gradient(photo):
    frame = ImageFrame.fit(photo.shape[:2], 128)
    tensor = image_to_tensor(photo).requires_grad_()
    resized = resize_pictures(tensor, frame)
    resized.sum().backward()
    assert tensor.grad.abs().sum() > 0
    assert (resized - image_to_tensor(resize_image(photo, frame))).abs().max() < 2
    assert resize_pictures(image_to_tensor(photo) / 255, frame).max() <= 1


def test_array_becomes_a_tensor_of_its_own(photo):
    view = photo[::-1, :, ::-1]
    view.setflags(write=False)
    tensor = image_to_tensor(view)
    assert tensor.shape == (1, 3, 60, 90) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor[0].permute(1, 2, 0).numpy(), view)
