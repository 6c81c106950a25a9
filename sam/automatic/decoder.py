"""The mask decoder for many points of one picture: what `sam.graphs.hover` does for one point, for a batch of them.

The algebra is `sam.graphs.hover`'s, see there why it is exact: what the picture decides is prepared once, and nothing
is done per cell that can be done per token. What a batch adds:

1. Tokens of all points go through their layers together, so weights are read once per batch, not once per point.
2. Scores lie as (tokens, heads, cells): softmax over tokens runs along the processor's vectors, for tokens are few.
3. Predicted IoU comes from the tokens alone. Masks are upscaled after it is known, those that pass only, in the cells
   that lie in the picture only: padding takes part in attention but nobody asks for its mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Size
from ..graphs.hover import Prepare, as_rows, by_head, look_at_each_other, update_tokens
from ..model import SAM
from ..transformer import Attention
from .settings import Precision

CACHE_BYTES = 8 * 2**20
"""Cells of a batch are kept to about this size: fewer and the tokens' layers cost more, more and the cache is left."""
COPIES = 24
"""How many times its cells a point needs on an accelerator at most: scores, sums, and the upscaled pixels."""
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Answers:
    """What the transformer says to B points: `iou` (B, 1+M) float32, tokens (B, 1+M, C) and cells (B, h*w, C)."""

    iou: Tensor
    tokens: Tensor
    cells: Tensor


