"""Ways to compute the image encoder on this machine, how fast each is, and which to take.

All ways take what `SAM.preprocess` makes and return the embedding, as `model.image_encoder` does. Those that are exact
compute in float32 and differ in the last bits only; bf16 keeps 8 bits of every factor and is never taken unless it is
asked for by name. What was measured is kept on disk, for these weights on this machine with these versions.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import whole_file
from .hub.downloads import home_folder
from .model import SAM

Encoder = Callable[[Tensor], Tensor]
"""Normalised and padded pictures (B, 3, H, W) float32 -> embeddings (B, C, h, w) float32."""

TORCH, ONNX_RUNTIME, BF16 = "torch", "onnxruntime", "bf16"
EXACT = (TORCH, ONNX_RUNTIME)
WAYS = (*EXACT, BF16)
AUTO = "auto"

EXACT_WITHIN = 1e-3
"""How far an exact way may be from PyTorch, in units of the embedding's standard deviation."""
BF16_WITHIN = 0.1
"""The same for bf16; measured is 0.007 with random weights of vit_b, and more with trained ones."""
WORTH_A_CHOICE_S = 0.5
"""Encoders that PyTorch runs faster than this are not worth measuring anything else."""


class WayError(ValueError):
    """A way that this machine or this model does not have."""


@dataclass(frozen=True)
class Choice:
    """The way taken, and seconds per encode of every way that was measured; `encoder` computes it."""

    way: str
    seconds: dict[str, float]
    encoder: Encoder

    @property
    def expected_s(self) -> float | None:
        """Seconds that an encode takes this way; None where nothing was measured."""
        return self.seconds.get(self.way)

    def __str__(self) -> str:
        measured = ", ".join(f"{way} {seconds:.2g} s" for way, seconds in sorted(self.seconds.items()))
        return f"{self.way} ({measured})" if measured else self.way


# --- the ways --------------------------------------------------------------------------------------------------------


def prepare(model: SAM, way: str) -> Encoder:
    """`model`'s encoder in this way. `WayError` for one that cannot be had."""
    makers = {TORCH: _torch, ONNX_RUNTIME: _onnx_runtime, BF16: _bf16}
    if way not in makers:
        raise WayError(f"encoder {way!r} is unknown; use one of {', '.join((AUTO, *makers))}")
    return makers[way](model)


def _torch(model: SAM) -> Encoder:
    return model.image_encoder


def _bf16(model: SAM) -> Encoder:
    def encode(image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, torch.bfloat16):
            return model.image_encoder(image).float()

    return encode


def _onnx_runtime(model: SAM) -> Encoder:
    """The encoder's graph in ONNX Runtime, on the processor. Needs twice the encoder's memory while it is made."""
    try:
        import onnxruntime

        from .export import LARGEST_FILE, trace
        from .graphs.contracts import NORMALIZED, example_inputs
    except ImportError as error:
        raise WayError(f"encoder {ONNX_RUNTIME}: {error}; pip install onnx onnxruntime") from error
    weights = sum(4 * weight.numel() for weight in model.image_encoder.parameters())
    if weights >= LARGEST_FILE:
        raise WayError(f"encoder {ONNX_RUNTIME}: its weights are {weights / 1e9:.2f} GB, and a graph holds less than 2")
    graph = trace(NORMALIZED, NORMALIZED.module(model).eval(), example_inputs(NORMALIZED, model.config, 1, 0))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def encode(image: Tensor) -> Tensor:
        parts = [session.run(None, {NORMALIZED.inputs[0]: part.numpy()})[0] for part in image.cpu().split(1)]
        return torch.cat([torch.from_numpy(part) for part in parts]).to(image.device)

    return encode


def has_matrix_unit() -> bool:
    """Whether the processor multiplies matrices of bf16 in hardware (AMX); others compute bf16 more slowly."""
    return torch.cpu._is_amx_tile_supported()


# --- choosing --------------------------------------------------------------------------------------------------------


