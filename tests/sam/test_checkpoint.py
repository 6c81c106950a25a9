"""`load_sam` reads every published layout, and refuses every bad file by name."""

import io
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sam import SAM, CheckpointError, SAMConfig, build_sam_vit_b, load_sam, sam_model_registry
from sam.checkpoint import EMBEDDED, infer_config
from sam.config import VARIANTS, DecoderConfig, TinyConfig, TinyViTConfig
from sam.hub import hugging_face


@pytest.fixture(scope="module")
def model(small_config) -> SAM:
    """A small SAM with the decoder's published head count, so that tensors alone tell everything."""
    torch.manual_seed(0)
    return SAM.from_config(replace(small_config, mask_decoder=replace(small_config.mask_decoder, num_heads=8))).eval()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "weights.pth"


# --- layouts ----------------------------------------------------------------------------------------------------


WRAPPED = {
    "plain": lambda state: state,
    "model": lambda state: {"model": state},
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "an optimizer beside it": lambda state: {
        "model": state,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "epoch": 3,
    },
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "module.sam.": lambda state: {"state_dict": {f"module.sam.{key}": value for key, value in state.items()}},
    "model.": lambda state: {"model_state_dict": {f"model.{key}": value for key, value in state.items()}},
    "fp16": lambda state: {key: value.half() for key, value in state.items()},
    "bf16": lambda state: {key: value.bfloat16() for key, value in state.items()},
    "fp16 in a bundle, module.": lambda state: {"model": {f"module.{key}": v.half() for key, v in state.items()}},
}
SMALL_TINY_VIT = TinyViTConfig(embed_dims=(16, 16, 16, 16), depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 2), out_chans=32)
SMALL_TINY = TinyConfig(widths=(16, 24, 32, 64), depths=(1, 1, 1, 1), out_chans=32)


@pytest.fixture(scope="module")
def published(model) -> dict[str, SAM]:
    """A small model for every layout that is published."""
    torch.manual_seed(0)
    decoder = DecoderConfig(mlp_dim=64, iou_head_hidden_dim=32)
    others = {"MobileSAM": SMALL_TINY_VIT, "ours": SMALL_TINY}
    small = {name: SAM.from_config(SAMConfig(encoder, decoder)).eval() for name, encoder in others.items()}
    return {"Meta": model, "Hugging Face": model, **small}


@pytest.mark.parametrize("layout", ["Meta", "Hugging Face", "MobileSAM", "ours"])
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_fine_tuned_weights_load_however_they_are_wrapped(published, layout, wrapped, path):
    model = published[layout]
    state = hugging_face.from_meta(model.state_dict()) if layout == "Hugging Face" else model.state_dict()
    torch.save(WRAPPED[wrapped](state), path)
    loaded = load_sam(path)
    assert loaded.config == model.config and not loaded.training
    for name, tensor in loaded.state_dict().items():
        expected = model.state_dict()[name]
        assert tensor.dtype == (torch.float32 if expected.is_floating_point() else expected.dtype)
        torch.testing.assert_close(tensor, expected, atol=1e-2, rtol=1e-2)


def test_slimsams_widths_are_inferred_from_hugging_faces_tensors(tmp_path):
    """The published SlimSAM-77: 168 channels, 12 heads, 696 hidden channels in each block."""
    config = SAMConfig(replace(VARIANTS["vit_b"].image_encoder, embed_dim=168, mlp_ratio=696 / 168))
    with torch.device("meta"):
        state = SAM.from_config(config).state_dict()
    assert state["image_encoder.blocks.0.mlp.lin1.weight"].shape == (696, 168)
    assert infer_config(hugging_face.to_meta(hugging_face.from_meta(state))) == config


@pytest.mark.parametrize("encoder", [SMALL_TINY_VIT, SMALL_TINY])
def test_the_frame_that_no_tensor_tells_can_be_given(encoder, path):
    config = SAMConfig(replace(encoder, img_size=256), DecoderConfig(mlp_dim=64, iou_head_hidden_dim=32))
    torch.save(SAM.from_config(config).state_dict(), path)
    assert load_sam(path).config.image_size == 1024
    assert load_sam(path, img_size=256).config == config


def test_a_frame_that_the_tensors_contradict_is_refused(model, path):
    torch.save(model.state_dict(), path)
    assert load_sam(path, img_size=128).config == model.config
    assert "are for (128, 128) pixels, not 1024" in refusal(path, img_size=1024)


@pytest.mark.parametrize("source", [None, 3, b"tiny"])
def test_anything_but_a_name_or_a_path_is_named(source):
    with pytest.raises(TypeError, match=f"source is {type(source).__name__}; give the name of a model"):
        load_sam(source)


def test_what_save_wrote_loads_identically(small_model, tmp_path):
    small_model.save(tmp_path / "small.safetensors")
    loaded = load_sam(str(tmp_path / "small.safetensors"))
    assert loaded.config == small_model.config
    assert loaded.weights_hash() == small_model.weights_hash()


