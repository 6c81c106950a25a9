"""Which parts of a model learn, and how fast: freezing, progressive unfreezing, slower rates for lower layers."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import nn

from ..model import SAM
from .recipe import Recipe


def freeze(model: nn.Module, frozen: Iterable[str], released: Iterable[str] = ()) -> None:
    """Train exactly what no prefix in `frozen` names, or one in `released` names again.

    A frozen part is put into evaluation mode, so that its batch normalisation keeps its statistics too. Low-rank
    updates (`lora`) always learn.
    """
    frozen, released = tuple(frozen), tuple(released)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = is_update(name) or _below(name, released) or not _below(name, frozen)
    model.train()
    for name, module in model.named_modules():
        if name and _below(name, frozen) and not _below(name, released):
            module.training = any(part.requires_grad for part in module.parameters(recurse=False))


def require_parts(model: nn.Module, prefixes: Iterable[str]) -> None:
    """`ValueError` naming the first prefix that names no part of the model."""
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(_below(name, [prefix]) for name in names):
            parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            raise ValueError(f"the recipe names the part {prefix!r}, which the model does not have; it has {parts}")


def is_update(name: str) -> bool:
    """Whether a parameter is a low-rank update."""
    return ".lora_" in name


def parameter_groups(model: SAM, recipe: Recipe) -> list[dict]:
    """All parameters for AdamW: one group per encoder layer and kind, with `scale`, its share of the learning rate.

    Vectors (biases, normalisation) are not decayed. Frozen parameters are in their groups as well: without a gradient
    the optimizer leaves them alone, and they learn from the step that releases them.
    """
    depths = layer_depths(model)
    deepest = max(depths.values(), default=0)
    groups: dict[tuple[float, float], dict] = {}
    for name, parameter in model.named_parameters():
        depth = depths.get(_layer_of(name), deepest) if name.startswith("image_encoder.") else deepest
        scale = recipe.layer_decay ** (deepest - depth)
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        group = groups.setdefault((scale, decay), {"params": [], "weight_decay": decay, "scale": scale})
        group["params"].append(parameter)
    return list(groups.values())


def layer_depths(model: SAM) -> dict[str, int]:
    """The encoder's layers from its input (0) on: children, and the members of those that are lists of blocks."""
    layers = dict.fromkeys(_layer_of(name) for name, _ in model.named_parameters() if name.startswith("image_encoder."))
    return {layer: depth for depth, layer in enumerate(layers)}


def build_optimizer(model: SAM, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over `parameter_groups`."""
    groups = parameter_groups(model, recipe)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def _layer_of(name: str) -> str:
    """`image_encoder.blocks.3.attn.qkv.weight` -> `image_encoder.blocks.3`; `image_encoder.neck.0.weight` likewise."""
    return re.match(r"[^.]+\.[^.]+(\.\d+)?", name)[0]


def _below(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)
