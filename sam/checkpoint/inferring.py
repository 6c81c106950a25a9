"""A model's configuration, read off the shapes of its tensors."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import torch

from ..config import VARIANTS, DecoderConfig, EncoderConfig, SAMConfig, TinyConfig, TinyViTConfig, ViTConfig
from .errors import listed
from .reading import State


def infer_config(state: State, *, decoder_heads: int | None = None) -> SAMConfig:
    """Read the sizes off the tensors' shapes; `KeyError` names a key it needs and does not find.

    No shape tells the decoder's heads: `decoder_heads`, or those of the published models, or of our narrow decoders.
    """
    encoder, decoder = _infer_encoder(state), _infer_decoder(state)
    return SAMConfig(encoder, replace(decoder, num_heads=decoder_heads or _usual_heads(decoder)))


def _usual_heads(decoder: DecoderConfig) -> int:
    tiny = VARIANTS["tiny"].mask_decoder
    return DecoderConfig.num_heads if decoder.width is None else max(1, decoder.width * tiny.num_heads // tiny.width)


def _infer_encoder(state: State) -> EncoderConfig:
    if any(key.startswith("image_encoder.blocks.") for key in state):
        return _infer_vit(state)
    if any(key.startswith("image_encoder.layers.") for key in state):
        return _infer_tiny_vit(state)
    if any(key.startswith("image_encoder.stride32.") for key in state):
        return _infer_tiny(state)
    raise ValueError(f"no image encoder that is known here; it holds {listed(state)}")


def _infer_vit(state: State) -> ViTConfig:
    _, rows, columns, embed_dim = state["image_encoder.pos_embed"].shape
    patch = state["image_encoder.patch_embed.proj.weight"].shape[-1]
    depth = _count(state, r"image_encoder\.blocks\.(\d+)\.")

    def table(index: int, axis: str) -> torch.Size:
        return state[f"image_encoder.blocks.{index}.attn.rel_pos_{axis}"].shape

    spans = [(table(index, "h")[0], table(index, "w")[0]) for index in range(depth)]  # n cells have 2n - 1 distances
    whole = (2 * rows - 1, 2 * columns - 1)
    windows = {span for span in spans if span != whole}
    if len(windows) > 1:
        raise ValueError(f"windows of different sizes: rel_pos tables of {sorted(windows)} rows")
    return ViTConfig(
        img_size=rows * patch if rows == columns else (rows * patch, columns * patch),
        patch_size=patch,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // table(0, "h")[1],
        mlp_ratio=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / embed_dim,
        out_chans=state["image_encoder.neck.0.weight"].shape[0],
        qkv_bias="image_encoder.blocks.0.attn.qkv.bias" in state,
        window_size=(min(windows)[0] + 1) // 2 if windows else ViTConfig.window_size,
        global_attn_indexes=tuple(index for index, span in enumerate(spans) if span == whole),
    )


def _infer_tiny_vit(state: State) -> TinyViTConfig:
    """Stage 0 has no attention, and no tensor depends on img_size: both take the published values."""

    def shape(key: str) -> torch.Size:
        return state[f"image_encoder.{key}"].shape

    steps = [shape(f"layers.{stage}.downsample.conv1.c.weight") for stage in range(3)]
    biases = [shape(f"layers.{stage}.blocks.0.attn.attention_biases") for stage in range(1, 4)]
    expanded, dim = shape("layers.0.blocks.0.conv1.c.weight")[:2]
    hidden, attended_dim = shape("layers.1.blocks.0.mlp.fc1.weight")
    return TinyViTConfig(
        embed_dims=(dim, *(step[0] for step in steps)),
        depths=tuple(_count(state, rf"image_encoder\.layers\.{stage}\.blocks\.(\d+)\.") for stage in range(4)),
        num_heads=(TinyViTConfig.num_heads[0], *(bias[0] for bias in biases)),
        window_sizes=(TinyViTConfig.window_sizes[0], *(math.isqrt(bias[1]) for bias in biases)),
        mlp_ratio=hidden / attended_dim,
        mbconv_expand_ratio=expanded / dim,
        local_conv_size=shape("layers.1.blocks.0.local_conv.c.weight")[-1],
        out_chans=shape("neck.0.weight")[0],
    )


def _infer_tiny(state: State) -> TinyConfig:
    widths = [state[f"image_encoder.{step}.c.weight"].shape[0] for step in ("stem.2", "down8", "down16", "down32")]
    depths = [_count(state, rf"image_encoder\.stride{stride}\.(\d+)\.") for stride in (4, 8, 16, 32)]
    out_chans = state["image_encoder.fusion.out.weight"].shape[0]
    return TinyConfig(widths=tuple(widths), depths=tuple(depths), out_chans=out_chans)


def _infer_decoder(state: State) -> DecoderConfig:
    projection = state.get("mask_decoder.embedding_projection.weight")
    return DecoderConfig(
        width=None if projection is None else projection.shape[0],
        mask_in_chans=state["prompt_encoder.mask_downscaling.6.weight"].shape[1],
        depth=_count(state, r"mask_decoder\.transformer\.layers\.(\d+)\."),
        mlp_dim=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        num_multimask_outputs=state["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        iou_head_depth=_count(state, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
        iou_head_hidden_dim=state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    )


def _count(state: State, pattern: str) -> int:
    """How many different numbers `pattern` finds at the start of the keys."""
    return len({match[1] for match in map(re.compile(pattern).match, state) if match})
