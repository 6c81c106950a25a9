"""Contracts: what each client of a decoder graph expects, as a module that arranges the model's parts and a row.

A contract names the inputs and outputs in their order, the module that computes them, and a version for what they mean.

Who feeds a graph must know the selection rule of single-mask graphs, which is Meta's and counts the padding point:
with at most 2 points (one click + padding, or a box alone) the best of the ambiguous masks by predicted IoU, from 3
points on the single-mask token (box + padding, two clicks + padding).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .config import SAMConfig
from .hover import PREPARED, Point, Prepare, PrepareWithMask
from .mask_decoder import MaskDecoder
from .model import SAM
from .prompt_encoder import PromptEncoder
from .transforms import ImageFrame, masks_to_original


def decoder_parts(model: SAM) -> tuple[PromptEncoder, MaskDecoder]:
    """Copies of the parts that decode, in float32 on the CPU."""
    return copy.deepcopy(model.prompt_encoder).float().cpu(), copy.deepcopy(model.mask_decoder).float().cpu()


class HoverDecoder(nn.Module):
    """Points to all tokens' low-resolution logits (1, 1+M, 4h, 4w) and IoU estimates (1, 1+M); the client chooses."""

    def __init__(self, model: SAM) -> None:
        super().__init__()
        self.prompt_encoder, self.mask_decoder = decoder_parts(model)

    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, ...]:
        return self.decode(image_embeddings, point_coords, point_labels, self.prompt_encoder.embed_no_mask(1))

    def decode(self, image_embeddings: Tensor, coords: Tensor, labels: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates are pixels of the resized picture, (1, N, 2); labels (1, N) include box corners and padding."""
        sparse = self.prompt_encoder.embed_points(coords, labels)
        return self.mask_decoder.predict_masks(image_embeddings, self.prompt_encoder.get_dense_pe(), sparse, dense)

    def margin(self, *inputs: Tensor) -> float:
        """How far the graph is from choosing another mask for these inputs; infinitely where it chooses none."""
        return math.inf


class MaskedHoverDecoder(HoverDecoder):
    """The same for a prompt with a mask, low-resolution logits (1, 1, 4h, 4w)."""

    def forward(self, image_embeddings: Tensor, *points_and_mask: Tensor) -> tuple[Tensor, ...]:
        *points, mask_input = points_and_mask
        return self.decode(image_embeddings, *points, self.prompt_encoder.mask_downscaling(mask_input))


class OfficialMultiDecoder(HoverDecoder):
    """Meta's graph with every token's mask: masks at `orig_im_size` (H, W), IoU estimates, low-resolution logits."""

    def __init__(self, model: SAM) -> None:
        super().__init__(model)
        self.stretched = model.config.preprocessing == "medsam"
        self.padded_hw = model.config.image_encoder.input_hw
        self.register_buffer("frame_hw", torch.tensor(self.padded_hw, dtype=torch.float32))

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, ...]:
        dense = self.embed_mask(mask_input, has_mask_input)
        low_res, iou = self.decode(image_embeddings, point_coords, point_labels, dense)
        low_res, iou = self.select(low_res, iou, point_coords.shape[1])
        return masks_to_original(low_res, self.frame(orig_im_size)), iou, low_res

    def embed_mask(self, mask_input: Tensor, has_mask_input: Tensor) -> Tensor:
        """Blend by arithmetic, not by a branch: labelme sends has_mask_input = -1 and counts on 2 * no_mask - mask."""
        has = has_mask_input.reshape(1, 1, 1, 1)
        no_mask = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return has * self.prompt_encoder.mask_downscaling(mask_input) + (1 - has) * no_mask

    def select(self, low_res: Tensor, iou: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """All tokens, the single-mask token first."""
        return low_res, iou

    def frame(self, orig_im_size: Tensor) -> ImageFrame:
        """The picture's place in the model input, computed inside the graph: Meta's floor(side * scale + 0.5)."""
        scale_hw = self.frame_hw / orig_im_size
        resized = self.frame_hw if self.stretched else (orig_im_size * scale_hw.min() + 0.5).floor().clamp(min=1)
        return TracedFrame(*(size.to(torch.int64).unbind() for size in (orig_im_size, resized)), self.padded_hw)


class OfficialDecoder(OfficialMultiDecoder):
    """Meta's graph with one mask, chosen inside the graph."""

    def __init__(self, model: SAM) -> None:
        super().__init__(model)
        only_first = torch.zeros(1, model.mask_decoder.num_mask_tokens)
        only_first[0, 0] = 1000.0
        self.register_buffer("single_mask_weight", only_first)

    def select(self, low_res: Tensor, iou: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        best = self.scores(iou, points).argmax(1)
        return low_res.index_select(1, best), iou.index_select(1, best)

    def scores(self, iou: Tensor, points: Tensor) -> Tensor:
        """Meta's rule without a branch: up to 2 points push the single-mask token down, from 3 on they push it up."""
        return iou + (points - 2.5) * self.single_mask_weight

    def margin(self, image_embeddings: Tensor, coords: Tensor, labels: Tensor, *mask_and_size: Tensor) -> float:
        dense = self.embed_mask(*mask_and_size[:2])
        _, iou = self.decode(image_embeddings, coords, labels, dense)
        best, second = self.scores(iou, coords.shape[1]).flatten().topk(2).values
        return float(best - second)


@dataclass(frozen=True)
class TracedFrame:
    """An `ImageFrame` whose sizes the graph computes: pairs of scalar tensors, which no check can look into."""

    original_hw: tuple[Tensor, ...]
    resized_hw: tuple[Tensor, ...]
    padded_hw: tuple[int, int]


def of_parts(module: Callable[[PromptEncoder, MaskDecoder], nn.Module]) -> Callable[[SAM], nn.Module]:
    """A module of the model's two decoding parts, as a module of the model."""
    return lambda model: module(*decoder_parts(model))


@dataclass(frozen=True)
class Contract:
    """What a client of a graph relies on: names and order of inputs and outputs, and what they mean (`version`)."""

    name: str
    version: int
    module: Callable[[SAM], nn.Module]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    clients: str


POINTS = ("image_embeddings", "point_coords", "point_labels")
OFFICIAL = (*POINTS, "mask_input", "has_mask_input", "orig_im_size")
MASKS = ("masks", "iou_predictions", "low_res_masks")

CONTRACTS: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        Contract("official", 1, OfficialDecoder, OFFICIAL, MASKS, "Meta's web demo, plain onnxruntime-web, labelme"),
        Contract("official-multi", 1, OfficialMultiDecoder, OFFICIAL, MASKS, "samexporter, AnyLabeling"),
    )
}
"""Decoders that are one graph."""

