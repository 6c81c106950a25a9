"""The training loop: seeded, checkpointed, resumable to the same numbers.

Every step seeds its own random generators with (seed, step), so a run that was killed and resumed draws exactly what
an unbroken run would have drawn.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..model import SAM
from ..prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND, PADDING, PromptEncoder
from .clicks import corrective_click, first_click, jittered_box
from .data import Batch, BatchSampler, Record
from .losses import affinity_loss, decoder_loss, mask_iou

Decode = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""Embeddings, coords, labels and mask logits -> logits and IoU; see `decode`."""


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one working size: `size` is the side of the halved picture, 512 at inference."""

    size: int
    steps: int
    pictures: int = 8
    masks: int = 8


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a run, besides the data."""

    stages: tuple[Stage, ...]
    learning_rate: float = 6e-4
    final_learning_rate: float = 1e-5
    warmup_steps: int = 200
    weight_decay: float = 0.05
    ema_decay: float = 0.995
    affinity_weight: float = 0.3
    refinement_shares: tuple[float, ...] = (0.55, 0.3, 0.15)
    """How often a step adds 0, 1, 2 ... corrective clicks, with mask feedback, after the first prompt."""
    seed: int = 0

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage that step number `step` belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then a cosine down to the final rate."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        span = self.learning_rate - self.final_learning_rate
        return self.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Metrics:
    """What one step reports."""

    step: int
    size: int
    loss: float
    affinity: float
    click_iou: float | None
    box_iou: float | None
    learning_rate: float
    masks_per_second: float


def fit(
    model: SAM,
    records: list[Record],
    recipe: Recipe,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    compiled: bool = False,
    checkpoint_every: int = 100,
) -> Iterator[Metrics]:
    """Train `model` (this project's tiny encoder) and yield metrics; `folder` keeps the checkpoint and `metrics.jsonl`.

    Resumes from `folder/checkpoint.pt` when it is there. `dtype` (bfloat16) turns on mixed precision;
    `compiled` compiles the decoder, a minute or two per working size for about a third more masks a second.
    Afterwards `folder/model.safetensors` holds the averaged weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(model, recipe, compiled=compiled)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        run.load(checkpoint)
    with open(folder / "metrics.jsonl", "a") as log:
        for step, batch in _prefetch(records, recipe, run.step):
            metrics = run.train_step(batch, dtype)
            log.write(json.dumps(asdict(metrics)) + "\n")
            if (step + 1) % checkpoint_every == 0 or step + 1 == recipe.steps:
                log.flush()
                run.save(checkpoint)
                run.averaged(model).save(folder / "model.partial")
                os.replace(folder / "model.partial", folder / "model.safetensors")
            yield metrics


class _Run:
    """Model, optimizer, average and step of one training run."""

    def __init__(self, model: SAM, recipe: Recipe, *, compiled: bool = False) -> None:
        self.model, self.recipe, self.step = model.train(), recipe, 0
        predict_masks = model.mask_decoder.predict_masks
        if compiled:
            torch._dynamo.config.recompile_limit = 64  # one graph for every working size and number of prompts
            predict_masks = torch.compile(predict_masks, dynamic=False)
        self.decode = partial(decode, model.prompt_encoder, predict_masks)
        decayed = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def train_step(self, batch: Batch, dtype: torch.dtype | None) -> Metrics:
        started, recipe = time.perf_counter(), self.recipe
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)
        rate = recipe.learning_rate_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # With a handful of tokens the plain product is several times faster in the backward pass than the fused kernel.
        autocast = torch.autocast(self.model.device.type, dtype or torch.bfloat16, enabled=dtype is not None)
        with autocast, sdpa_kernel(SDPBackend.MATH):
            losses = batch_losses(self.model, self.decode, batch, recipe)
        self.optimizer.zero_grad(set_to_none=True)
        (losses.decoder + recipe.affinity_weight * losses.affinity).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        seconds = time.perf_counter() - started
        return Metrics(
            self.step, batch.images.shape[-1], losses.decoder.item(), losses.affinity.item(), losses.click_iou,
            losses.box_iou, rate, batch.targets[:, :, 0, 0].numel() / seconds,
        )  # fmt: skip

    def _update_average(self) -> None:
        decay = min(self.recipe.ema_decay, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                average = self.average[name]
                average.lerp_(value, 1 - decay) if value.is_floating_point() else average.copy_(value)

    def averaged(self, model: SAM) -> SAM:
        """A copy of the model with the averaged weights, in evaluation mode."""
        copy = SAM.from_config(model.config)
        copy.load_state_dict(self.average)
        return copy.eval()

    def save(self, path: Path) -> None:
        state = {"model": self.model.state_dict(), "average": self.average, "optimizer": self.optimizer.state_dict()}
        partial = path.with_suffix(".partial")
        torch.save({**state, "step": self.step}, partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


@dataclass(frozen=True)
class Losses:
    """Sums to minimise, and two figures to watch."""

    decoder: Tensor
    affinity: Tensor
    click_iou: float | None
    box_iou: float | None


def batch_losses(model: SAM, decode: Decode, batch: Batch, recipe: Recipe) -> Losses:
    """Encode the pictures once; prompt every mask with a click or a box, then, in some steps, correct once or twice."""
    pictures, masks = batch.targets.shape[:2]
    targets, valid = batch.targets.flatten(0, 1), batch.valid.flatten(0, 1)
    pixels = (batch.images - model.pixel_mean) / model.pixel_std
    embeddings = model.image_encoder.features(pixels.contiguous(memory_format=torch.channels_last))
    affinity = affinity_loss(embeddings, batch.segments)

    is_click = torch.rand(pictures * masks) < 0.5
    coords, labels = first_prompts(targets, is_click)
    logits, iou = decode(embeddings, coords, labels, None)
    logits, iou = logits.float(), iou.float()
    loss = decoder_loss(logits, iou, targets, valid, is_click)
    answer = chosen_logits(logits.detach(), iou.detach(), is_click)
    click_iou, box_iou = _watch(answer, targets, valid, is_click)

    rounds = int(torch.multinomial(torch.tensor(recipe.refinement_shares), 1))
    for _ in range(rounds):
        point, label = corrective_click(answer, targets, valid)
        coords, labels = append_click(coords, labels, point, label)
        logits, iou = decode(embeddings, coords, labels, answer.unsqueeze(1))
        logits, iou = logits.float(), iou.float()
        loss = loss + decoder_loss(logits, iou, targets, valid, torch.zeros_like(is_click))
        answer = logits[:, 0].detach()
    return Losses(loss / (1 + rounds), affinity, click_iou, box_iou)


def decode(
    prompt_encoder: PromptEncoder,
    predict_masks: Callable,
    embeddings: Tensor,
    coords: Tensor,
    labels: Tensor,
    masks: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Like `SAM.decode`, for any working size.

    embeddings (P, C, g, g); coords (N, n, 2) in low-resolution cells of that size, labels (N, n) with padding and
    corners written out; masks (N, 1, 4g, 4g) logits. Returns logits (N, 1+M, 4g, 4g) and IoU (N, 1+M).
    """
    grid_hw = tuple(embeddings.shape[-2:])
    cells_to_pixels = prompt_encoder.input_image_size[0] / (4 * grid_hw[0])
    sparse = prompt_encoder.embed_points(coords * cells_to_pixels - 0.5, labels)
    if masks is None:
        dense = prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    else:
        dense = prompt_encoder.mask_downscaling(masks)
    position = prompt_encoder.pe_layer(grid_hw).unsqueeze(0)
    return predict_masks(embeddings, position, sparse, dense)


