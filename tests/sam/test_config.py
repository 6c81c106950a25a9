"""Configurations reject contradictions, and travel as JSON."""

import json
from dataclasses import replace

import pytest

from sam.config import VARIANTS, DecoderConfig, SAMConfig, TinyConfig, TinyViTConfig, ViTConfig


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_the_same_prompt_frame_and_embedding(name):
    config = VARIANTS[name]
    assert config.image_size == 1024
    assert config.embedding_shape == (1, 256, 64, 64)
    assert config.low_res_hw == (256, 256)
    assert config.model_id == name


@pytest.mark.parametrize("name", VARIANTS)
def test_configuration_survives_json(name):
    config = replace(VARIANTS[name], mask_threshold=0.5, pixel_mean=(1.0, 2.0, 3.0), preprocessing="medsam")
    assert SAMConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("build", "numbers"),
    [
        (lambda: ViTConfig(img_size=100, patch_size=16), ("100", "16")),
        (lambda: ViTConfig(embed_dim=10, num_heads=3, global_attn_indexes=(), depth=1), ("10", "3")),
        (lambda: ViTConfig(depth=2, global_attn_indexes=(1, 5)), ("5", "2")),
        (lambda: ViTConfig(window_size=-1), ("-1", "0")),
        (lambda: TinyViTConfig(img_size=1000), ("1000", "16")),
        (lambda: TinyViTConfig(embed_dims=(64, 128, 160)), ("3", "4")),
        (lambda: TinyViTConfig(num_heads=(2, 4, 7, 10)), ("160", "7")),
        (lambda: TinyConfig(img_size=96), ("96", "64")),
        (lambda: DecoderConfig(num_multimask_outputs=0), ("0", "1")),
        (lambda: SAMConfig(ViTConfig(out_chans=40), DecoderConfig(num_heads=8)), ("20", "8")),
        (lambda: SAMConfig(pixel_std=(1.0, 0.0, 1.0)), ("0.0", "positive")),
        (lambda: SAMConfig(image_format="GRB"), ("GRB", "RGB")),
    ],
)
def test_contradiction_is_rejected_with_both_numbers(build, numbers):
    with pytest.raises(ValueError) as caught:
        build()
    assert all(number in str(caught.value) for number in numbers), caught.value


def test_unknown_field_is_named():
    with pytest.raises(ValueError, match="no field colour"):
        SAMConfig.from_dict({"colour": "red"})
    with pytest.raises(ValueError, match="no field wings"):
        SAMConfig.from_dict({"image_encoder": {"type": "vit", "wings": 2}})


def test_a_changed_encoder_or_decoder_is_custom():
    assert SAMConfig(ViTConfig(depth=6, global_attn_indexes=(2, 5))).model_id == "custom"
    assert SAMConfig(mask_decoder=DecoderConfig(mlp_dim=64)).model_id == "custom"
