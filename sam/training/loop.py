"""The training loop: seeded, checkpointed, resumable to the same numbers.

Every step seeds its own random generators with (seed, step), so a run that was killed and resumed draws exactly what
an unbroken run would have drawn.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..datasets import Record
from ..model import SAM
from .cached import CachedSampler, cache_views
from .lora import apply_lora, merge_lora
from .objective import Losses, batch_losses, input_scale
from .progress import Journal, Metrics
from .recipe import Draw, Recipe
from .sampling import Batch, PictureSampler
from .tuning import build_optimizer, freeze, require_parts, set_learning_rate

Sampler = PictureSampler | CachedSampler
MicroBatches = list[tuple[Draw, Batch]]


def fit(
    model: SAM,
    records: Sequence[Record],
    recipe: Recipe,
    folder: str | Path,
    *,
    validation: Sequence[Record] = (),
    dtype: torch.dtype | None = None,
    checkpoint_every: int = 100,
) -> Iterator[Metrics]:
    """Train `model` where it lies (CPU or GPU) and yield metrics, one value a step.

    `folder` gets `checkpoint.pt`, from which the same call resumes, `metrics.jsonl`, TensorBoard's files, and at every
    checkpoint `model.safetensors`: the averaged weights, at the end those of the best look at `validation` if the
    recipe looks. `dtype` (bfloat16) turns on mixed precision.
    """
    if model.config.preprocessing != "sam":
        raise ValueError(f"training knows the preprocessing 'sam' only, this model's is {model.config.preprocessing!r}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sampler = _sampler(model, records, recipe, folder)
    run = Run(model, recipe)
    run.resume(folder)
    with closing(Journal(folder, run.step)) as journal, closing(_prefetch(sampler, recipe, run.step)) as batches:
        for batch in batches:
            if run.has_converged:
                return
            metrics = run.train_step(batch, dtype)
            if validation and recipe.validate_every and run.step % recipe.validate_every == 0:
                metrics = replace(metrics, validation=run.validate(validation))
            if run.step % checkpoint_every == 0 or run.step == recipe.steps or run.has_converged:
                run.save(folder)
            journal.write(metrics)
            yield metrics


class Run:
    """Model, optimizer, average and step of one training run."""

    def __init__(self, model: SAM, recipe: Recipe) -> None:
        self.model, self.recipe, self.step = model, recipe, 0
        require_parts(model, recipe.named_parts)
        if recipe.lora:
            for part in recipe.lora.parts:
                apply_lora(model.get_submodule(part), recipe.lora.rank, recipe.lora.alpha)
        self.optimizer = build_optimizer(model, recipe)
        self.average = _copy(model.state_dict())
        self.best: dict[str, torch.Tensor] | None = None
        self.best_score, self.looks_since_best = -1.0, 0

    def train_step(self, batches: MicroBatches, dtype: torch.dtype | None) -> Metrics:
        """One optimizer step over all of `batches`."""
        started = time.perf_counter()
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        freeze(self.model, *self.recipe.frozen_at(self.step))
        set_learning_rate(self.optimizer, rate := self.recipe.learning_rate_at(self.step))
        self.optimizer.zero_grad(set_to_none=True)
        losses = [self._backward(kind, batch, dtype, len(batches)) for kind, batch in batches]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        prompts = sum(batch.targets.shape[0] * batch.targets.shape[1] for _, batch in batches)
        return _metrics(self.step, batches[0][0].size, losses, rate, prompts / (time.perf_counter() - started))

    def _backward(self, kind: Draw, batch: Batch, dtype: torch.dtype | None, count: int) -> Losses:
        device = self.model.device
        # With a handful of tokens the plain product is several times faster in the backward pass than the fused kernel.
        with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None), _plain_attention(device):
            losses = batch_losses(self.model, batch.to(device), self.recipe, kind.cells_per_block)
        ((losses.decoder + self.recipe.affinity_weight * losses.affinity) / count).backward()
        return replace(losses, decoder=losses.decoder.detach(), affinity=losses.affinity.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.ema_decay, (self.step + 1) / (self.step + 10))
        for name, value in self.model.state_dict().items():
            average = self.average[name]
            average.lerp_(value, 1 - decay) if value.is_floating_point() else average.copy_(value)

    # --- validation ----------------------------------------------------------------------------------------------

    def validate(self, records: Sequence[Record]) -> float:
        """Mean of the IoU with one click and with a box, of the averaged weights; the best ones are kept."""
        from ..evaluation import evaluate  # needs more packages than a run without validation

        report = evaluate(self.averaged(), records, baselines=False)
        score = float(np.mean([row.scores[measure] for row in report.rows for measure in ("1 click", "box")]))
        if score > self.best_score:
            self.best_score, self.best, self.looks_since_best = score, _copy(self.average), 0
        else:
            self.looks_since_best += 1
        return score

    @property
    def has_converged(self) -> bool:
        """Whether the last `patience` looks brought nothing better."""
        return 0 < self.recipe.patience <= self.looks_since_best

    def averaged(self) -> SAM:
        """A copy of the model with the averaged weights, low-rank updates folded in, in evaluation mode."""
        return self._with(self.average)

    def _with(self, state: dict[str, torch.Tensor]) -> SAM:
        model = copy.deepcopy(self.model)
        model.load_state_dict(state)
        merge_lora(model)
        return model.eval().requires_grad_(False)

    # --- storage -------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `checkpoint.pt`, each in one move; in this order, so that no checkpoint of a
        finished run stands without the run's weights.
        """
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
            "best_score": self.best_score,
            "looks_since_best": self.looks_since_best,
        }
        self._with(self.best or self.average).save(folder / "model.partial")
        os.replace(folder / "model.partial", folder / "model.safetensors")
        torch.save(state, folder / "checkpoint.partial")
        os.replace(folder / "checkpoint.partial", folder / "checkpoint.pt")

    def resume(self, folder: Path) -> None:
        """Go on from `folder/checkpoint.pt` if it is there."""
        path = folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True, map_location=self.model.device)
        self.model.load_state_dict(state.pop("model"))
        self.optimizer.load_state_dict(state.pop("optimizer"))
        vars(self).update(state)


