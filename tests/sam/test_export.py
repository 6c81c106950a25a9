"""Exported graphs answer as PyTorch does, keep to their pinned form, and drop into the clients they are made for."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from PIL import Image
from safetensors.torch import load_file

import export_onnx
from sam import SAM, SAMConfig, encode, load_sam, predict, verification
from sam import export as sam_export
from sam.checkpoint import EMBEDDED
from sam.config import DecoderConfig, TinyConfig, ViTConfig
from sam.contracts import WHOLE, example_inputs
from sam.export import CONTRACTS, PRECISIONS, VerificationError, export_decoder, write_decoder
from sam.onnx_graph import constants_to_initializers, fold_shapes

ROOT = Path(export_onnx.__file__).parent
CLOSE = {"rtol": 0, "atol": 1e-3}


@pytest.fixture(scope="module")
def export(small_model):
    """`export_decoder` of the small model; every graph is made once."""
    graphs = {}

    def graph(contract="official", precision="fp32"):
        key = (contract, precision)
        if key not in graphs:
            graphs[key] = export_decoder(small_model, contract, precision)
        return graphs[key]

    return graph


@pytest.fixture(scope="module")
def session(export):
    """A runtime session on a graph of the small model."""
    return lambda *wanted: onnxruntime.InferenceSession(export(*wanted).bytes)


@pytest.fixture(scope="module")
def proto(export):
    return lambda *wanted: onnx.load_model_from_string(export(*wanted).bytes)


@torch.no_grad()
def decode(model, feeds):
    """All tokens' low-resolution logits and IoU from PyTorch for a graph's inputs; Meta's mask blend spelled out."""
    tensors = {name: torch.from_numpy(value) for name, value in feeds.items()}
    encoder = model.prompt_encoder
    dense = encoder.embed_no_mask(1)
    if "mask_input" in tensors:
        has = float(tensors["has_mask_input"])
        dense = has * encoder.mask_downscaling(tensors["mask_input"]) + (1 - has) * dense
    sparse = encoder.embed_points(tensors["point_coords"], tensors["point_labels"])
    return model.mask_decoder.predict_masks(tensors["image_embeddings"], encoder.get_dense_pe(), sparse, dense)


def overlap(ours, theirs):
    """IoU of two boolean masks."""
    return (ours & theirs).sum() / (ours | theirs).sum()


# --- against PyTorch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", range(1, 11))
def test_every_token_answers_as_pytorch_for_any_number_of_points(small_model, session, points):
    feeds = example_inputs(CONTRACTS["official-multi"], small_model.config, points, seed=100 + points)
    _, iou, logits = session("official-multi").run(None, feeds)
    expected_logits, expected_iou = decode(small_model, feeds)
    np.testing.assert_allclose(logits, expected_logits, **CLOSE)
    np.testing.assert_allclose(iou, expected_iou, **CLOSE)


@pytest.mark.parametrize("has_mask", [0, 1, -1])
@pytest.mark.parametrize("points", [1, 2, 3, 7])
def test_official_multi_answers_as_pytorch_with_and_without_a_mask(small_model, session, points, has_mask):
    feeds = example_inputs(CONTRACTS["official-multi"], small_model.config, points, seed=points)
    feeds |= {"has_mask_input": np.float32([has_mask]), "orig_im_size": np.float32([53, 131])}
    masks, iou, low_res = session("official-multi").run(None, feeds)
    expected, expected_iou = decode(small_model, feeds)
    np.testing.assert_allclose(low_res, expected, **CLOSE)
    np.testing.assert_allclose(iou, expected_iou, **CLOSE)
    original = (53, 131)
    upscaled = small_model.postprocess_masks(expected, small_model.frame(original).resized_hw, original)
    np.testing.assert_allclose(masks, upscaled, **CLOSE)


@pytest.mark.parametrize("points", range(1, 6))
def test_official_picks_an_ambiguous_mask_up_to_two_points_and_the_single_one_from_three(small_model, session, points):
    feeds = example_inputs(CONTRACTS["official"], small_model.config, points, seed=20 + points)
    masks, iou, low_res = session("official").run(None, feeds)
    expected, expected_iou = decode(small_model, feeds)
    token = 0 if points >= 3 else 1 + int(expected_iou[0, 1:].argmax())
    np.testing.assert_allclose(low_res[0, 0], expected[0, token], **CLOSE)
    np.testing.assert_allclose(iou[0, 0], expected_iou[0, token], **CLOSE)
    assert masks.shape == (1, 1, *feeds["orig_im_size"].astype(int))


