"""Every size of every SAM in one place: frozen configurations, and the table of published variants.

A configuration is plain data: it can be compared, stored as JSON (`to_dict` / `from_dict`) and rejects
contradictions with both numbers. Sizes that follow from others are properties.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Size = tuple[int, int]
"""(height, width), always in this order."""


def as_size(value: int | Size) -> Size:
    """Return `value` as (height, width); a single number means a square."""
    if isinstance(value, int):
        return (value, value)
    height, width = value
    return (int(height), int(width))


def _require_multiple(what: str, value: int, divisor: int, of: str) -> None:
    if divisor <= 0 or value % divisor:
        raise ValueError(f"{what} {value} is not a multiple of {of} {divisor}")


class PictureGrid:
    """What every encoder configuration has: the padded input `img_size` and the `stride` of its embedding."""

    img_size: int | Size
    stride = 16

    @property
    def input_hw(self) -> Size:
        """Height and width of the padded model input, in pixels."""
        return as_size(self.img_size)

    @property
    def grid_hw(self) -> Size:
        """Height and width of the embedding, in cells."""
        height, width = self.input_hw
        return (height // self.stride, width // self.stride)


@dataclass(frozen=True)
class ViTConfig(PictureGrid):
    """ViTDet image encoder (SAM paper, appendix A; Li et al. 2022): `ImageEncoderViT`."""

    img_size: int | Size = 1024
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    out_chans: int = 256
    qkv_bias: bool = True
    use_rel_pos: bool = True
    window_size: int = 14
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)

    def __post_init__(self) -> None:
        for side in self.input_hw:
            _require_multiple("img_size", side, self.patch_size, "patch_size")
        _require_multiple("embed_dim", self.embed_dim, self.num_heads, "num_heads")
        beyond = [index for index in self.global_attn_indexes if not 0 <= index < self.depth]
        if beyond:
            raise ValueError(f"global_attn_indexes {beyond} lie outside the {self.depth} blocks of depth")
        if self.window_size < 0:
            raise ValueError(f"window_size {self.window_size} is negative; 0 means global attention everywhere")

    @property
    def stride(self) -> int:
        """Pixels per embedding cell."""
        return self.patch_size


@dataclass(frozen=True)
class TinyViTConfig(PictureGrid):
    """TinyViT image encoder of MobileSAM (Wu et al. 2022, Zhang et al. 2023): `TinyViT`."""

    img_size: int | Size = 1024
    embed_dims: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (2, 4, 5, 10)
    window_sizes: tuple[int, ...] = (7, 7, 14, 7)
    mlp_ratio: float = 4.0
    mbconv_expand_ratio: float = 4.0
    local_conv_size: int = 3
    out_chans: int = 256

    def __post_init__(self) -> None:
        for side in self.input_hw:
            _require_multiple("img_size", side, self.stride, "stride")
        lengths = {len(self.embed_dims), len(self.depths), len(self.num_heads), len(self.window_sizes)}
        if lengths != {4}:
            raise ValueError(f"embed_dims, depths, num_heads and window_sizes need 4 stages each, got {lengths}")
        for dim, heads in zip(self.embed_dims, self.num_heads, strict=True):
            _require_multiple("embed_dims", dim, heads, "num_heads")


@dataclass(frozen=True)
class TinyConfig(PictureGrid):
    """This project's own small convolutional encoder with attention at the coarsest level: `TinyEncoder`.

    `widths` are the channels at strides 4, 8, 16 and 32 of the halved picture, `depths` the blocks there.
    """

    img_size: int | Size = 1024
    widths: tuple[int, int, int, int] = (64, 128, 224, 288)
    depths: tuple[int, int, int, int] = (1, 2, 2, 4)
    num_heads: int = 8
    out_chans: int = 256

    def __post_init__(self) -> None:
        for side in self.input_hw:
            _require_multiple("img_size", side, 64, "total stride")
        _require_multiple("widths[3]", self.widths[3], self.num_heads, "num_heads")


EncoderConfig = ViTConfig | TinyViTConfig | TinyConfig
ENCODER_CONFIGS: dict[str, type] = {"vit": ViTConfig, "tiny_vit": TinyViTConfig, "tiny": TinyConfig}


@dataclass(frozen=True)
class DecoderConfig:
    """Prompt encoder and mask decoder (SAM paper, appendix A); every published checkpoint uses the defaults.

    `width`: channels of tokens and cells inside the decoder, which projects the embedding to them first; None: as many
    as the embedding has, and no projection, as in every published checkpoint.
    """

    width: int | None = None
    mask_in_chans: int = 16
    depth: int = 2
    num_heads: int = 8
    mlp_dim: int = 2048
    num_multimask_outputs: int = 3
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256

    def __post_init__(self) -> None:
        if self.num_multimask_outputs < 1:
            raise ValueError(f"num_multimask_outputs {self.num_multimask_outputs} must be at least 1")


Preprocessing = Literal["sam", "medsam"]
"""How pixels reach the encoder.

