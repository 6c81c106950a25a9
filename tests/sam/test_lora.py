"""Low-rank adaptation: nothing at first, little to train, and a plain model in the end."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sam import SAM, load_sam
from sam.training.lora import ATTENTION, LoRALinear, apply_lora, lora_parameters, merge_lora

MODELS = {
    "tiny": {"widths": (8, 8, 16, 32), "depths": (1, 1, 1, 2), "num_heads": 2},
    "vit_t": {"embed_dims": (16, 32, 32, 64), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4)},
    "vit_b": {"embed_dim": 32, "depth": 2, "num_heads": 2, "window_size": 2, "global_attn_indexes": (1,)},
}
"""Each kind of encoder, small."""


def small_model(variant="tiny"):
    torch.manual_seed(0)
    return SAM.from_variant(variant, img_size=64, **MODELS[variant]).eval()


def answers(model):
    torch.manual_seed(1)
    embeddings = model.encode_image(torch.rand(1, 3, 64, 64) * 255)
    points = (torch.tensor([[[20.0, 30.0]]]), torch.ones(1, 1, dtype=torch.int64))
    return model.decode(embeddings, points=points)


def train(model, steps=3):
    """Make the changes differ from nothing."""
    optimizer = torch.optim.SGD(lora_parameters(model), lr=0.05)
    for _ in range(steps):
        logits, iou = answers(model)
        optimizer.zero_grad()
        (logits.square().mean() + iou.square().mean()).backward()
        optimizer.step()


def largest_difference(ones, others):
    return max(float((a - b).abs().max()) for a, b in zip(ones, others, strict=True))


@pytest.mark.parametrize("variant", MODELS)
def test_nothing_changes_at_first(variant):
    model = small_model(variant)
    with torch.no_grad():
        before = answers(model)
        names = apply_lora(model, rank=2, alpha=4)
        assert largest_difference(before, answers(model)) == 0
    assert all(isinstance(model.get_submodule(name), LoRALinear) for name in names)


@pytest.mark.parametrize("variant", MODELS)
def test_every_attention_projection_is_adapted_and_nothing_else(variant):
    model = small_model(variant)
    linears = {name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    names = apply_lora(model, rank=1, alpha=1)
    assert set(names) == {name for name in linears if name.rpartition(".")[2] in ATTENTION}
    assert {"image_encoder", "mask_decoder"} == {name.partition(".")[0] for name in names}
    assert sum(name.startswith("mask_decoder.transformer") for name in names) == 4 * (3 * 2 + 1)


@pytest.mark.parametrize("variant", MODELS)
def test_only_the_changes_get_gradients(variant):
    model = small_model(variant)
    apply_lora(model, rank=2, alpha=4)
    train(model, steps=2)  # at first only B gets one, because B is zero
    with_gradient = {id(p) for p in model.parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in lora_parameters(model)}
    assert with_gradient <= trainable and len(with_gradient) > 0.9 * len(trainable)


@pytest.mark.parametrize("variant", MODELS)
def test_a_merged_model_is_a_published_one_and_answers_as_before(variant, tmp_path):
    model = small_model(variant)
    keys = list(model.state_dict())
    with torch.no_grad():
        untrained = answers(model)
    apply_lora(model, rank=2, alpha=4)
    train(model)
    with torch.no_grad():
        before = answers(model)
        assert largest_difference(untrained, before) > 1e-3
        assert merge_lora(model) is model
        assert largest_difference(before, answers(model)) < 1e-5
    assert list(model.state_dict()) == keys
    model.save(tmp_path / "merged.safetensors")
    with torch.no_grad():
        assert largest_difference(before, answers(load_sam(tmp_path / "merged.safetensors"))) < 1e-5


def test_a_model_can_be_adapted_again_once_merged():
    model = small_model()
    apply_lora(model, rank=1, alpha=1)
    with pytest.raises(ValueError, match=r"qkv has a low-rank change already; merge_lora first"):
        apply_lora(model, rank=1, alpha=1)
    assert apply_lora(merge_lora(model), rank=1, alpha=1)


def test_merging_a_plain_model_does_nothing():
    model = small_model()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    assert all(torch.equal(value, state[key]) for key, value in merge_lora(model).state_dict().items())


def test_targets_choose_layers_by_name_or_by_the_end_of_it():
    names = apply_lora(small_model("vit_b"), rank=1, alpha=1, targets=["qkv", "final_attn_token_to_image.v_proj"])
    assert names == [
        "image_encoder.blocks.0.attn.qkv",
        "image_encoder.blocks.1.attn.qkv",
        "mask_decoder.transformer.final_attn_token_to_image.v_proj",
    ]
    model = small_model("vit_b")
    apply_lora(model.mask_decoder, rank=1, alpha=1)
    assert all(p.requires_grad for p in model.image_encoder.parameters())


def test_targets_that_match_nothing_are_named_and_nothing_is_changed():
    model = small_model()
    with pytest.raises(ValueError, match=r"no linear layer of SAM is called kqv, rojp"):
        apply_lora(model, rank=1, alpha=1, targets=["qkv", "kqv", "rojp"])
    with pytest.raises(ValueError, match=r"no linear layer of PromptEncoder is called qkv"):
        apply_lora(model.prompt_encoder, rank=1, alpha=1)
    with pytest.raises(ValueError, match=r"write \['qkv'\]"):
        apply_lora(model, rank=1, alpha=1, targets="qkv")
    with pytest.raises(ValueError, match=r"rank 33 must be 1 to 32 for 32 -> 96 features"):
        apply_lora(model, rank=33, alpha=1)
    with pytest.raises(ValueError, match=r"rank 0 must be"):
        apply_lora(model, rank=0, alpha=1)
    with pytest.raises(ValueError, match=r"alpha 0 must be positive"):
        apply_lora(model, rank=1, alpha=0)
    assert all(p.requires_grad for p in model.parameters()) and not list(lora_parameters(model))


@settings(max_examples=50, deadline=None)
@given(
    rank=st.integers(1, 6),
    alpha=st.floats(0.01, 64),
    bias=st.booleans(),
    seed=st.integers(0, 2**31),
    shape=st.lists(st.integers(1, 4), max_size=2),
)
def test_merged_equals_unmerged_for_any_rank_and_alpha(rank, alpha, bias, seed, shape):
    torch.manual_seed(seed)
    layer = nn.Linear(6, 9, bias=bias)
    x = torch.randn(*shape, 6)
    plain = layer(x)
    adapted = LoRALinear(layer, rank, alpha)
    assert torch.equal(adapted(x), plain)
    nn.init.normal_(adapted.lora_b, std=0.1)
    low_rank = adapted(x) - plain
    answer = adapted(x)
    change = alpha / rank * (adapted.lora_b @ adapted.lora_a)
    assert torch.linalg.matrix_rank(change) <= rank
    torch.testing.assert_close(low_rank, x @ change.T, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(adapted.merged()(x), answer, atol=1e-5, rtol=1e-5)


def test_a_half_precision_layer_keeps_its_type():
    adapted = LoRALinear(nn.Linear(4, 4).half(), 2, 4.0)
    nn.init.ones_(adapted.lora_b)
    assert adapted(torch.ones(1, 4, dtype=torch.float16)).dtype == adapted.merged().weight.dtype == torch.float16
