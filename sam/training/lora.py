"""Low-rank adaptation: a few trainable numbers beside frozen attention projections, folded into them at the end.

Source: Hu et al. 2021 (LoRA). W x becomes W x + (alpha / rank) B A x with A (rank, in) random and B (out, rank) zero,
so nothing changes at first. Any SAM here has such projections: `qkv` and `proj` in the encoders, `q_proj`, `k_proj`,
`v_proj` and `out_proj` in the decoder.

>>> apply_lora(model, rank=4, alpha=8)   # then train the parameters that require a gradient
>>> merge_lora(model).save("mine.safetensors")
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ATTENTION = ("qkv", "proj", "q_proj", "k_proj", "v_proj", "out_proj")
"""Names of the attention projections in every encoder and in the decoder."""


class LoRALinear(nn.Module):
    """A frozen linear layer and its low-rank change: (..., in) -> (..., out).

    `base` is the layer as it was; `lora_a` (rank, in) and `lora_b` (out, rank) have its type and device.
    `ValueError` for a rank that the layer has not, or an alpha that is not positive.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        _require_rank(base, rank, alpha)
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.lora_a = nn.Parameter(torch.randn_like(base.weight[:rank]) * base.in_features**-0.5)
        self.lora_b = nn.Parameter(torch.zeros_like(base.weight[:, :rank]))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scale * F.linear(F.linear(x, self.lora_a), self.lora_b)

    @property
    def bias(self) -> torch.Tensor | None:
        """What zeros become, as of any linear layer: the low-rank change leaves them zeros."""
        return self.base.bias

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """`base`, changed in place to answer as this layer does; summed in float32 at least."""
        wide = torch.promote_types(self.base.weight.dtype, torch.float32)
        change = self.scale * (self.lora_b.to(wide) @ self.lora_a.to(wide))
        self.base.weight.copy_(self.base.weight.to(wide) + change)
        return self.base


def apply_lora(module: nn.Module, rank: int, alpha: float, targets: Collection[str] | None = None) -> list[str]:
    """Freeze `module` and give its attention projections trainable low-rank changes; the names of those, in order.

    targets: which linear layers, by name or by the end of their dotted name (`qkv`, `blocks.11.attn.qkv`); all
    attention projections by default. For one part of a model give that part: `apply_lora(model.image_encoder, ...)`.
    What else shall be trained is unfrozen afterwards. Raises `ValueError`, before anything is changed, for a target
    that no linear layer has, for layers that have their change already, and for a rank higher than a layer's.
    """
    if isinstance(targets, str):
        raise ValueError(f"targets must be a collection of names, got {targets!r}; write [{targets!r}]")
    found = _matching(module, ATTENTION if targets is None else targets)
    unmatched = [target for target in targets or () if not any(_ends_with(name, target) for name in found)]
    if unmatched or not found:
        names = ", ".join(unmatched or ATTENTION)
        raise ValueError(f"no linear layer of {type(module).__name__} is called {names}")
    for layer in found.values():
        _require_rank(layer, rank, alpha)
    module.requires_grad_(False)
    for name, layer in found.items():
        module.set_submodule(name, LoRALinear(layer, rank, alpha))
    return list(found)


def merge_lora(module: nn.Module) -> nn.Module:
    """Fold every low-rank change into its layer, in place: the published keys again, the same answers; `module`.

    Without any change nothing happens. What was frozen stays frozen.
    """
    for name, layer in list(_layers(module, LoRALinear)):
        module.set_submodule(name, layer.merged())
    return module


def lora_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """The numbers that `apply_lora` added."""
    for _, layer in _layers(module, LoRALinear):
        yield from (layer.lora_a, layer.lora_b)


def _require_rank(layer: nn.Linear, rank: int, alpha: float) -> None:
    highest = min(layer.in_features, layer.out_features)
    if not 1 <= rank <= highest:
        raise ValueError(f"rank {rank} must be 1 to {highest} for {layer.in_features} -> {layer.out_features} features")
    if not alpha > 0:
        raise ValueError(f"alpha {alpha} must be positive")


def _matching(module: nn.Module, targets: Collection[str]) -> dict[str, nn.Linear]:
    """Linear layers by dotted name whose name ends with one of `targets`."""
    adapted = [name for name, _ in _layers(module, LoRALinear)]
    if adapted:
        raise ValueError(f"{adapted[0]} has a low-rank change already; merge_lora first")
    return {name: layer for name, layer in _layers(module, nn.Linear) if any(_ends_with(name, t) for t in targets)}


def _layers(module: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    return ((name, layer) for name, layer in module.named_modules() if name and isinstance(layer, kind))


def _ends_with(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")
