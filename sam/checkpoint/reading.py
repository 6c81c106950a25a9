"""A weights file of any published layout, as tensors under Meta's names. No code in it is ever run."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..config import DecoderConfig, SAMConfig
from ..hub import hugging_face
from .errors import CheckpointError, first_line, listed

State = dict[str, Tensor]

BUNDLE_KEYS = ("model", "state_dict", "model_state_dict", "model_state", "net")
PREFIXES = ("module.", "model.", "sam.")


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file: tensors under Meta's names, and what the file or its neighbours say about the model."""

    path: Path
    state: State
    config: SAMConfig | None = None
    decoder_heads: int | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a weights file without running code in it; `CheckpointError` says what is wrong with it."""
    try:
        state, metadata = _read_safetensors(path) if _is_safetensors(path) else (_read_pickle(path), {})
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if any(key.startswith("vision_encoder.") for key in state):
        return Checkpoint(path, hugging_face.to_meta(state), decoder_heads=_hugging_face_heads(path))
    config = _read_config(path, metadata["config"]) if "config" in metadata else None
    return Checkpoint(path, state, config)


def _is_safetensors(path: Path) -> bool:
    """A safetensors file starts with eight bytes of length and a JSON object."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the handle is no mapping
            return _strip_prefixes(state), file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: a damaged or truncated safetensors file ({error})") from error


def _read_pickle(path: Path) -> State:
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        found = f"holds pickled objects or code ({code[1]}), which are never loaded" if code else "not a checkpoint"
        raise CheckpointError(f"{path}: {found}") from error
    except Exception as error:  # a damaged pickle trips its reader over whatever the damage made of it
        raise CheckpointError(f"{path}: not a checkpoint, or a truncated one ({first_line(error)})") from error
    for key in BUNDLE_KEYS:
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
    if not isinstance(data, dict) or not data:
        raise CheckpointError(f"{path}: holds {type(data).__name__}, not a dictionary of tensors")
    others = [f"{key} ({type(value).__name__})" for key, value in data.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(f"{path}: not only tensors: {listed(others)}")
    return _strip_prefixes(data)


def _strip_prefixes(state: State) -> State:
    """Remove the prefixes that wrappers put before every key."""
    for prefix in PREFIXES * 2:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _read_config(path: Path, text: str) -> SAMConfig:
    try:
        return SAMConfig.from_dict(json.loads(text))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its configuration is not valid: {error}") from error


def _hugging_face_heads(path: Path) -> int:
    """The decoder's head count from the `config.json` beside the weights, the published 8 without one."""
    beside = path.with_name("config.json")
    if not beside.exists():
        return DecoderConfig.num_heads
    try:
        return json.loads(beside.read_text())["mask_decoder_config"]["num_attention_heads"]
    except KeyError:
        return DecoderConfig.num_heads
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{beside}: not a Hugging Face configuration ({error})") from error