@pytest.mark.parametrize("original", [(37, 90), (90, 37), (128, 128), (1, 300), (683, 1024), (3000, 1001)])
def test_graph_crops_to_the_same_resized_size_as_the_frame(small_model, session, original):
    feeds = example_inputs(CONTRACTS["official"], small_model.config, 3, seed=1)
    masks, _, low_res = session("official").run(None, feeds | {"orig_im_size": np.float32(original)})
    resized = small_model.frame(original).resized_hw
    expected = small_model.postprocess_masks(torch.from_numpy(low_res), resized, original)
    np.testing.assert_allclose(masks, expected, **CLOSE)


@pytest.mark.parametrize(
    "config",
    [
        SAMConfig(
            TinyConfig(img_size=(128, 192), widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), num_heads=4, out_chans=32)
        ),
        SAMConfig(
            ViTConfig(64, 16, 16, 1, 2, out_chans=32, global_attn_indexes=()),
            DecoderConfig(num_multimask_outputs=2, depth=1, num_heads=2),
        ),
        SAMConfig(ViTConfig(64, 16, 16, 1, 2, out_chans=64, global_attn_indexes=()), preprocessing="medsam"),
    ],
    ids=["grid that is not square", "other decoder", "stretched pictures"],
)
def test_models_of_other_shapes_export(random_model, config):
    model = random_model(config)
    feeds = example_inputs(CONTRACTS["official-multi"], config, 4, seed=3) | {"orig_im_size": np.float32([50, 70])}
    graph = export_decoder(model, "official-multi")
    masks, _, low_res = onnxruntime.InferenceSession(graph.bytes).run(None, feeds)
    expected, _ = decode(model, feeds)
    np.testing.assert_allclose(low_res, expected, **CLOSE)
    upscaled = model.postprocess_masks(expected, model.frame((50, 70)).resized_hw, (50, 70))
    np.testing.assert_allclose(masks, upscaled, **CLOSE)


@pytest.mark.reference
@pytest.mark.parametrize(("contract", "case"), [("official", "onnx_single"), ("official-multi", "onnx_multi")])
def test_graph_gives_the_original_exporters_values(reference, contract, case):
    sizes = json.loads((reference / "small.json").read_text())["config"]
    encoder = ViTConfig(
        img_size=sizes["img"], embed_dim=sizes["dim"], depth=sizes["depth"], num_heads=sizes["heads"],
        out_chans=sizes["out"], window_size=sizes["win"], global_attn_indexes=tuple(sizes["glob"]),
    )  # fmt: skip
    decoder = DecoderConfig(num_heads=sizes["dheads"], mlp_dim=sizes["mlp"], iou_head_hidden_dim=sizes["out"])
    model = load_sam(reference / "small.weights.safetensors", variant=SAMConfig(encoder, decoder))
    values = {name: tensor.numpy() for name, tensor in load_file(reference / "small.golden.safetensors").items()}
    feeds = {
        "image_embeddings": values["embedding"],
        "point_coords": values["onnx.point_coords"],
        "point_labels": values["onnx.point_labels"],
        "mask_input": np.zeros((1, 1, *model.config.low_res_hw), np.float32),
        "has_mask_input": np.float32([0]),
        "orig_im_size": np.float32(values["image"].shape[:2]),
    }
    answers = onnxruntime.InferenceSession(export_decoder(model, contract).bytes).run(None, feeds)
    for name, answer in zip(("masks", "iou", "low_res"), answers, strict=True):
        np.testing.assert_allclose(answer, values[f"{case}.{name}"], rtol=0, atol=1e-4)


# --- each client in its own way --------------------------------------------------------------------------------------


def picture(small_model, height=60, width=90):
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([columns * 2, rows * 3, (rows + columns) % 256], axis=-1).astype(np.uint8)
    return image, encode(small_model, image)


