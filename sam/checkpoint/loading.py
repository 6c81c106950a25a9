"""From the name of a model, or a file, to the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from ..config import VARIANTS, Preprocessing, SAMConfig, Size, ViTConfig, as_size
from ..model import SAM
from .blaming import blame
from .errors import CheckpointError
from .inferring import infer_config
from .locating import locate
from .reading import Checkpoint, read_checkpoint


def load_sam(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    variant: str | SAMConfig | None = None,
    preprocessing: Preprocessing | None = None,
    img_size: int | Size | None = None,
    download: bool = False,
) -> SAM:
    """Load a model, float32 and in eval mode.

    source: the name of an embedded model (`tiny`), a file, a Hugging Face folder, the name of a published checkpoint
    (`vit_b`; see `sam.hub.published`) or a Hugging Face repository (`owner/name`). Read are Meta's, MobileSAM's and
    MedSAM's `.pth`, Hugging Face `SamModel` weights, and what `SAM.save` writes; bundles (`{"model": ...}`) and common
    prefixes are unwrapped. variant: refuse anything but this one, a name in `VARIANTS` or `medsam`; a `SAMConfig`
    says what no tensor tells (the decoder's num_heads is taken as 8). Without it the configuration comes from the
    file or is inferred from its tensors. preprocessing: `medsam` for MedSAM's own files, whose weights look like
    vit_b's; the published name says so by itself. download: agree to fetch a published checkpoint that is not on this
    machine; without it nothing is fetched, and the error says how to get it. img_size: pixels of the model input for
    weights of vit_t or tiny that carry no configuration and were made for others than 1024. Raises `CheckpointError`.
    """
    found = locate(source, download=download)
    checkpoint = read_checkpoint(found.path)
    preprocessing = preprocessing or found.preprocessing
    try:
        config = _choose_config(checkpoint, variant)
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"{checkpoint.path}: not the weights of a SAM; {_missing(error)}") from error
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error
    if preprocessing is not None:
        config = replace(config, preprocessing=preprocessing)
    if img_size is not None:
        config = _with_img_size(config, img_size, checkpoint.path)
    model = SAM.from_config(config)
    try:
        model.load_state_dict(checkpoint.state)
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint.path}: {blame(checkpoint.state, config)}") from error
    return model.to(device).eval()


def build_variant(variant: str, checkpoint: str | Path | None = None) -> SAM:
    """Build a variant as `segment_anything` does, in eval mode: with random weights, or strictly with a file's."""
    if checkpoint is not None:
        return load_sam(checkpoint, variant=variant)
    return SAM.from_config(_variant_config(variant)).eval()


sam_model_registry: dict[str, Callable[..., SAM]] = {
    "default": partial(build_variant, "vit_h"),
    **{name: partial(build_variant, name) for name in (*VARIANTS, "medsam")},
}
"""Meta's registry: `sam_model_registry["vit_b"](checkpoint=None)`, strict to that variant."""

build_sam = build_sam_vit_h = sam_model_registry["vit_h"]
build_sam_vit_l = sam_model_registry["vit_l"]
build_sam_vit_b = sam_model_registry["vit_b"]


def _variant_config(variant: str) -> SAMConfig:
    if variant == "medsam":
        return replace(VARIANTS["vit_b"], preprocessing="medsam")
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r} is unknown; use one of {', '.join((*VARIANTS, 'medsam'))}")
    return VARIANTS[variant]


def _choose_config(checkpoint: Checkpoint, variant: str | SAMConfig | None) -> SAMConfig:
    wanted = _variant_config(variant) if isinstance(variant, str) else variant
    stored = checkpoint.config
    if wanted is None:
        return stored or infer_config(checkpoint.state, decoder_heads=checkpoint.decoder_heads)
    if stored is None:
        return wanted
    if (stored.image_encoder, stored.mask_decoder) != (wanted.image_encoder, wanted.mask_decoder):
        raise ValueError(f"holds the model {stored.model_id}, not {wanted.model_id} as asked for")
    return replace(stored, preprocessing=wanted.preprocessing)


def _with_img_size(config: SAMConfig, img_size: int | Size, path: Path) -> SAMConfig:
    encoder = config.image_encoder
    if isinstance(encoder, ViTConfig) and as_size(img_size) != encoder.input_hw:
        raise CheckpointError(f"{path}: the positions of its encoder are for {encoder.input_hw} pixels, not {img_size}")
    return replace(config, image_encoder=replace(encoder, img_size=img_size))


def _missing(error: Exception) -> str:
    return f"missing: {error.args[0]}" if isinstance(error, KeyError) else "a tensor has too few axes"