class PointDecoder:
    """Answers foreground points on one picture, from `ImageEmbedding.features` (1, C, h, w).

    precision: bf16 keeps cells, the large part, in half the bits, where products are made by AMX or a GPU; tokens,
    softmax over cells and logits stay float32.
    """

    def __init__(self, model: SAM, features: Tensor, precision: Precision = "fp32") -> None:
        self.prompts, self.decoder = model.prompt_encoder, model.mask_decoder
        self.dtype = DTYPES[precision]
        self.grid_hw: Size = self.prompts.image_embedding_size
        prepared = Prepare(self.prompts, self.decoder)(features)
        self.positions = as_rows(self.prompts.get_dense_pe()).to(self.dtype)
        self._large: Tensor | None = None
        self.cells, self.keys, self.values, self.queries = (tensor.to(self.dtype) for tensor in prepared)

    @cached_property
    def batch(self) -> int:
        """How many points to ask at once."""
        device = self.cells.device
        return points_at_once(device.type, self.cells.numel() * self.cells.element_size(), free_bytes(device))

    @property
    def upscaled_at_once(self) -> int:
        """For how many points to upscale masks at once: one on a processor, whose cache holds no more."""
        return 1 if self.cells.device.type == "cpu" else self.batch

    def answer(self, points_xy: Tensor) -> Answers:
        """Ask B points (B, 2) in model pixels, each by itself, with the padding that a point without a box gets."""
        coords = torch.stack([points_xy, torch.zeros_like(points_xy)], dim=1)
        labels = torch.tensor([1, -1], device=coords.device).expand(len(coords), 2)
        own = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])
        embedded = self.prompts.embed_points(coords, labels).to(own.dtype)
        prompts = torch.cat([own.expand(len(coords), -1, -1), embedded], dim=1)
        tokens, cells = self._transform(prompts)
        masks = self.decoder.num_mask_tokens
        return Answers(self.decoder.iou_prediction_head(tokens[:, 0]).float(), tokens[:, 1 : 1 + masks], cells)

    def upscale(self, answers: Answers, points: np.ndarray, chosen: np.ndarray, low_hw: Size) -> Tensor:
        """Logits (N, *low_hw) float32 of N masks of P points: the part inside the picture.

        points (P,): their numbers among the answers. chosen (P, 1+M) bool: which masks of each; N are chosen, and they
        come point by point.
        """
        h, w = (-(-side // 4) for side in low_hw)
        count, masks = len(points), np.flatnonzero(chosen.any(0)).tolist()
        cells = [answers.cells[point].view(*self.grid_hw, -1)[:h, :w].flatten(0, 1) for point in points.tolist()]
        inside = cells[0] if count == 1 else torch.cat(cells)
        grow, norm, act, grow_again, act_again = self.decoder.output_upscaling
        # From here on pixels lie row by row: moving them now, channels together, is cheaper than moving logits.
        pixels = _quadruple(grow, inside).view(count * h, w, 2, -1).transpose(1, 2).reshape(-1, grow.out_channels)
        pixels = act(F.layer_norm(pixels, norm.weight.shape, *_as(self.dtype, norm), norm.eps))
        pixels = act_again(_quadruple(grow_again, pixels)).view(count, -1, grow_again.out_channels)
        networks = self.decoder.output_hypernetworks_mlps
        weights = torch.stack([networks[mask](answers.tokens[points, mask]) for mask in masks], dim=1)
        logits = weights.to(self.dtype) @ pixels.transpose(1, 2)  # (P, masks, pixels)
        wanted = logits[torch.from_numpy(chosen[:, masks]).to(logits.device)].float()
        return _rows_in_place(wanted, (2 * h, 2 * w))[:, : low_hw[0], : low_hw[1]]

    def _transform(self, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """The two-way transformer: prompt tokens (B, T, C) -> tokens (B, T, C), cells (B, h*w, C)."""
        transformer = self.decoder.transformer
        first, *others = transformer.layers
        tokens = look_at_each_other(first, prompts, prompts)
        tokens = update_tokens(first, tokens, self._first_look(first.cross_attn_token_to_image, tokens + prompts))
        attention = first.cross_attn_image_to_token
        probes = _block_diagonal(self._scaled_keys(attention, tokens + prompts)).flatten(1, 2)
        scores = probes.to(self.dtype) @ self.queries.T
        cells = self._memory(len(tokens)).copy_(self.cells)
        cells = self._absorb(attention, cells, scores, tokens, first.norm4)
        for block in others:
            tokens = look_at_each_other(block, tokens, prompts)
            located = self._locate(cells)
            seen = self._look(block.cross_attn_token_to_image, tokens + prompts, located, cells)
            tokens = update_tokens(block, tokens, seen)
            attention = block.cross_attn_image_to_token
            scores = self._cell_scores(attention, tokens + prompts, located)
            cells = self._absorb(attention, cells, scores, tokens, block.norm4)
        attention = transformer.final_attn_token_to_image
        seen = self._look(attention, tokens + prompts, self._locate(cells), cells)
        return transformer.norm_final_attn(tokens + seen), cells

    def _memory(self, points: int) -> Tensor:
        """Memory for the cells of so many points, the same again and again: new memory costs as much as the sums."""
        if self._large is None or len(self._large) != points:
            self._large = self.cells.new_empty(points, *self.cells.shape[-2:])
        return self._large

    def _locate(self, cells: Tensor) -> Tensor:
        """Cells and their positions, in `_memory`."""
        return torch.add(cells, self.positions, out=self._memory(len(cells)))

    def _first_look(self, attention: Attention, tokens: Tensor) -> Tensor:
        """Tokens look at the picture as it was prepared; all points' tokens are rows of one product per head."""
        queries = _heads(attention.q_proj(tokens), attention) / _root(attention)  # (B, heads, T, D)
        batch, heads, count, width = queries.shape
        rows = queries.transpose(0, 1).reshape(heads, batch * count, width).to(self.dtype)
        shares = (rows @ self.keys).softmax(-1)
        seen = (shares @ self.values).float().view(heads, batch, count, width)
        return attention.out_proj(seen.permute(1, 2, 0, 3).flatten(2))

    def _look(self, attention: Attention, tokens: Tensor, located: Tensor, cells: Tensor) -> Tensor:
        """Tokens look at cells that differ from point to point: step 2 of `sam.graphs.hover`."""
        key_weight, value_weight = (by_head(layer.weight, attention) for layer in (attention.k_proj, attention.v_proj))
        queries = _heads(attention.q_proj(tokens), attention) / _root(attention)
        probes = (queries @ key_weight).flatten(1, 2).to(self.dtype)  # (B, heads * T, C)
        shares = (probes @ located.transpose(1, 2)).softmax(-1)
        seen = (shares @ cells).float().unflatten(1, (attention.num_heads, -1))  # (B, heads, T, C)
        values = seen @ value_weight.transpose(1, 2)
        return attention.out_proj(values.transpose(1, 2).flatten(2) + attention.v_proj.bias)

    def _cell_scores(self, attention: Attention, tokens: Tensor, located: Tensor) -> Tensor:
        """How much every cell looks at every token: (B, T * heads, h*w); step 3 of `sam.graphs.hover`."""
        keys = self._scaled_keys(attention, tokens)
        probes = (keys.transpose(1, 2) @ by_head(attention.q_proj.weight, attention)).transpose(1, 2)
        bias = (keys * by_head(attention.q_proj.bias[:, None], attention)[:, :, 0]).sum(-1)  # (B, T, heads)
        scores = probes.flatten(1, 2).to(self.dtype) @ located.transpose(1, 2)
        return scores.add_(bias.flatten(1)[..., None].to(self.dtype))

    def _absorb(
        self, attention: Attention, cells: Tensor, scores: Tensor, tokens: Tensor, norm: torch.nn.Module
    ) -> Tensor:
        """Cells (B, h*w, C) and what they take from the tokens by scores (B, T * heads, h*w), normalised.

        `cells` are overwritten.
        """
        values = _heads(attention.v_proj(tokens), attention)
        offers = values @ by_head(attention.out_proj.weight.T, attention) + attention.out_proj.bias / values.shape[1]
        offers = offers.transpose(1, 2).flatten(1, 2).to(self.dtype)  # (B, T * heads, C)
        shares = scores.unflatten(1, (-1, attention.num_heads)).softmax(1).flatten(1, 2)
        cells.baddbmm_(shares.transpose(1, 2), offers)
        return F.layer_norm(cells, norm.weight.shape, *_as(self.dtype, norm), norm.eps)

    def _scaled_keys(self, attention: Attention, tokens: Tensor) -> Tensor:
        """Keys of the tokens over the root of their width: (B, T, heads, D)."""
        return (attention.k_proj(tokens) / _root(attention)).unflatten(-1, (attention.num_heads, -1))


def points_at_once(device_type: str, cells_bytes: int, free: int) -> int:
    """How many points to ask at once when the cells of one are so large: on a processor as its cache has it.

    Accelerators gain nothing from small pieces, so there half of the `free` bytes are used. At least one.
    """
    room = CACHE_BYTES if device_type == "cpu" else free // 2 // COPIES
    return max(1, room // cells_bytes)


def free_bytes(device: torch.device) -> int:
    """Memory of an accelerator that nobody holds; 0 for a processor, where it decides nothing, and where none tells."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return 0


def _heads(rows: Tensor, attention: Attention) -> Tensor:
    """(B, n, heads * D) -> (B, heads, n, D)."""
    return rows.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)


def _root(attention: Attention) -> float:
    return math.sqrt(attention.q_proj.out_features // attention.num_heads)


def _block_diagonal(keys: Tensor) -> Tensor:
    """(B, T, heads, D) -> (B, T, heads, heads * D), zero where the heads differ: one product serves all of them."""
    heads = keys.shape[2]
    same = torch.eye(heads, dtype=keys.dtype, device=keys.device)
    return (same[:, :, None] * keys[:, :, :, None]).flatten(3)


def _quadruple(conv: torch.nn.ConvTranspose2d, rows: Tensor) -> Tensor:
    """`sam.graphs.hover.quadruple` in the type of the rows."""
    weight = conv.weight.permute(0, 2, 3, 1).flatten(1).to(rows.dtype)  # (C, 2 * 2 * C')
    return torch.addmm(conv.bias.repeat(4).to(rows.dtype), rows, weight).view(-1, conv.out_channels)


def _rows_in_place(logits: Tensor, grid_hw: Size) -> Tensor:
    """(M, h*w * 2*2), the quarters of every pixel together -> (M, 2h, 2w)."""
    h, w = grid_hw
    pairs = logits.view(torch.int64).view(-1, h, w, 2)  # two neighbours in a row move as one number
    return pairs.transpose(2, 3).reshape(-1, 2 * h, w).view(torch.float32)


def _as(dtype: torch.dtype, norm: torch.nn.Module) -> tuple[Tensor, Tensor]:
    return norm.weight.to(dtype), norm.bias.to(dtype)
