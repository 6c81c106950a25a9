"""Segment Anything: models, weights and prediction."""

from .automatic import SamAutomaticMaskGenerator
from .checkpoint import (
    CheckpointError,
    build_sam,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
    load_sam,
    sam_model_registry,
    save_sam,
)
from .config import VARIANTS, SAMConfig
from .image_encoder import ImageEncoderViT
from .mask_decoder import MaskDecoder
from .model import SAM
from .predictor import ImageEmbedding, Masks, ResizeLongestSide, SamPredictor, encode, predict
from .prompt_encoder import PromptEncoder
from .tiny import TinyEncoder
from .tiny_vit import TinyViT
from .transformer import TwoWayTransformer

__all__ = [
    "SAM",
    "VARIANTS",
    "CheckpointError",
    "ImageEmbedding",
    "ImageEncoderViT",
    "MaskDecoder",
    "Masks",
    "PromptEncoder",
    "ResizeLongestSide",
    "SAMConfig",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "TinyEncoder",
    "TinyViT",
    "TwoWayTransformer",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "encode",
    "load_sam",
    "predict",
    "sam_model_registry",
    "save_sam",
]