def test_half_precision_file_becomes_float32(small_model, tmp_path):
    small_model.save(tmp_path / "half.safetensors", dtype=torch.float16)
    stored = load_file(tmp_path / "half.safetensors")
    loaded = load_sam(tmp_path / "half.safetensors").state_dict()
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in stored.items())


def test_safetensors_without_configuration_are_inferred(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "bare.safetensors")
    assert load_sam(tmp_path / "bare.safetensors").config == model.config


def test_a_configuration_says_what_no_tensor_tells(small_model, path):
    torch.save(small_model.state_dict(), path)
    assert load_sam(path).config.mask_decoder.num_heads == 8
    assert load_sam(path, variant=small_model.config).config == small_model.config


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_inferred_from_its_tensors(name):
    with torch.device("meta"):
        state = SAM.from_variant(name).state_dict()
    assert infer_config(state) == VARIANTS[name]


@pytest.mark.parametrize(
    "encoder",
    [
        TinyViTConfig(embed_dims=(16, 24, 32, 40), depths=(1, 2, 1, 1), num_heads=(2, 3, 2, 4), out_chans=32),
        TinyConfig(widths=(16, 24, 32, 64), depths=(2, 1, 1, 2), out_chans=64),
    ],
)
def test_other_sizes_of_the_small_encoders_are_inferred(encoder, path):
    config = SAMConfig(encoder, DecoderConfig(mlp_dim=64, iou_head_hidden_dim=32))
    torch.save(SAM.from_config(config).state_dict(), path)
    assert load_sam(path).config == config


def test_non_square_grid_is_inferred(small_config):
    config = SAMConfig(replace(small_config.image_encoder, img_size=(96, 160)))
    with torch.device("meta"):
        assert infer_config(SAM.from_config(config).state_dict()) == config


def test_mobile_sams_unused_head_may_have_any_number_of_classes(path):
    encoder = TinyViTConfig(embed_dims=(16, 16, 16, 16), depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 2), out_chans=32)
    state = SAM.from_config(SAMConfig(encoder)).state_dict()
    head = {"image_encoder.head.weight": torch.ones(10, 16), "image_encoder.head.bias": torch.ones(10)}
    torch.save(state | head, path)
    assert load_sam(path).image_encoder.head.out_features == 10


def test_medsam_is_asked_for_by_name(model, path):
    torch.save(model.state_dict(), path)
    assert load_sam(path).config.preprocessing == "sam"
    medsam = load_sam(path, preprocessing="medsam")
    assert medsam.config == replace(model.config, preprocessing="medsam")
    assert medsam.config.model_id == "medsam"


def test_embedded_model_is_loaded_by_name():
    if not EMBEDDED["tiny"].exists():
        pytest.skip("the embedded weights have not been trained yet")
    model = load_sam("tiny")
    assert model.config.model_id == "tiny" and not model.training
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}


def test_missing_embedded_weights_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(EMBEDDED, "tiny", tmp_path / "tiny.safetensors")
    with pytest.raises(CheckpointError, match=r"embedded weights .*tiny\.safetensors are missing"):
        load_sam("tiny")


# --- bad files --------------------------------------------------------------------------------------------------


def refusal(path: Path | str, **options) -> str:
    """The message of the error that loading `path` raises; it names the file."""
    with pytest.raises(CheckpointError) as caught:
        load_sam(path, **options)
    assert isinstance(caught.value, ValueError)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_no_such_file_is_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.pth")
    with pytest.raises(FileNotFoundError, match=r"no model of that name \(tiny, vit_b"):
        load_sam("enormous")


def test_folder_without_weights_is_refused(tmp_path):
    assert "model.safetensors" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 64, b"PK\x03\x04 not a zip", b"\x80\x02 garbage"])
