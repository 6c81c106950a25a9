"""Contracts: what each client of a graph expects, as a module that arranges the model's parts and a row.

A contract names inputs and outputs in their order, their dynamic axes, the module that computes them, and a version for
what they mean. `DECODERS` and `ENCODERS` are the rows by the frontend that loads them; the modules are below.

Who feeds a graph must know the selection rule of single-mask graphs, which is Meta's and counts the padding point:
with at most 2 points (one click + padding, or a box alone) the best of the ambiguous masks by predicted IoU, from 3
points on the single-mask token (box + padding, two clicks + padding).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..config import SAMConfig
from ..mask_decoder import MaskDecoder
from ..model import SAM
from ..prompt_encoder import PromptEncoder, pad_points
from ..transforms import ImageFrame, masks_to_original
from .hover import PREPARED, Point, Prepare, PrepareWithMask

# --- decoders --------------------------------------------------------------------------------------------------------


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


class EdgeSamDecoder(HoverDecoder):
    """The same with the estimates first."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        low_res, iou = super().forward(*inputs)
        return iou, low_res


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


class CvatDecoder(OfficialDecoder):
    """The same with padding added inside, and the mask as 0 and 1, cut out along its box, whose edges belong to it.

    An empty mask is the whole picture, all 0.
    """

    def __init__(self, model: SAM) -> None:
        super().__init__(model)
        self.mask_threshold = model.mask_threshold

    def forward(self, image_embeddings: Tensor, coords: Tensor, labels: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        masks, iou, low_res = super().forward(image_embeddings, *pad_points(coords, labels), *others)
        painted = (masks > self.mask_threshold).to(torch.uint8)
        left, right = ends(painted[0, 0].float().amax(0))
        top, bottom = ends(painted[0, 0].float().amax(1))
        return painted[:, :, top : bottom + 1, left : right + 1], iou, low_res, left, top, right, bottom

    def margin(self, image_embeddings: Tensor, coords: Tensor, labels: Tensor, *others: Tensor) -> float:
        return super().margin(image_embeddings, *pad_points(coords, labels), *others)


def ends(painted: Tensor) -> tuple[Tensor, Tensor]:
    """Where the first and the last 1 stand among 0 and 1; without any, the two ends."""
    return painted.argmax(), painted.shape[0] - 1 - painted.flip(0).argmax()


class TransformersDecoder(HoverDecoder):
    """P prompts for each of B pictures, (B, P, N, 2) and (B, P, N), to the ambiguous masks; padding is added inside.

    A point labelled -10 says nothing: that is how prompts of different lengths share a tensor.
    """

    def forward(self, coords: Tensor, labels: Tensor, embeddings: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
        images, prompts = coords.shape[:2]
        points = pad_points(coords.flatten(0, 1), labels.flatten(0, 1))
        sparse = self.prompt_encoder.embed_points(*points) * (points[1] != IGNORED)[..., None]
        sources, positions = (repeat_each(tensor, prompts) for tensor in (embeddings, positions))
        dense = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        low_res, iou = self.mask_decoder.predict_masks(sources, positions, sparse, dense)
        return iou[:, 1:].unflatten(0, (images, prompts)), low_res[:, 1:].unflatten(0, (images, prompts))


IGNORED = -10


def repeat_each(tensor: Tensor, times: int) -> Tensor:
    """Every entry of the first axis `times` times."""
    return tensor[:, None].expand(-1, times, -1, -1, -1).flatten(0, 1)


@dataclass(frozen=True)
class TracedFrame:
    """An `ImageFrame` whose sizes the graph computes: pairs of scalar tensors, which no check can look into."""

    original_hw: tuple[Tensor, ...]
    resized_hw: tuple[Tensor, ...]
    padded_hw: tuple[int, int]


# --- encoders --------------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """Normalised and padded pictures (B, 3, H, W), as `SAM.preprocess` makes them, to embeddings (B, C, h, w)."""

    def __init__(self, model: SAM) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).float().cpu()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (self.model.image_encoder(image),)


class PictureEncoder(Encoder):
    """A picture (H, W, 3), RGB 0-255, already resized to its frame, to the embedding (1, C, h, w)."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return super().forward(self.model.preprocess(image.permute(2, 0, 1)[None]))


class TransformersEncoder(Encoder):
    """Embeddings, and the positional encoding of their cells, which the decoder takes back: both (B, C, h, w)."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        (embeddings,) = super().forward(image)
        return embeddings, self.model.prompt_encoder.get_dense_pe().expand(embeddings.shape[0], -1, -1, -1)


# --- the rows --------------------------------------------------------------------------------------------------------

Axes = Mapping[str, Mapping[int, str]]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Contract:
    """What a client of a graph relies on: names and order of inputs and outputs, and what they mean (`version`).

    `dynamic` names the axes of a length that is not fixed. `read` turns a graph's answers into values that can be
    compared, where they cannot be as they are.
    """

    name: str
    version: int
    module: Callable[[SAM], nn.Module]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    clients: str
    dynamic: Axes = field(default_factory=dict, hash=False)
    read: Callable[[Arrays, Arrays], Arrays] = lambda inputs, answers: answers

    @property
    def dynamic_axes(self) -> Axes:
        """`dynamic`, of the tensors that the graph has."""
        return {name: axes for name, axes in self.dynamic.items() if name in self.inputs + self.outputs}


def of_parts(module: Callable[[PromptEncoder, MaskDecoder], nn.Module]) -> Callable[[SAM], nn.Module]:
    """A module of the model's two decoding parts, as a module of the model."""
    return lambda model: module(*decoder_parts(model))


def paste(inputs: Arrays, answers: Arrays) -> Arrays:
    """CVAT's cut-out mask put back into a picture of `orig_im_size`: cut-outs of different sizes cannot be compared."""
    canvas = np.zeros((1, 1, *inputs["orig_im_size"].astype(int)), np.uint8)
    left, top, right, bottom = (int(answers[side]) for side in BOX)
    canvas[:, :, top : bottom + 1, left : right + 1] = answers["masks"]
    return {"masks": canvas, **{name: answers[name] for name in ("iou_predictions", "low_res_masks")}}


POINTS = ("image_embeddings", "point_coords", "point_labels")
OFFICIAL = (*POINTS, "mask_input", "has_mask_input", "orig_im_size")
MASKS = ("masks", "iou_predictions", "low_res_masks")
BOX = ("xtl", "ytl", "xbr", "ybr")
ANY_POINTS = {"point_coords": {1: "N"}, "point_labels": {1: "N"}}
ANY_SIZE = {**ANY_POINTS, "masks": {2: "height", 3: "width"}}
ANY_PROMPTS = {
    "input_points": {0: "B", 1: "P", 2: "N"},
    "input_labels": {0: "B", 1: "P", 2: "N"},
    "image_embeddings": {0: "B"},
    "image_positional_embeddings": {0: "B"},
    "iou_scores": {0: "B", 1: "P"},
    "pred_masks": {0: "B", 1: "P"},
}

DECODERS: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        Contract("official", 1, OfficialDecoder, OFFICIAL, MASKS, "Meta's web demo, plain onnxruntime-web", ANY_SIZE),
        Contract("official-multi", 1, OfficialMultiDecoder, OFFICIAL, MASKS, "samexporter, AnyLabeling", ANY_SIZE),
        Contract("labelme", 1, OfficialDecoder, OFFICIAL, MASKS, "labelme (osam)", ANY_SIZE),
        Contract("cvat", 1, CvatDecoder, OFFICIAL, (*MASKS, *BOX), "CVAT", ANY_SIZE, paste),
        Contract(
            "transformers-js", 1, TransformersDecoder,
            ("input_points", "input_labels", "image_embeddings", "image_positional_embeddings"),
            ("iou_scores", "pred_masks"), "transformers.js SamModel", ANY_PROMPTS,
        ),
        Contract("edgesam", 1, EdgeSamDecoder, POINTS, ("scores", "masks"), "EdgeSAM's tools", ANY_POINTS),
    )
}  # fmt: skip
"""Decoders that are one graph, by the frontend that loads them."""

