"""Hugging Face's layout of a SAM: names of tensors and configuration, to Meta's and back. Plain data, no library.

Source: `transformers.models.sam`, which keeps the tensors of the original under names of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ..config import SAMConfig, ViTConfig

State = dict[str, Tensor]

POSITIONS = "prompt_encoder.shared_embedding.positional_embedding"
TIED = "shared_image_embedding.positional_embedding"
"""Two names of one tensor."""

PREFIXES = (
    ("vision_encoder.patch_embed.projection.", "image_encoder.patch_embed.proj."),
    ("vision_encoder.layers.", "image_encoder.blocks."),
    ("vision_encoder.neck.conv1.", "image_encoder.neck.0."),
    ("vision_encoder.neck.layer_norm1.", "image_encoder.neck.1."),
    ("vision_encoder.neck.conv2.", "image_encoder.neck.2."),
    ("vision_encoder.neck.layer_norm2.", "image_encoder.neck.3."),
    ("vision_encoder.", "image_encoder."),
    (POSITIONS, "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    ("prompt_encoder.point_embed.", "prompt_encoder.point_embeddings."),
    ("prompt_encoder.mask_embed.conv1.", "prompt_encoder.mask_downscaling.0."),
    ("prompt_encoder.mask_embed.layer_norm1.", "prompt_encoder.mask_downscaling.1."),
    ("prompt_encoder.mask_embed.conv2.", "prompt_encoder.mask_downscaling.3."),
    ("prompt_encoder.mask_embed.layer_norm2.", "prompt_encoder.mask_downscaling.4."),
    ("prompt_encoder.mask_embed.conv3.", "prompt_encoder.mask_downscaling.6."),
    ("mask_decoder.upscale_conv1.", "mask_decoder.output_upscaling.0."),
    ("mask_decoder.upscale_layer_norm.", "mask_decoder.output_upscaling.1."),
    ("mask_decoder.upscale_conv2.", "mask_decoder.output_upscaling.3."),
)  # fmt: skip
"""How keys begin there, and how Meta's begin; the first that fits counts."""

HEAD_LAYER = re.compile(
    r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.(proj_in|proj_out|layers\.\d+)\."
)


# --- tensors ---------------------------------------------------------------------------------------------------------


def to_meta(state: State) -> State:
    """Give `SamModel` tensors Meta's names."""
    depths = _head_depths(state)
    return {_meta_name(key.replace(TIED, POSITIONS), depths): tensor for key, tensor in state.items()}


def from_meta(state: State) -> State:
    """Give Meta's tensors `SamModel`'s names, the tied one under both."""
    depths = _head_depths(state)
    renamed = {_hugging_face_name(key, depths): tensor for key, tensor in state.items()}
    return renamed | {TIED: renamed[POSITIONS].clone()}


def _meta_name(key: str, depths: dict[str, int]) -> str:
    """Meta's name; a head's proj_in, layers and proj_out are numbered through."""
    if match := HEAD_LAYER.match(key):
        head, layer = match.groups()
        last = depths.get(head, 0) + 1
        number = {"proj_in": 0, "proj_out": last}.get(layer)
        number = int(layer.removeprefix("layers.")) + 1 if number is None else number
        return f"{head}.layers.{number}.{key[match.end() :]}"
    key = _with_prefix(key, PREFIXES)
    return re.sub(r"\.layer_norm(\d|_final_attn)\.", r".norm\1.", key)


def _hugging_face_name(key: str, depths: dict[str, int]) -> str:
    if match := HEAD_LAYER.match(key):
        head, number = match[1], int(match[2].removeprefix("layers."))
        layer = {0: "proj_in", depths[head] - 1: "proj_out"}.get(number, f"layers.{number - 1}")
        return f"{head}.{layer}.{key[match.end() :]}"
    key = _with_prefix(key, ((ours, theirs) for theirs, ours in PREFIXES))
    return re.sub(r"\.norm(\d|_final_attn)\.", r".layer_norm\1.", key)


def _with_prefix(key: str, renames: Iterable[tuple[str, str]]) -> str:
    """With the first old prefix that fits replaced by its new one."""
    return next((new + key.removeprefix(old) for old, new in renames if key.startswith(old)), key)


def _head_depths(state: State) -> dict[str, int]:
    """How many numbered layers every head has."""
    layers = {match[0]: match[1] for match in map(HEAD_LAYER.match, state) if match and match[2].startswith("layers.")}
    return {head: list(layers.values()).count(head) for head in layers.values()}


# --- configuration ---------------------------------------------------------------------------------------------------


def model_config(config: SAMConfig) -> dict[str, Any]:
    """`config.json` of a `SamModel`; `ValueError` says what of `config` it cannot express."""
    encoder, decoder = config.image_encoder, config.mask_decoder
    if not isinstance(encoder, ViTConfig) or encoder.input_hw[0] != encoder.input_hw[1]:
        raise ValueError(f"SamModel has no encoder like that of {config.model_id}: only a ViT on square pictures")
    if decoder.width is not None:
        raise ValueError(
            f"SamModel's decoder is as wide as the embedding, {encoder.out_chans} channels; "
            f"that of {config.model_id} has {decoder.width}"
        )
    return {
        "architectures": ["SamModel"],
        "model_type": "sam",
        "vision_config": {
            "hidden_size": encoder.embed_dim,
            "output_channels": encoder.out_chans,
            "num_hidden_layers": encoder.depth,
            "num_attention_heads": encoder.num_heads,
            "image_size": config.image_size,
            "patch_size": encoder.patch_size,
            "qkv_bias": encoder.qkv_bias,
            "mlp_ratio": encoder.mlp_ratio,
            "mlp_dim": int(encoder.embed_dim * encoder.mlp_ratio),
            "use_rel_pos": encoder.use_rel_pos,
            "window_size": encoder.window_size,
            "global_attn_indexes": list(encoder.global_attn_indexes),
            "num_pos_feats": encoder.out_chans // 2,
        },
        "prompt_encoder_config": {
            "hidden_size": encoder.out_chans,
            "image_size": config.image_size,
            "patch_size": encoder.patch_size,
            "mask_input_channels": decoder.mask_in_chans,
        },
        "mask_decoder_config": {
            "hidden_size": encoder.out_chans,
            "mlp_dim": decoder.mlp_dim,
            "num_hidden_layers": decoder.depth,
            "num_attention_heads": decoder.num_heads,
            "num_multimask_outputs": decoder.num_multimask_outputs,
            "iou_head_depth": decoder.iou_head_depth,
            "iou_head_hidden_dim": decoder.iou_head_hidden_dim,
        },
    }


def processor_config(config: SAMConfig) -> dict[str, Any]:
    """`preprocessor_config.json` of a `SamProcessor`; `ValueError` for pictures that are not prepared as SAM's."""
    if (config.preprocessing, config.image_format) != ("sam", "RGB"):
        raise ValueError(f"SamProcessor cannot prepare pictures for {config.model_id}: RGB, mean and deviation only")
    height, width = config.image_encoder.input_hw
    return {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": config.image_size},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [value / 255 for value in config.pixel_mean],
        "image_std": [value / 255 for value in config.pixel_std],
        "do_pad": True,
        "pad_size": {"height": height, "width": width},
        "mask_size": {"longest_edge": max(config.low_res_hw)},
        "mask_pad_size": {"height": config.low_res_hw[0], "width": config.low_res_hw[1]},
    }