`sam`: long side to the frame (bilinear), minus mean over std, zero padding right and below.
`medsam`: both sides to the frame (bicubic), then min-max to [0, 1]; no mean, no std, no padding.
"""


@dataclass(frozen=True)
class SAMConfig:
    """A complete SAM: its encoder, its decoder, and how pixels reach it."""

    image_encoder: EncoderConfig = field(default_factory=ViTConfig)
    mask_decoder: DecoderConfig = field(default_factory=DecoderConfig)
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    mask_threshold: float = 0.0
    image_format: Literal["RGB", "BGR"] = "RGB"
    preprocessing: Preprocessing = "sam"

    def __post_init__(self) -> None:
        if self.image_format not in ("RGB", "BGR"):
            raise ValueError(f"image_format {self.image_format!r} is unknown; use 'RGB' or 'BGR'")
        if self.preprocessing not in ("sam", "medsam"):
            raise ValueError(f"preprocessing {self.preprocessing!r} is unknown; use 'sam' or 'medsam'")
        if len(self.pixel_mean) != 3 or len(self.pixel_std) != 3:
            raise ValueError(f"pixel_mean {self.pixel_mean} and pixel_std {self.pixel_std} need 3 values each")
        if min(self.pixel_std) <= 0:
            raise ValueError(f"pixel_std {self.pixel_std} must be positive")
        _require_multiple("the decoder's width", self.decoder_width, 8, "its channel split")
        _require_multiple("the decoder's width / 2", self.decoder_width // 2, self.mask_decoder.num_heads, "num_heads")

    @property
    def image_size(self) -> int:
        """Long side of the padded model input, in pixels: the prompt frame."""
        return max(self.image_encoder.input_hw)

    @property
    def embedding_shape(self) -> tuple[int, int, int, int]:
        """Shape of one picture's embedding: (1, channels, height, width)."""
        return (1, self.image_encoder.out_chans, *self.image_encoder.grid_hw)

    @property
    def decoder_width(self) -> int:
        """Channels of tokens and cells inside the decoder."""
        return self.mask_decoder.width or self.image_encoder.out_chans

    @property
    def low_res_hw(self) -> Size:
        """Height and width of the low-resolution mask logits: four times the embedding's."""
        height, width = self.image_encoder.grid_hw
        return (4 * height, 4 * width)

    @property
    def model_id(self) -> str:
        """Name in `VARIANTS`, `medsam` for its preprocessing, or `custom`."""
        if self.preprocessing == "medsam":
            return "medsam"
        parts = (self.image_encoder, self.mask_decoder)
        names = (name for name, of in VARIANTS.items() if (of.image_encoder, of.mask_decoder) == parts)
        return next(names, "custom")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data that `from_dict` reads back."""
        data = asdict(self)
        kinds = {config: kind for kind, config in ENCODER_CONFIGS.items()}
        data["image_encoder"] = {"type": kinds[type(self.image_encoder)], **data["image_encoder"]}
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SAMConfig:
        """Build a configuration from `to_dict` data; unknown keys raise `ValueError` naming them."""
        encoder = dict(data.get("image_encoder", {"type": "vit"}))
        kind = encoder.pop("type", None)
        if kind not in ENCODER_CONFIGS:
            raise ValueError(f"image_encoder type {kind!r} is unknown; use one of {sorted(ENCODER_CONFIGS)}")
        rest = {key: value for key, value in data.items() if key not in ("image_encoder", "mask_decoder")}
        return build_from(
            cls,
            image_encoder=build_from(ENCODER_CONFIGS[kind], **encoder),
            mask_decoder=build_from(DecoderConfig, **data.get("mask_decoder", {})),
            **rest,
        )


def build_from(kind: type, /, **values: Any) -> Any:
    """Construct dataclass `kind`, turning JSON lists into tuples and naming unknown keys."""
    names = [each.name for each in fields(kind)]
    unknown = sorted(values.keys() - set(names))
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(unknown)}; it has {', '.join(names)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


VARIANTS: dict[str, SAMConfig] = {
    "tiny": SAMConfig(TinyConfig(), DecoderConfig(width=128, num_heads=4, mlp_dim=512, iou_head_hidden_dim=128)),
    "vit_t": SAMConfig(TinyViTConfig()),
    "vit_b": SAMConfig(ViTConfig(embed_dim=768, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11))),
    "vit_l": SAMConfig(ViTConfig(embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23))),
    "vit_h": SAMConfig(ViTConfig(embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31))),
}
"""The published models differ in their image encoder only; `tiny`, our own, has a narrower decoder too.

Its decoder's shape was settled by the time a hovering pointer has in a browser: see `sam.graphs.hover`.
"""