PAGE = "this project's page"
HOVER_OUTPUTS = ("low_res_logits", "iou_predictions")
PREPARE = Contract("hover-prepare", 2, of_parts(Prepare), ("image_embeddings",), PREPARED, PAGE)
PREPARE_WITH_MASK = Contract(
    "hover-prepare-with-mask", 2, of_parts(PrepareWithMask), ("image_embeddings", "mask_input"), PREPARED, PAGE
)
POINT = Contract("hover-point", 2, of_parts(Point), (*POINTS[1:], *PREPARED), HOVER_OUTPUTS, PAGE, ANY_POINTS)
"""The decoder in graphs of their own: what runs once per picture, or per fed-back mask, and what runs per prompt."""

WHOLE = Contract("hover", 2, HoverDecoder, POINTS, HOVER_OUTPUTS, PAGE, ANY_POINTS)
WHOLE_WITH_MASK = Contract("hover", 2, MaskedHoverDecoder, (*POINTS, "mask_input"), HOVER_OUTPUTS, PAGE, ANY_POINTS)
"""What these graphs must answer together: never exported, only compared with."""

PREPROCESSING = ("outside", "inside")
"""Who normalises and pads a picture: the client, or the graph."""

NORMALIZED = Contract("encoder", 1, Encoder, ("image",), ("image_embeddings",), "EdgeSAM's tools, code of one's own")
PICTURE = Contract(
    "picture-encoder", 1, PictureEncoder, ("input_image",), ("image_embeddings",), "samexporter, AnyLabeling",
    {"input_image": {0: "height", 1: "width"}},
)  # fmt: skip
LABELME = replace(NORMALIZED, name="labelme-encoder", inputs=("x",), clients="labelme (osam)")
TRANSFORMERS = Contract(
    "transformers-js-encoder", 1, TransformersEncoder, ("pixel_values",),
    ("image_embeddings", "image_positional_embeddings"), "transformers.js SamModel",
    {"pixel_values": {0: "B"}, **ANY_PROMPTS},
)  # fmt: skip

