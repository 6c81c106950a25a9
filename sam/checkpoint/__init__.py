"""`load_sam`, the only door for weights: whatever published file it is given, it returns a model in eval mode.
`save_sam` is the way back, for the libraries that published them.

Finding a file, reading it (safetensors, or a pickle of plain tensors), renaming its tensors (to Meta's names) and
inferring the configuration are separate steps on plain values. Loading is strict, and no code in a file is ever run.
"""

from .errors import CheckpointError, CheckpointNotFoundError
from .inferring import infer_config
from .loading import (
    build_sam,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
    build_variant,
    load_sam,
    sam_model_registry,
)
from .locating import EMBEDDED, Located, locate
from .reading import Checkpoint, read_checkpoint
from .saving import Layout, save_sam, whole_file

__all__ = [
    "EMBEDDED",
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "Layout",
    "Located",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "build_variant",
    "infer_config",
    "load_sam",
    "locate",
    "read_checkpoint",
    "sam_model_registry",
    "save_sam",
    "whole_file",
]