def test_file_that_is_no_checkpoint_is_refused(path, content):
    path.write_bytes(content)
    assert "not a checkpoint" in refusal(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_pickle_is_refused(model, path, share):
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_safetensors_are_refused(model, tmp_path, share):
    path = tmp_path / "cut.safetensors"
    model.save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "truncated" in refusal(path)


class Malicious:
    """Unpickling this would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("write", [torch.save, lambda data, path: path.write_bytes(pickle.dumps(data, protocol=2))])
def test_pickled_code_is_refused_and_never_run(path, tmp_path, write):
    write({"image_encoder.pos_embed": Malicious(tmp_path / "ran")}, path)
    assert "never loaded" in refusal(path)
    assert not (tmp_path / "ran").exists()


def test_whole_pickled_module_is_refused(path):
    torch.save(torch.nn.Linear(2, 2), path)
    assert "never loaded" in refusal(path)


@pytest.mark.parametrize("data", [[1, 2], {}, torch.zeros(3), {"image_encoder.pos_embed": 3}])
def test_anything_but_a_dictionary_of_tensors_is_refused(path, data):
    torch.save(data, path)
    assert "tensors" in refusal(path)


def test_weights_of_another_network_are_refused(path):
    torch.save({"backbone.conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(1)}, path)
    assert "backbone.conv1.weight" in refusal(path)


@pytest.mark.parametrize(
    "key", ["mask_decoder.iou_token.weight", "image_encoder.pos_embed", "image_encoder.blocks.1.attn.rel_pos_w"]
)
def test_missing_key_is_named(model, path, key):
    torch.save({name: tensor for name, tensor in model.state_dict().items() if name != key}, path)
    assert f"missing: {key}" in refusal(path)


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("image encoder", "image_encoder.neck.0.weight"),
        ("prompt encoder", "prompt_encoder.no_mask_embed.weight"),
        ("mask decoder", "mask_decoder.iou_token.weight"),
    ],
)
def test_the_part_that_differs_is_named(model, path, part, key):
    torch.save(model.state_dict() | {key: torch.zeros(3, 5)}, path)
    message = refusal(path, variant=model.config)
    assert f"; {part}: 1 mis-shaped: {key} is (3, 5), not " in message
    others = [other for other in ("image encoder", "prompt encoder", "mask decoder") if other != part]
    assert message.endswith(f"; {' and '.join(others)} would fit")


def test_another_encoder_is_told_from_another_decoder(published, path):
    """A decoder with one more mask on an encoder of another depth: each with its own keys."""
    state = published["Meta"].state_dict()
    state["mask_decoder.mask_tokens.weight"] = torch.zeros(9, 32)
    state = {key: value for key, value in state.items() if not key.startswith("image_encoder.blocks.2.")}
    torch.save(state, path)
    message = refusal(path, variant=published["Meta"].config)
    assert "image encoder: 14 missing: image_encoder.blocks.2." in message
    assert "mask decoder: 1 mis-shaped: mask_decoder.mask_tokens.weight is (9, 32), not (4, 32)" in message


def test_unexpected_keys_are_named_the_first_few(model, path):
    extra = {f"extra.{index}": torch.zeros(1) for index in range(9)}
    torch.save(model.state_dict() | extra, path)
    message = refusal(path)
    assert "9 unexpected: extra.0, extra.1, extra.2, ..." in message
    assert "extra.3" not in message


def test_mis_shaped_key_is_named_with_both_shapes(model, path):
    torch.save(model.state_dict() | {"mask_decoder.iou_token.weight": torch.zeros(2, 32)}, path)
    assert "1 mis-shaped: mask_decoder.iou_token.weight is (2, 32), not (1, 32)" in refusal(path)


@pytest.mark.parametrize("key", ["image_encoder.neck.0.weight", "mask_decoder.mask_tokens.weight"])
def test_damage_that_misleads_the_inference_is_still_blamed_on_the_damaged_key(tmp_path, key):
    state = SAM.from_variant("tiny").state_dict() if "mask" in key else SAM.from_variant("vit_t").state_dict()
    state[key] = torch.zeros(state[key].shape[0] + 16, *state[key].shape[1:])
    torch.save(state, tmp_path / "damaged.pth")
    assert f"1 mis-shaped: {key}" in refusal(tmp_path / "damaged.pth")


def test_broken_configuration_in_the_file_is_refused(model, tmp_path):
    path = tmp_path / "broken.safetensors"
    for text in ("{", "[]", json.dumps({"wings": 2}), json.dumps({"image_encoder": {"type": "bird"}})):
        save_file(model.state_dict(), path, metadata={"config": text})
        assert "configuration" in refusal(path)


def test_another_variant_than_asked_for_is_refused(model, path, tmp_path):
    torch.save(model.state_dict(), path)
    assert "do not fit the model vit_b" in refusal(path, variant="vit_b")
    model.save(tmp_path / "ours.safetensors")
    assert "custom, not vit_b" in refusal(tmp_path / "ours.safetensors", variant="vit_b")
    with pytest.raises(ValueError, match="vit_x"):
        load_sam(path, variant="vit_x")


# --- registry ---------------------------------------------------------------------------------------------------


def test_registry_has_metas_keys_and_default():
    assert {"default", "vit_h", "vit_l", "vit_b", "vit_t", "tiny"} <= sam_model_registry.keys()
    with torch.device("meta"):
        assert sam_model_registry["default"]().config.model_id == "vit_h"
        assert build_sam_vit_b().config.model_id == "vit_b"


def test_registry_builds_random_weights_or_loads_strictly(tmp_path):
    model = sam_model_registry["vit_t"]()
    assert not model.training
    torch.save(model.state_dict(), tmp_path / "mobile_sam.pt")
    loaded = sam_model_registry["vit_t"](checkpoint=str(tmp_path / "mobile_sam.pt"))
    assert loaded.weights_hash() == model.weights_hash()
    with pytest.raises(CheckpointError, match="do not fit the model vit_b"):
        sam_model_registry["vit_b"](checkpoint=tmp_path / "mobile_sam.pt")


def test_loading_reads_a_file_and_writes_nothing(model, path, tmp_path):
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    path.write_bytes(buffer.getvalue())
    load_sam(path)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == buffer.getvalue()