ENCODERS: dict[tuple[str, str], Contract] = {
    ("official", "outside"): NORMALIZED,
    ("official", "inside"): PICTURE,
    ("official-multi", "inside"): PICTURE,
    ("official-multi", "outside"): NORMALIZED,
    ("labelme", "outside"): LABELME,
    ("edgesam", "outside"): NORMALIZED,
    ("transformers-js", "outside"): TRANSFORMERS,
}
"""Encoders by frontend and by who preprocesses the picture; a frontend's first is its usual one."""


# --- random inputs ---------------------------------------------------------------------------------------------------


def example_inputs(contract: Contract, config: SAMConfig, points: int, seed: int) -> Arrays:
    """Random inputs with `points` points; over seeds, every label, both kinds of mask input, many sizes.

    A name stands for the same values in every contract. Where prompts or pictures are many, their numbers change with
    `points`, so that no two axes go together.
    """
    several = bool({"input_points", "pixel_values"}.intersection(contract.inputs))
    pictures, prompts = (2 - points % 2, 1 + points % 3) if several else (1, 1)
    height, width = config.image_encoder.input_hw
    _, channels, *grid = config.embedding_shape

    def draw(name: str) -> np.ndarray:
        random = np.random.default_rng([seed, *name.encode()])
        match name:
            case "point_coords":
                return random.uniform(0, (width, height), (1, points, 2))
            case "point_labels":
                return random.integers(-1, 4, (1, points))
            case "mask_input":
                return random.normal(0, 8, (1, 1, *config.low_res_hw))
            case "has_mask_input":
                return random.integers(0, 2, 1)
            case "orig_im_size":
                return random.integers(height // 4, height, 2)
            case "input_points":
                return random.uniform(0, (width, height), (pictures, prompts, points, 2))
            case "input_labels":
                return random.choice((1, 0, -1, IGNORED), (pictures, prompts, points))
            case "image_embeddings":
                return random.standard_normal((pictures, channels, *grid))
            case "image_positional_embeddings":
                return random.uniform(-1, 1, (pictures, config.decoder_width, *grid))
            case "input_image":
                return random.uniform(0, 255, (*_resized(random, config), 3))
        return random.standard_normal((pictures, 3, height, width))  # a normalised picture, under any name

    return {name: draw(name).astype(np.int64 if name == "input_labels" else np.float32) for name in contract.inputs}


def _resized(random: np.random.Generator, config: SAMConfig) -> tuple[int, ...]:
    """The size of a picture that was resized to the model's frame, or of a smaller one: no side is always whole."""
    padded_hw = config.image_encoder.input_hw
    return (
        padded_hw if config.preprocessing == "medsam" else tuple(random.integers(np.array(padded_hw) // 2, padded_hw))
    )