HOVER_OUTPUTS = ("low_res_logits", "iou_predictions")
PAGE = "this project's page"
PREPARE = Contract("hover-prepare", 2, of_parts(Prepare), ("image_embeddings",), PREPARED, PAGE)
PREPARE_WITH_MASK = Contract(
    "hover-prepare-with-mask", 2, of_parts(PrepareWithMask), ("image_embeddings", "mask_input"), PREPARED, PAGE
)
POINT = Contract("hover-point", 2, of_parts(Point), (*POINTS[1:], *PREPARED), HOVER_OUTPUTS, PAGE)
"""The decoder in graphs of their own: what runs once per picture, or per fed-back mask, and what runs per prompt."""

WHOLE = Contract("hover", 2, HoverDecoder, POINTS, HOVER_OUTPUTS, PAGE)
WHOLE_WITH_MASK = Contract("hover", 2, MaskedHoverDecoder, (*POINTS, "mask_input"), HOVER_OUTPUTS, PAGE)
"""What these graphs must answer together: never exported, only compared with."""

DYNAMIC_AXES = {"point_coords": {1: "N"}, "point_labels": {1: "N"}, "masks": {2: "height", 3: "width"}}
LOGITS = ("masks", "low_res_masks", "low_res_logits")


Arrays = dict[str, np.ndarray]


def example_inputs(contract: Contract, config: SAMConfig, points: int, seed: int) -> Arrays:
    """Random float32 inputs with `points` points; over seeds, every label, both kinds of mask input, many sizes."""
    random = np.random.default_rng(seed)
    height, width = config.image_encoder.input_hw
    inputs = {
        "image_embeddings": random.standard_normal(config.embedding_shape),
        "point_coords": random.uniform(0, (width, height), (1, points, 2)),
        "point_labels": random.integers(-1, 4, (1, points)),
        "mask_input": random.normal(0, 8, (1, 1, *config.low_res_hw)),
        "has_mask_input": random.integers(0, 2, 1),
        "orig_im_size": random.integers(height // 4, height, 2),
    }
    return {name: inputs[name].astype(np.float32) for name in contract.inputs}
