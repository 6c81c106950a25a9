"""Segment Anything: models, weights and prediction."""

from .config import VARIANTS, SAMConfig
from .image_encoder import ImageEncoderViT
from .mask_decoder import MaskDecoder
from .model import SAM
from .prompt_encoder import PromptEncoder
from .tiny import TinyEncoder
from .tiny_vit import TinyViT
from .transformer import TwoWayTransformer

__all__ = [
    "SAM",
    "VARIANTS",
    "ImageEncoderViT",
    "MaskDecoder",
    "PromptEncoder",
    "SAMConfig",
    "TinyEncoder",
    "TinyViT",
    "TwoWayTransformer",
]
