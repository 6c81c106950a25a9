"""On an accelerator that has no float64, as Apple's: what is encoded, asked and found is what the processor finds.

Such a device is pretended: its tensors lie in the processor's memory, say that they are elsewhere, and refuse what the
device would refuse: float64, company from the processor, and becoming arrays.
"""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from sam import SAM, SamAutomaticMaskGenerator, SamPredictor
from sam.predictor import encode_all

EVERYTHING = {"points_per_side": 4, "points_per_batch": 5, "pred_iou_thresh": -9.0, "stability_score_thresh": 0.0}
TOLERANCE, PIXELS = 1e-4, 4
"""The encoder sums in another order where it is not on the processor."""
ELSEWHERE = torch.device("mps")
READS_WHERE = torch.Tensor.device.__get__
MOVES = {torch.Tensor.to, torch.Tensor.cpu}
MIXES = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}
"""Indexes may lie with the processor."""


class Elsewhere(torch.Tensor):
    """A tensor on the pretended device."""


class Accelerator(TorchFunctionMode):
    """While it is entered, `ELSEWHERE` is there."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func == READS_WHERE:
            return ELSEWHERE if isinstance(args[0], Elsewhere) else func(*args)
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and isinstance(args[0], Elsewhere):
            raise TypeError("can't convert a tensor of the device to an array; copy it to the processor first")
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        here = any(isinstance(value, Elsewhere) for value in given)
        if func in MOVES:
            places = [value for value in (*args[1:], kwargs.get("device")) if isinstance(value, str | torch.device)]
            here = torch.device(places[0]) == ELSEWHERE if places else here and func is not torch.Tensor.cpu
            args = tuple(torch.device("cpu") if value in places else value for value in args)
        elif kwargs.get("device") is not None:
            here = torch.device(kwargs["device"]) == ELSEWHERE
        elif here and func not in MIXES and any(not isinstance(value, Elsewhere) and value.ndim for value in given):
            raise RuntimeError(f"{func.__name__} mixes tensors of the device and of the processor")
        kwargs |= {"device": torch.device("cpu")} if kwargs.get("device") is not None else {}
        result = func(*args, **kwargs)
        return tree_map_only(torch.Tensor, _arrive if here else _leave, result)


def _arrive(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype in (torch.float64, torch.complex128):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
    return tensor if isinstance(tensor, Elsewhere) else tensor.as_subclass(Elsewhere)


def _leave(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(torch.Tensor) if isinstance(tensor, Elsewhere) else tensor


@pytest.fixture()
def moved(small_model, monkeypatch) -> Iterator[SAM]:
    """The small model, on the pretended device, which has a gibibyte to itself."""
    monkeypatch.setattr("sam.automatic.decoder.free_bytes", lambda _device: 2**30)
    model = copy.deepcopy(small_model)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            module.register_parameter(name, torch.nn.Parameter(_arrive(weight.data), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, _arrive(buffer))
    with Accelerator():
        assert model.device == ELSEWHERE
        yield model


def test_the_pretended_device_refuses_what_a_device_would():
    with Accelerator(), pytest.raises(TypeError, match="float64"):
        torch.zeros(4, dtype=torch.float64).to(ELSEWHERE)
    with Accelerator(), pytest.raises(TypeError, match="float64"):
        torch.zeros(4, device=ELSEWHERE).view(torch.float64)
    with Accelerator(), pytest.raises(RuntimeError, match="mixes"):
        torch.zeros(4, device=ELSEWHERE) + torch.zeros(4)
    with Accelerator(), pytest.raises(TypeError, match="array"):
        torch.zeros(4, device=ELSEWHERE).numpy()


@pytest.mark.parametrize("extra", [{}, {"crop_n_layers": 1}], ids=["plain", "crops"])
def test_everything_is_found_there_as_here(small_model, moved, photo, extra):
    found = SamAutomaticMaskGenerator(moved, **EVERYTHING, **extra).generate(photo)
    expected = SamAutomaticMaskGenerator(small_model, **EVERYTHING, **extra).generate(photo)
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["point_coords"] == theirs["point_coords"]
        assert ours["predicted_iou"] == pytest.approx(theirs["predicted_iou"], abs=TOLERANCE)
        assert np.count_nonzero(ours["segmentation"] != theirs["segmentation"]) <= PIXELS


def test_prompts_are_answered_there_as_here(small_model, moved, photo):
    there, here = SamPredictor(moved), SamPredictor(small_model)
    for predictor in (there, here):
        predictor.set_image(photo)
    points, labels = np.array([[20.5, 30.5], [50, 60]]), np.array([1, 0])
    low = here.predict(points, labels)[2][:1]
    for prompt in ((points, labels), (None, None, np.array([5.0, 6, 70, 80])), (points, labels, None, low)):
        (masks, *numbers), (other_masks, *other_numbers) = there.predict(*prompt), here.predict(*prompt)
        assert np.count_nonzero(masks != other_masks) <= PIXELS
        for ours, theirs in zip(numbers, other_numbers, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


def test_pictures_are_encoded_there_as_here(small_model, moved, photo):
    pictures = [photo, photo[:40]]
    for ours, theirs in zip(encode_all(moved, pictures), encode_all(small_model, pictures), strict=True):
        np.testing.assert_allclose(ours.features.cpu().numpy(), theirs.features.numpy(), rtol=0, atol=TOLERANCE)
