"""Everything that determines a training run besides the data, as frozen values and as one TOML file.

`Recipe.read` takes a file or the name of one in `sam/training/recipes`; an unknown key or an impossible value raises
`ValueError` naming it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ..config import build_from

SHIPPED = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Draw:
    """One kind of batch: `pictures` of `masks` prompts each, in a frame of `size` x `size` model pixels.

    `size` is 1024 at inference; an encoder of a fixed grid knows its own size only, `tiny` any multiple of 128.
    `cells_per_block`: how many cells of each 2x2 block the decoder sees (see `cells`), 4 for all. `share` weighs this
    draw against the others of its stage.
    """

    size: int = 1024
    pictures: int = 4
    masks: int = 8
    cells_per_block: int = 1
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 64 or self.size % 64:
            raise ValueError(f"size {self.size} must be a positive multiple of 64")
        if not 1 <= self.cells_per_block <= 4:
            raise ValueError(f"cells_per_block {self.cells_per_block} must be 1 to 4")
        if min(self.pictures, self.masks) < 1 or self.share <= 0:
            raise ValueError(f"pictures {self.pictures}, masks {self.masks} and share {self.share} must be positive")


@dataclass(frozen=True)
class Stage:
    """A stretch of `steps` optimizer steps whose batches are of the kinds in `draws`, chosen at random by share."""

    steps: int
    draws: tuple[Draw, ...] = (Draw(),)

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.draws:
            raise ValueError(f"a stage needs steps (got {self.steps}) and at least one draw (got {len(self.draws)})")


@dataclass(frozen=True)
class Unfreeze:
    """From `step` on, the parts whose names start with one of `parts` are trained after all."""

    step: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class LoRA:
    """Train low-rank updates of the attention projections below `parts` and keep their weights (Hu et al. 2021)."""

    rank: int = 8
    alpha: float = 16.0
    parts: tuple[str, ...] = ("image_encoder",)


@dataclass(frozen=True)
class Recipe:
    """One run. Rates are AdamW's; names of parts are prefixes of parameter names (`image_encoder.blocks.3`)."""

    stages: tuple[Stage, ...]
    learning_rate: float = 3e-4
    final_learning_rate: float = 1e-6
    """The rate falls linearly to this one over the whole run."""
    warmup_steps: int = 100
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    """Each encoder layer learns this much slower than the one after it (Clark et al. 2020); 1: all alike."""
    clip_norm: float = 1.0
    accumulate: int = 1
    """Batches whose gradients are averaged into one step."""
    ema_decay: float = 0.998
    """Of the moving average of the weights, which is what a run ends with."""
    affinity_weight: float = 0.3
    refinement_shares: tuple[float, ...] = (0.35, 0.35, 0.2, 0.1)
    """How often a step adds 0, 1, 2 ... corrections after the first prompt."""
    frozen: tuple[str, ...] = ()
    unfreeze: tuple[Unfreeze, ...] = ()
    lora: LoRA | None = None
    cached_views: int = 0
    """With a frozen encoder: encode so many augmented views of each picture once, train on those; 0: on the fly."""
    validate_every: int = 0
    """Steps between looks at the validation pictures, if there are any; 0: never."""
    patience: int = 0
    """Stop after so many looks without a new best; 0: never."""
    source_weights: Mapping[str, float] = field(default_factory=dict)
    """How much more (or less) often a source is drawn than the square root of its number of pictures says."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a recipe needs at least one [[stages]]")
        if self.accumulate < 1:
            raise ValueError(f"accumulate {self.accumulate} must be at least 1")
        if self.lora and not set(self.lora.parts) <= set(self.frozen):
            raise ValueError(f"lora.parts {self.lora.parts} must be frozen too, got frozen = {self.frozen}")
        if self.cached_views and not self.freezes("image_encoder"):
            raise ValueError('cached_views needs frozen = ["image_encoder"] and nothing of it in unfreeze or lora')

    @classmethod
    def read(cls, source: str | Path) -> Recipe:
        """Read a TOML file, or a shipped recipe by its name."""
        named = SHIPPED / f"{source}.toml"
        path = named if named.exists() else Path(source)
        if not path.exists():
            names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
            raise ValueError(f"no recipe {str(source)!r}: name a TOML file, or one of {names}")
        try:
            return _build(cls, tomllib.loads(path.read_text()))
        except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage that step number `step` (from 0) belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then straight down to the final rate."""
        progress = step / max(1, self.steps)
        rate = self.learning_rate + (self.final_learning_rate - self.learning_rate) * progress
        return rate * min(1.0, (step + 1) / max(1, self.warmup_steps))

    @property
    def named_parts(self) -> tuple[str, ...]:
        """Every part that the recipe names."""
        return (*self.frozen, *(part for each in self.unfreeze for part in each.parts))

    def frozen_at(self, step: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Prefixes that are frozen at a step, and prefixes that were released again."""
        released = (part for each in self.unfreeze if step >= each.step for part in each.parts)
        return self.frozen, tuple(released)

    def freezes(self, part: str) -> bool:
        """Whether a part stays as it is for the whole run."""
        touched = [*(name for each in self.unfreeze for name in each.parts), *(self.lora.parts if self.lora else ())]
        return part in self.frozen and not any(name.startswith(part) or part.startswith(name) for name in touched)

    def scaled(self, scale: float) -> Recipe:
        """The same run with `scale` times the steps, at least one a stage."""
        return replace(
            self,
            stages=tuple(replace(stage, steps=max(1, round(stage.steps * scale))) for stage in self.stages),
            unfreeze=tuple(replace(each, step=round(each.step * scale)) for each in self.unfreeze),
            warmup_steps=max(1, round(self.warmup_steps * scale)),
        )


def _build(kind: type, values: Mapping[str, Any]) -> Any:
    """Construct a dataclass of dataclasses from TOML's tables and lists."""
    hints = get_type_hints(kind)
    return build_from(kind, **{name: _convert(hints.get(name), value) for name, value in values.items()})


def _convert(hint: Any, value: Any) -> Any:
    inner = next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)
    if isinstance(value, list):
        return tuple(_convert(inner, each) if inner else each for each in value)
    return _build(inner, value) if inner and isinstance(value, dict) else value
