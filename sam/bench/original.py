"""The original generator with our weights, where `segment_anything` is installed (it is a test dependency).

It takes resizing and suppression of boxes from torchvision. Where that is missing, this module stands in for the four
functions it uses: resizing by Pillow, and suppression by ours, whose cost is small on either side.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..automatic.boxes import box_area, suppress_duplicates
from ..config import ViTConfig
from ..model import SAM


def original_generator(model: SAM, **settings: Any) -> Any:
    """`segment_anything.SamAutomaticMaskGenerator` over a copy of `model` built of the original's modules."""
    return original_package().SamAutomaticMaskGenerator(original_model(model), **settings)


def original_package() -> ModuleType:
    """`segment_anything`, with stand-ins for torchvision if need be; `RuntimeError` says how to install it."""
    missing = {} if importlib.util.find_spec("torchvision") else _torchvision()
    sys.modules.update(missing)
    try:
        return importlib.import_module("segment_anything")
    except ImportError as error:
        raise RuntimeError(f"the original generator is missing ({error}); pip install segment-anything") from error
    finally:
        for name in missing:  # nobody else is to find them
            del sys.modules[name]


def original_model(model: SAM) -> nn.Module:
    """The same weights in the original's modules; an encoder that it does not know is ours."""
    modeling = importlib.import_module("segment_anything.modeling")
    config, decoder, width = model.config, model.config.mask_decoder, model.config.decoder_width
    input_hw, grid_hw = config.image_encoder.input_hw, config.image_encoder.grid_hw
    copy = modeling.Sam(
        _encoder(model, modeling),
        modeling.PromptEncoder(width, grid_hw, input_hw, decoder.mask_in_chans),
        modeling.MaskDecoder(
            transformer_dim=width,
            transformer=modeling.TwoWayTransformer(decoder.depth, width, decoder.num_heads, decoder.mlp_dim),
            num_multimask_outputs=decoder.num_multimask_outputs,
            iou_head_depth=decoder.iou_head_depth,
            iou_head_hidden_dim=decoder.iou_head_hidden_dim,
        ),
        list(config.pixel_mean),
        list(config.pixel_std),
    )
    copy.prompt_encoder.load_state_dict(model.prompt_encoder.state_dict())
    weights = model.mask_decoder.state_dict()
    copy.mask_decoder.load_state_dict({k: v for k, v in weights.items() if not k.startswith("embedding_projection")})
    return copy.eval()


def _encoder(model: SAM, modeling: ModuleType) -> nn.Module:
    config = model.config.image_encoder
    if not isinstance(config, ViTConfig):
        return OurEncoder(model)
    encoder = modeling.ImageEncoderViT(
        img_size=config.img_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        out_chans=config.out_chans,
        qkv_bias=config.qkv_bias,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
        use_rel_pos=config.use_rel_pos,
        window_size=config.window_size,
        global_attn_indexes=config.global_attn_indexes,
    )
    encoder.load_state_dict(model.image_encoder.state_dict())
    return encoder


class OurEncoder(nn.Module):
    """Our encoder and, where the decoder is narrower, its projection, as the original's models have none."""

    def __init__(self, model: SAM) -> None:
        super().__init__()
        self.encoder, self.projection = model.image_encoder, model.mask_decoder.embedding_projection
        self.img_size = model.config.image_size

    def forward(self, image_bchw: Tensor) -> Tensor:
        return self.projection(self.encoder(image_bchw))


def _torchvision() -> dict[str, ModuleType]:
    functions: dict[str, dict[str, Any]] = {
        "torchvision": {},
        "torchvision.ops": {},
        "torchvision.ops.boxes": {"batched_nms": _batched_nms, "box_area": box_area},
        "torchvision.transforms": {},
        "torchvision.transforms.functional": {"resize": _resize, "to_pil_image": Image.fromarray},
    }
    modules = {}
    for name, members in functions.items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update(members)
    return modules


def _resize(picture: Image.Image, hw: tuple[int, int]) -> Image.Image:
    return picture.resize((hw[1], hw[0]), Image.Resampling.BILINEAR)


def _batched_nms(boxes: Tensor, scores: Tensor, categories: Tensor, iou_threshold: float) -> Tensor:
    """All boxes are of one category here."""
    return torch.from_numpy(suppress_duplicates(boxes.cpu().numpy(), scores.cpu().numpy(), iou_threshold))