def blank_mask(model):
    return {
        "mask_input": np.zeros((1, 1, *model.config.low_res_hw), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
    }


def test_metas_web_demo_shows_the_predictors_best_mask_for_a_click(small_model, session):
    image, embedding = picture(small_model)
    scale = small_model.config.image_size / max(image.shape[:2])
    answers = session(
        "official"
    ).run(
        None,
        {
            "image_embeddings": embedding.features.numpy(),
            "point_coords": np.float32([[[30 * scale, 20 * scale], [0, 0]]]),  # the demo pads where there is no box
            "point_labels": np.float32([[1, -1]]),
            **blank_mask(small_model),
            "orig_im_size": np.float32(image.shape[:2]),
        },
    )
    expected = predict(small_model, embedding, point_coords=np.array([[30, 20]]), point_labels=np.array([1]))
    best = int(expected.iou_predictions.argmax())
    np.testing.assert_array_equal(answers[0][0, 0] > 0, expected.masks[best])


def test_runtimes_own_javascript_example_without_padding_gets_one_mask_of_the_frame(small_model, session):
    _, embedding = picture(small_model)
    side = small_model.config.image_size
    feeds = {
        "image_embeddings": embedding.features.numpy(),
        "point_coords": np.float32([[[40, 30]]]),
        "point_labels": np.float32([[1]]),
        **blank_mask(small_model),
        "orig_im_size": np.float32([side, side]),
    }
    running = session("official")
    masks = running.run(["masks"], feeds)[0]  # by name, then toImageData: one mask or a picture of the wrong height
    assert masks.shape == (1, 1, side, side) and masks.dtype == np.float32
    low_res, iou = decode(small_model, feeds)
    best = 1 + int(iou[0, 1:].argmax())
    expected = small_model.postprocess_masks(low_res[:, best : best + 1], (side, side), (side, side))
    np.testing.assert_allclose(masks, expected, **CLOSE)


def test_samexporter_unpacks_three_outputs_at_the_resized_size(small_model, session):
    image, embedding = picture(small_model)
    frame = small_model.frame(image.shape[:2])
    corners = frame.boxes_to_model(np.array([10, 12, 60, 50])).reshape(2, 2)
    coords = np.concatenate([corners, [[0, 0]]])[None].astype(np.float32)  # a box, and padding all the same
    masks, iou_predictions, low_res_masks = session("official-multi").run(
        None,
        {
            "image_embeddings": embedding.features.numpy(),
            "point_coords": coords,
            "point_labels": np.float32([[2, 3, -1]]),
            **blank_mask(small_model),
            "orig_im_size": np.float32(frame.resized_hw),  # it passes (684, 1024): the size of its encoder's input
        },
    )
    tokens = small_model.mask_decoder.num_mask_tokens
    assert masks.shape == (1, tokens, *frame.resized_hw)
    assert iou_predictions.shape == (1, tokens)
    assert low_res_masks.shape == (1, tokens, *small_model.config.low_res_hw)


def test_labelmes_minus_one_means_the_blend_and_not_a_branch(small_model, session):
    _, embedding = picture(small_model)
    feeds = {
        "image_embeddings": embedding.features.numpy(),
        "point_coords": np.float32([[[40, 30]]]),
        "point_labels": np.float32([[1]]),
        **blank_mask(small_model),
        "has_mask_input": np.float32([-1]),
        "orig_im_size": np.float32([60, 90]),
    }
    masks, _, low_res = session("official").run(None, feeds)
    expected, expected_iou = decode(small_model, feeds)
    best = 1 + int(expected_iou[0, 1:].argmax())
    np.testing.assert_allclose(low_res[0, 0], expected[0, best], **CLOSE)
    assert masks[0, 0].shape == (60, 90)
    unmasked = session("official").run(None, feeds | {"has_mask_input": np.float32([0])})[2]
    assert np.abs(low_res - unmasked).max() > 1e-2


# --- the file's form -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contract", CONTRACTS)
def test_opset_and_ir_are_pinned_and_every_operator_is_standard(proto, contract):
    model = proto(contract)
    assert model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("contract", CONTRACTS)
def test_no_tensor_is_float64(proto, contract, precision):
    model = onnx.shape_inference.infer_shapes(proto(contract, precision))
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    kinds |= {value.type.tensor_type.elem_type for value in model.graph.value_info}
    kinds |= {attribute.i for node in model.graph.node if node.op_type == "Cast" for attribute in node.attribute}
    assert TensorProto.DOUBLE not in kinds
    assert kinds - {TensorProto.FLOAT16, TensorProto.INT8} <= {TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_inputs_and_outputs_have_the_contracts_names_and_only_n_and_the_mask_size_are_dynamic(proto, contract):
    graph, rules = proto(contract).graph, CONTRACTS[contract]
    assert tuple(value.name for value in graph.input) == rules.inputs
    assert tuple(value.name for value in graph.output) == rules.outputs
    dynamic = {
        (value.name, axis, length.dim_param)
        for value in [*graph.input, *graph.output]
        for axis, length in enumerate(value.type.tensor_type.shape.dim)
        if not length.HasField("dim_value")
    }
    points = {("point_coords", 1, "N"), ("point_labels", 1, "N")}
    assert dynamic == points | ({("masks", 2, "height"), ("masks", 3, "width")} if "masks" in rules.outputs else set())


def test_metadata_binds_the_graph_to_its_weights(small_model, export, proto):
    properties = {entry.key: entry.value for entry in proto("official-multi", "int8").metadata_props}
    assert properties == {
        "sam.model_id": "custom",
        "sam.weights_hash": small_model.weights_hash(),
        "sam.contract": "official-multi",
        "sam.contract_version": "1",
        "sam.precision": "int8",
    }
    graph = export("official-multi", "int8")
    assert graph.sha256 == hashlib.sha256(graph.bytes).hexdigest()
    assert proto("official-multi", "int8").producer_name == "sam.export"


def test_the_same_model_exports_to_the_same_bytes(small_model, export):
    assert export_decoder(small_model, "official-multi").sha256 == export("official-multi").sha256


def test_exporting_changes_nothing_about_the_model(small_config, random_model):
    model = random_model(small_config)
    before = model.weights_hash(), model.training, {name: p.requires_grad for name, p in model.named_parameters()}
    export_decoder(model, "official")
    assert before == (model.weights_hash(), model.training, {n: p.requires_grad for n, p in model.named_parameters()})


def test_shape_folding_keeps_every_value(small_model):
    rules = WHOLE
    probes = [example_inputs(rules, small_model.config, points, seed=points) for points in (1, 2, 5)]
    plain = sam_export._trace(rules, rules.module(small_model).eval(), probes[0])
    constants_to_initializers(plain)
    folded = onnx.ModelProto()
    folded.CopyFrom(plain)
    fold_shapes(folded, probes)
    assert len(folded.graph.node) < 0.5 * len(plain.graph.node)
    assert "Shape" not in {node.op_type for node in folded.graph.node}
    ours, theirs = (onnxruntime.InferenceSession(model.SerializeToString()) for model in (folded, plain))
    for points in (1, 3, 4, 9):
        feeds = example_inputs(rules, small_model.config, points, seed=points)
        for one, other in zip(ours.run(None, feeds), theirs.run(None, feeds), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


# --- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.99), ("int8", 0.97)])
def test_smaller_weights_keep_the_masks(small_model, session, precision, least):
    shared = []
    for seed in range(6):
        feeds = example_inputs(CONTRACTS["official-multi"], small_model.config, 1 + seed, seed=200 + seed)
        _, _, logits = session("official-multi", precision).run(None, feeds)
        expected = decode(small_model, feeds)[0].numpy()
        shared.append(overlap(logits > 0, expected > 0))
    assert np.mean(shared) >= least


def test_published_decoder_in_int8_is_a_quarter_and_keeps_its_masks():
    torch.manual_seed(0)
    graph = export_decoder(SAM.from_variant("tiny").eval(), "official-multi", "int8")
    assert len(graph.bytes) < 4.5e6
    assert graph.agreement.mask_iou >= 0.97
    large = [
        tensor for tensor in onnx.load_model_from_string(graph.bytes).graph.initializer if np.prod(tensor.dims) > 2048
    ]
    matrices, kernels = ({tensor.data_type for tensor in large if len(tensor.dims) == axes} for axes in (2, 4))
    assert (matrices, kernels) == ({TensorProto.INT8}, {TensorProto.FLOAT16})


def test_embedded_models_int8_masks_follow_pytorch_on_a_photograph():
    if not EMBEDDED["tiny"].exists():
        pytest.skip("the embedded model's weights are not in this checkout")
    gallery = Path(__file__).parents[2] / "static" / "gallery"
    model = load_sam("tiny")
    embedding = encode(model, np.asarray(Image.open(gallery / "astronaut.jpg").convert("RGB")))
    running = onnxruntime.InferenceSession(export_decoder(model, "official-multi", "int8").bytes)
    for point in np.float32([[430, 300], [250, 200], [700, 800], [900, 120]]):
        feeds = {
            "image_embeddings": embedding.features.numpy(),
            "point_coords": np.stack([point, np.zeros(2, np.float32)])[None],
            "point_labels": np.float32([[1, -1]]),
            **blank_mask(model),
            "orig_im_size": np.float32([256, 256]),
        }
        _, _, logits = running.run(None, feeds)
        expected, iou = (tensor[0].numpy() for tensor in decode(model, feeds))
        best = 1 + int(iou[1:].argmax())
        assert overlap(logits[0, best] > 0, expected[best] > 0) >= 0.97


# --- verification and writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_graph_that_differs_from_pytorch_is_refused(small_model, monkeypatch, precision):
    pin = sam_export.onnx_graph.pin

    def spoil(model, metadata):
        weight = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
        value = numpy_helper.to_array(weight)
        weight.CopyFrom(numpy_helper.from_array(value[::-1].copy(), weight.name))
        pin(model, metadata)

    monkeypatch.setattr(sam_export.onnx_graph, "pin", spoil)
    with pytest.raises(VerificationError, match="against PyTorch"):
        export_decoder(small_model, "official-multi", precision)


def test_not_a_number_fails_the_verification(small_model, monkeypatch):
    monkeypatch.setattr(verification, "MAX_ERROR", float("nan"))
    with pytest.raises(VerificationError):
        export_decoder(small_model, "official-multi")


@pytest.mark.parametrize(
    ("contract", "precision", "named"), [("officail", "fp32", "official-multi"), ("official-multi", "int4", "int8")]
)
def test_unknown_contract_and_precision_name_the_known_ones(small_model, contract, precision, named):
    with pytest.raises(ValueError, match=named):
        export_decoder(small_model, contract, precision)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(export, tmp_path, monkeypatch):
    target = tmp_path / "decoder.onnx"
    target.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(sam_export.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_decoder(export(), target)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(small_model, tmp_path) -> Path:
    path = tmp_path / "small.safetensors"
    small_model.save(path)
    return path


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "export_onnx.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_command_writes_the_graph_that_the_function_makes(export, checkpoint, tmp_path):
    output = tmp_path / "decoder.onnx"
    done = run("--checkpoint", checkpoint, "--output", output, "--contract", "official-multi", "--quantize")
    assert done.returncode == 0, done.stderr
    graph = export("official-multi", "int8")
    assert output.read_bytes() == graph.bytes
    for said in (graph.sha256, "official-multi, version 1", "int8", "max error", graph.weights_hash[:12]):
        assert said in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decoder.onnx", "small.safetensors"]


def test_command_that_fails_verification_leaves_no_file(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verification, "MAX_ERROR", 0.0)
    output = tmp_path / "decoder.onnx"
    assert export_onnx.main(["--checkpoint", str(checkpoint), "--output", str(output)]) == 1
    assert "nothing written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["small.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--checkpoint", "missing.pth"], "missing.pth"),
        (["--checkpoint", __file__], "test_export.py"),
        (["--contract", "cvta"], "official-multi"),
        (["--output", "no/such/folder/decoder.onnx"], "there is no folder"),
        (["--output", "."], "is a folder"),
        (["--model-type", "vit_b"], "vit_b"),
        (["--quantize", "--precision", "fp16"], "not allowed with"),
    ],
)
def test_command_refuses_with_a_reason_and_without_a_traceback(checkpoint, tmp_path, capsys, arguments, reason):
    valid = {"--checkpoint": str(checkpoint), "--output": str(tmp_path / "decoder.onnx")}
    defaults = [word for pair in valid.items() if pair[0] not in arguments for word in pair]
    with pytest.raises(SystemExit) as stop:
        export_onnx.main(defaults + arguments)
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["small.safetensors"]


def test_help_shows_every_contract_and_examples():
    done = run("--help")
    assert done.returncode == 0
    for said in (*CONTRACTS, *PRECISIONS, "examples:", "samexporter", "--quantize"):
        assert said in done.stdout
