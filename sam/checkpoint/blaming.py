"""What keeps weights from loading: which part of the model they differ in, and which would fit."""

from __future__ import annotations

import torch

from ..config import VARIANTS, SAMConfig
from ..model import SAM
from .errors import listed
from .reading import State

PARTS = {
    "image encoder": "image_encoder.",
    "prompt encoder": "prompt_encoder.",
    "mask decoder": "mask_decoder.",
    "no part of a SAM": "",
}


def blame(state: State, config: SAMConfig) -> str:
    """Say what keeps `state` from loading, measured against the closest of `config` and the published variants.

    One damaged tensor misleads the inference, and every honest key would be blamed instead.
    """
    kind = type(config.image_encoder)
    candidates = [config, *(variant for variant in VARIANTS.values() if isinstance(variant.image_encoder, kind))]
    return min((_compare(state, candidate) for candidate in candidates), key=lambda found: found[0])[1]


def _compare(state: State, config: SAMConfig) -> tuple[int, str]:
    """Number of wrong keys against `config`'s model, and a sentence on the parts that differ, and those that do not."""
    with torch.device("meta"):
        expected = {key: tuple(tensor.shape) for key, tensor in SAM.from_config(config).state_dict().items()}
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    mis_shaped = {
        key: f"{key} is {tuple(state[key].shape)}, not {shape}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    }
    kinds = {"missing": missing, "unexpected": unexpected, "mis-shaped": [*mis_shaped]}
    faults = {part: [] for part in PARTS}
    for kind, keys in kinds.items():
        for part in PARTS:
            if found := [mis_shaped.get(key, key) for key in keys if _part_of(key) == part]:
                faults[part].append(f"{len(found)} {kind}: {listed(found)}")
    differing = "; ".join(f"{part}: {', '.join(found)}" for part, found in faults.items() if found)
    fitting = [part for part in [*PARTS][:3] if not faults[part]]
    rest = f"; {' and '.join(fitting)} would fit" if fitting else ""
    return sum(map(len, kinds.values())), f"the weights do not fit the model {config.model_id}; {differing}{rest}"


def _part_of(key: str) -> str:
    return next(part for part, prefix in PARTS.items() if key.startswith(prefix))