def first_prompts(targets: Tensor, is_click: Tensor) -> tuple[Tensor, Tensor]:
    """A click with its padding point, or a box's two corners: coords (N, 2, 2), labels (N, 2)."""
    clicks = torch.stack([first_click(targets), torch.zeros(len(targets), 2)], 1)
    corners = jittered_box(targets).unflatten(1, (2, 2))
    coords = torch.where(is_click[:, None, None], clicks, corners)
    click_labels = torch.tensor([FOREGROUND, PADDING])
    box_labels = torch.tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT])
    return coords, torch.where(is_click[:, None], click_labels, box_labels)


def append_click(coords: Tensor, labels: Tensor, point: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Add one click (N, 2), (N,) in front, so that a padding point stays last."""
    return torch.cat([point[:, None], coords], 1), torch.cat([label[:, None], labels], 1)


def chosen_logits(logits: Tensor, iou: Tensor, ambiguous: Tensor) -> Tensor:
    """What a person would see: the best of the multimask tokens for one click, else the single token: (N, h, w)."""
    rows = torch.arange(len(logits))
    best = 1 + iou[:, 1:].argmax(1)
    return logits[rows, torch.where(ambiguous, best, 0)]


def _watch(answer: Tensor, targets: Tensor, valid: Tensor, is_click: Tensor) -> tuple[float | None, float | None]:
    values = mask_iou(answer, targets, valid)
    return _mean(values[is_click]), _mean(values[~is_click])


def _mean(values: Tensor) -> float | None:
    return values.mean().item() if len(values) else None  # JSON knows no NaN


def _prefetch(records: list[Record], recipe: Recipe, start: int) -> Iterator[tuple[int, Batch]]:
    """Draw batches in a thread, one ahead of the step that uses them."""

    def draw(step: int) -> Batch:
        stage = recipe.stage_at(step)
        seed = int(np.random.SeedSequence([recipe.seed, step]).generate_state(1)[0])
        return BatchSampler(records, size=stage.size, pictures=stage.pictures, masks=stage.masks, seed=seed).draw()

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(draw, start)
        for step in range(start, recipe.steps):
            batch = ahead.result()
            if step + 1 < recipe.steps:
                ahead = pool.submit(draw, step + 1)
            yield step, batch