def _sampler(model: SAM, records: Sequence[Record], recipe: Recipe, folder: Path) -> Sampler:
    if not recipe.cached_views:
        return PictureSampler(records, recipe.source_weights, input_scale(model))
    views = cache_views(model, records, folder / "embeddings", views=recipe.cached_views, seed=recipe.seed)
    return CachedSampler(views, recipe.source_weights, model.config.image_size)


def _prefetch(sampler: Sampler, recipe: Recipe, start: int) -> Iterator[MicroBatches]:
    """Draw each step's batches in a thread, one step ahead of the one that uses them."""

    def draw(step: int) -> MicroBatches:
        rng = np.random.default_rng([recipe.seed, step])
        draws = recipe.stage_at(step).draws
        shares = np.array([kind.share for kind in draws])
        kinds = [draws[rng.choice(len(draws), p=shares / shares.sum())] for _ in range(recipe.accumulate)]
        return [(kind, sampler.draw(kind, rng)) for kind in kinds]

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(draw, start)
        for step in range(start, recipe.steps):
            batches = ahead.result()
            if step + 1 < recipe.steps:
                ahead = pool.submit(draw, step + 1)
            yield batches


def _metrics(step: int, size: int, losses: list[Losses], rate: float, speed: float) -> Metrics:
    def mean(name: str) -> float | None:
        values = [float(value) for each in losses if (value := getattr(each, name)) is not None]
        return float(np.mean(values)) if values else None

    ious = {name: mean(name) for name in ("click_iou", "box_iou", "corrected_iou")}
    return Metrics(step, size, mean("decoder"), mean("affinity"), **ious, learning_rate=rate, masks_per_second=speed)


def _plain_attention(device: torch.device):
    backends = [SDPBackend.MATH] if device.type == "cpu" else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(backends)


def _copy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