def choose(model: SAM, wanted: str = AUTO, *, tell: Callable[[str], None] = lambda text: None) -> Choice:
    """The fastest exact way, or the one that is `wanted`; from the notes of an earlier run where there are any.

    A model on a GPU, and a small one, is computed by PyTorch without further questions. tell: is told what takes time.
    Raises `WayError` for a wanted way that cannot be had.
    """
    if wanted != AUTO:
        return Choice(wanted, _noted(model), prepare(model, wanted))
    if model.device.type != "cpu":
        return Choice(TORCH, {}, model.image_encoder)
    seconds = _noted(model) or _measure_and_note(model, tell)
    way = min((way for way in EXACT if way in seconds), key=seconds.__getitem__)
    try:
        return Choice(way, seconds, prepare(model, way))
    except WayError:
        return Choice(TORCH, seconds, model.image_encoder)


def _measure_and_note(model: SAM, tell: Callable[[str], None]) -> dict[str, float]:
    others = (ONNX_RUNTIME, BF16) if has_matrix_unit() else (ONNX_RUNTIME,)
    seconds = measure(model, others, worth_s=WORTH_A_CHOICE_S, tell=tell)
    _note(model, seconds)
    return seconds


@torch.no_grad()
def measure(
    model: SAM, others: Iterable[str], *, worth_s: float = 0.0, tell: Callable[[str], None] = lambda text: None
) -> dict[str, float]:
    """Seconds per encode by PyTorch and, unless that is faster than `worth_s`, by the other ways: the better of two.

    Ways that cannot be had, and those that do not compute the same within their tolerance, are left out.
    """
    image = torch.randn(1, 3, *model.config.image_encoder.input_hw, generator=torch.Generator().manual_seed(0))
    expected, torch_s = _timed(model.image_encoder, image)
    seconds = {TORCH: torch_s}
    if torch_s < worth_s:
        return seconds
    tell(f"Measuring how to encode fastest, once for this model; PyTorch takes {torch_s:.1f} s ...")
    for way in others:
        try:
            answer, way_s = _timed(prepare(model, way), image)
        except (WayError, RuntimeError):
            continue
        if deviation(answer, expected) <= (BF16_WITHIN if way == BF16 else EXACT_WITHIN):
            seconds[way] = way_s
    return seconds


def _timed(encoder: Encoder, image: Tensor) -> tuple[Tensor, float]:
    """The embedding, and seconds: the better of two runs, for the first one also prepares buffers and kernels."""
    seconds = []
    for _ in range(2):
        started_at = time.perf_counter()
        answer = encoder(image)
        seconds.append(time.perf_counter() - started_at)
    return answer, min(seconds)


def deviation(answer: Tensor, expected: Tensor) -> float:
    """The root of the mean squared difference, in units of the expected values' standard deviation."""
    return float((answer - expected).square().mean().sqrt() / expected.std())


# --- notes -----------------------------------------------------------------------------------------------------------


def notes_path() -> Path:
    """The file of all measurements."""
    return home_folder() / "encoders.json"


def _key(model: SAM) -> str:
    """What a measurement depends on."""
    parts = [model.weights_hash(), platform.machine(), _processor(), os.cpu_count(), torch.get_num_threads()]
    parts += [f"{name} {_version(name)}" for name in ("torch", "onnxruntime")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _read_notes() -> dict[str, dict[str, float]]:
    try:
        notes = json.loads(notes_path().read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _noted(model: SAM) -> dict[str, float]:
    noted = _read_notes().get(_key(model), {})
    return {way: seconds for way, seconds in noted.items() if way in WAYS} if TORCH in noted else {}


def _note(model: SAM, seconds: dict[str, float]) -> None:
    """Keep it; a folder that cannot be written costs a measurement at the next start, and nothing else."""
    path = notes_path()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_text(json.dumps(_read_notes() | {_key(model): seconds}, indent=1) + "\n")
