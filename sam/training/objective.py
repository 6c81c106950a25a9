"""One batch's loss: encode the pictures, prompt every mask, correct it as a person would.

SAM paper, appendix A: a click or a box first, then clicks drawn from the error, each with the answer before it as mask
prompt; some corrections bring no new prompt, only the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..model import SAM
from ..prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND, PADDING
from ..tiny import TinyEncoder
from .cells import gather_cells, gather_patches, patch_positions, sample_cells
from .clicks import corrective_click, first_click, jittered_box
from .losses import affinity_loss, decoder_loss, mask_iou
from .recipe import Recipe
from .sampling import Batch

NO_NEW_PROMPT = 0.15
"""Share of corrections that give the model nothing but its last mask, so that it learns to use it."""


@dataclass(frozen=True)
class Losses:
    """Sums to minimise, and mean IoU in 0-1 of the answers to a click, to a box and to the last correction."""

    decoder: Tensor
    affinity: Tensor
    click_iou: float | None
    box_iou: float | None
    corrected_iou: float | None


def input_scale(model: SAM) -> int:
    """Pixels of the model's frame per pixel that its encoder looks at: 2 for `tiny`, else 1."""
    return 2 if isinstance(model.image_encoder, TinyEncoder) else 1


def embed_pictures(model: SAM, images: Tensor) -> Tensor:
    """Encode pictures (P, 3, S, S), RGB 0-255, that are already at the encoder's own scale -> (P, C, g, g)."""
    pixels = (images - model.pixel_mean) / model.pixel_std
    encoder = model.image_encoder
    encode = encoder.features if isinstance(encoder, TinyEncoder) else encoder
    return encode(pixels.contiguous(memory_format=torch.channels_last))


def batch_losses(model: SAM, batch: Batch, recipe: Recipe, cells_per_block: int) -> Losses:
    """The loss of one batch; the mean over the first answers and the corrected ones."""
    embeddings = batch.embeddings if batch.embeddings is not None else embed_pictures(model, batch.images)
    weight = recipe.affinity_weight
    affinity = affinity_loss(embeddings, batch.segments) if weight else embeddings.new_zeros(())
    scene = Scene.sample(model, embeddings, batch, cells_per_block)

    is_click = torch.rand(len(scene.targets), device=embeddings.device) < 0.5
    coords, labels = first_prompts(batch.targets.flatten(0, 1), is_click)
    logits, iou = scene.decode(coords, labels, None)
    loss = decoder_loss(logits, iou, scene.targets, scene.valid, is_click)
    answer = chosen_logits(logits.detach(), iou.detach(), is_click)
    first = mask_iou(answer, scene.targets, scene.valid)

    rounds, corrected = int(torch.multinomial(torch.tensor(recipe.refinement_shares), 1)), None
    for _ in range(rounds):
        if torch.rand(()) >= NO_NEW_PROMPT:
            coords, labels = append_click(coords, labels, *scene.correct(answer))
        logits, iou = scene.decode(coords, labels, answer.unsqueeze(1))
        loss = loss + decoder_loss(logits, iou, scene.targets, scene.valid, torch.zeros_like(is_click))
        answer = logits[:, 0].detach()
        corrected = mask_iou(answer, scene.targets, scene.valid)
    return Losses(loss / (1 + rounds), affinity, _mean(first[is_click]), _mean(first[~is_click]), _mean(corrected))


@dataclass(frozen=True)
class Scene:
    """What the decoder sees of a batch: some cells of each embedding, and the masks to find there.

    seen (P, C, n, 1); cells (n,) and places (16n, 2) from `cells`; targets and valid (P*M, 4n, 4).
    """

    model: SAM
    seen: Tensor
    cells: Tensor
    grid: int
    places: Tensor
    targets: Tensor
    valid: Tensor

    @classmethod
    def sample(cls, model: SAM, embeddings: Tensor, batch: Batch, cells_per_block: int) -> Scene:
        """Draw the cells; the same for all pictures, so that they still share what depends on the picture only."""
        grid = embeddings.shape[-1]
        cells = sample_cells(grid, cells_per_block, embeddings.device)
        targets, valid = (gather_patches(each.flatten(0, 1), cells) for each in (batch.targets, batch.valid))
        return cls(model, gather_cells(embeddings, cells), cells, grid, patch_positions(cells, grid), targets, valid)

    def decode(self, coords: Tensor, labels: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Like `SAM.decode`, for any grid and some of its cells.

        coords (N, n, 2) in low-resolution cells of the whole grid, labels (N, n) with padding and corners written out;
        masks (N, 1, 4n, 4) logits at the same cells. Returns float32 logits (N, 1+M, 4n, 4) and IoU (N, 1+M).
        """
        prompt_encoder = self.model.prompt_encoder
        to_pixels = prompt_encoder.input_image_size[0] / (4 * self.grid)
        sparse = prompt_encoder.embed_points(coords * to_pixels - 0.5, labels)
        if masks is None:
            dense = prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        else:
            dense = prompt_encoder.mask_downscaling(masks)
        position = gather_cells(prompt_encoder.pe_layer((self.grid, self.grid)).unsqueeze(0), self.cells)
        logits, iou = self.model.mask_decoder.predict_masks(self.seen, position, sparse, dense)
        return logits.float(), iou.float()

    def correct(self, answer: Tensor) -> tuple[Tensor, Tensor]:
        """One click on each answer's error: points (N, 2), labels (N,)."""
        return corrective_click(answer, self.targets, self.valid, self.places, self.grid)


def first_prompts(targets: Tensor, is_click: Tensor) -> tuple[Tensor, Tensor]:
    """A click with its padding point, or a box's two corners: targets (N, h, w) -> coords (N, 2, 2), labels (N, 2)."""
    points = first_click(targets)
    clicks = torch.stack([points, torch.zeros_like(points)], 1)
    corners = jittered_box(targets).unflatten(1, (2, 2))
    coords = torch.where(is_click[:, None, None], clicks, corners)
    click_labels = torch.tensor([FOREGROUND, PADDING], device=targets.device)
    box_labels = torch.tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], device=targets.device)
    return coords, torch.where(is_click[:, None], click_labels, box_labels)


def append_click(coords: Tensor, labels: Tensor, point: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Add one click (N, 2), (N,) in front, so that a padding point stays last."""
    return torch.cat([point[:, None], coords], 1), torch.cat([label[:, None], labels], 1)


def chosen_logits(logits: Tensor, iou: Tensor, ambiguous: Tensor) -> Tensor:
    """What a person would see: the best of the multimask tokens for one click, else the single token: (N, h, w)."""
    rows = torch.arange(len(logits), device=logits.device)
    best = 1 + iou[:, 1:].argmax(1)
    return logits[rows, torch.where(ambiguous, best, 0)]


def _mean(values: Tensor | None) -> float | None:
    return values.mean().item() if values is not None and len(values) else None  # JSON knows no NaN
