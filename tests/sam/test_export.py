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
from sam import SAM, VARIANTS, SAMConfig, encode, load_sam
from sam import export as sam_export
from sam.bundle import FRONTENDS
from sam.checkpoint import EMBEDDED
from sam.config import DecoderConfig, TinyConfig, TinyViTConfig, ViTConfig
from sam.export import OPSETS, PRECISIONS, VerificationError, export_decoder, export_encoder, trace, write_files
from sam.graphs import verification
from sam.graphs.contracts import DECODERS, ENCODERS, WHOLE, example_inputs
from sam.graphs.rewrites import constants_to_initializers, fold_shapes
from sam.transforms import resize_image

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
    feeds = example_inputs(DECODERS["official-multi"], small_model.config, points, seed=100 + points)
    _, iou, logits = session("official-multi").run(None, feeds)
    expected_logits, expected_iou = decode(small_model, feeds)
    np.testing.assert_allclose(logits, expected_logits, **CLOSE)
    np.testing.assert_allclose(iou, expected_iou, **CLOSE)


@pytest.mark.parametrize("has_mask", [0, 1, -1])
@pytest.mark.parametrize("points", [1, 2, 3, 7])
def test_official_multi_answers_as_pytorch_with_and_without_a_mask(small_model, session, points, has_mask):
    feeds = example_inputs(DECODERS["official-multi"], small_model.config, points, seed=points)
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
    feeds = example_inputs(DECODERS["official"], small_model.config, points, seed=20 + points)
    masks, iou, low_res = session("official").run(None, feeds)
    expected, expected_iou = decode(small_model, feeds)
    token = 0 if points >= 3 else 1 + int(expected_iou[0, 1:].argmax())
    np.testing.assert_allclose(low_res[0, 0], expected[0, token], **CLOSE)
    np.testing.assert_allclose(iou[0, 0], expected_iou[0, token], **CLOSE)
    assert masks.shape == (1, 1, *feeds["orig_im_size"].astype(int))


@pytest.mark.parametrize("original", [(37, 90), (90, 37), (128, 128), (1, 300), (683, 1024), (3000, 1001)])
def test_graph_crops_to_the_same_resized_size_as_the_frame(small_model, session, original):
    feeds = example_inputs(DECODERS["official"], small_model.config, 3, seed=1)
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
    feeds = example_inputs(DECODERS["official-multi"], config, 4, seed=3) | {"orig_im_size": np.float32([50, 70])}
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


# --- the file's form -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contract", DECODERS)
def test_opset_and_ir_are_pinned_and_every_operator_is_standard(proto, contract):
    model = proto(contract)
    assert model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("contract", DECODERS)
def test_no_tensor_is_float64(proto, contract, precision):
    model = onnx.shape_inference.infer_shapes(proto(contract, precision))
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    kinds |= {value.type.tensor_type.elem_type for value in model.graph.value_info}
    kinds |= {attribute.i for node in model.graph.node if node.op_type == "Cast" for attribute in node.attribute}
    assert TensorProto.DOUBLE not in kinds
    stored = {TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32}
    assert kinds - stored <= {TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL}


POINTS = {("point_coords", 1, "N"), ("point_labels", 1, "N")}
SIZES = {("masks", 2, "height"), ("masks", 3, "width")}
PROMPTS = {(name, axis, "BPN"[axis]) for name in ("input_points", "input_labels") for axis in range(3)}
PROMPTS |= {(name, axis, "BP"[axis]) for name in ("iou_scores", "pred_masks") for axis in range(2)}
PROMPTS |= {(name, 0, "B") for name in ("image_embeddings", "image_positional_embeddings")}
DYNAMIC = {"edgesam": POINTS, "transformers-js": PROMPTS}


@pytest.mark.parametrize("contract", DECODERS)
def test_inputs_and_outputs_have_the_contracts_names_and_only_what_clients_vary_is_dynamic(proto, contract):
    graph, rules = proto(contract).graph, DECODERS[contract]
    assert tuple(value.name for value in graph.input) == rules.inputs
    assert tuple(value.name for value in graph.output) == rules.outputs
    dynamic = {
        (value.name, axis, length.dim_param)
        for value in [*graph.input, *graph.output]
        for axis, length in enumerate(value.type.tensor_type.shape.dim)
        if not length.HasField("dim_value")
    }
    assert dynamic == DYNAMIC.get(contract, POINTS | SIZES)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_answers_as_pytorch_and_takes_the_oldest_ir_that_knows_it(small_model, opset):
    for graph in (export_decoder(small_model, opset=opset), export_encoder(small_model, opset=opset)):
        model = onnx.load_model_from_string(graph.bytes)
        assert [entry.version for entry in model.opset_import] == [opset]
        assert model.ir_version == (8 if opset < 19 else 9)


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
    plain = trace(rules, rules.module(small_model).eval(), probes[0])
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


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.99), ("int8", 0.97), ("uint8", 0.9)])
def test_smaller_weights_keep_the_masks(small_model, session, precision, least):
    shared = []
    for seed in range(6):
        feeds = example_inputs(DECODERS["official-multi"], small_model.config, 1 + seed, seed=200 + seed)
        _, _, logits = session("official-multi", precision).run(None, feeds)
        expected = decode(small_model, feeds)[0].numpy()
        shared.append(overlap(logits > 0, expected > 0))
    assert np.mean(shared) >= least


PUBLISHED = SAMConfig(VARIANTS["tiny"].image_encoder, DecoderConfig())
"""A cheap encoder and the decoder of every published checkpoint."""


def test_published_decoder_in_int8_is_a_quarter_and_keeps_its_masks():
    torch.manual_seed(0)
    graph = export_decoder(SAM.from_config(PUBLISHED).eval(), "official-multi", "int8")
    assert len(graph.bytes) < 4.5e6
    assert graph.agreement.mask_iou >= 0.97
    large = [
        tensor for tensor in onnx.load_model_from_string(graph.bytes).graph.initializer if np.prod(tensor.dims) > 2048
    ]
    matrices, kernels = ({tensor.data_type for tensor in large if len(tensor.dims) == axes} for axes in (2, 4))
    assert (matrices, kernels) == ({TensorProto.INT8}, {TensorProto.INT8, TensorProto.FLOAT16})
    transposed = [tensor for tensor in large if "output_upscaling" in tensor.name]
    assert {tensor.data_type for tensor in transposed} == {TensorProto.FLOAT16}


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
            "mask_input": np.zeros((1, 1, *model.config.low_res_hw), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.float32([256, 256]),
        }
        _, _, logits = running.run(None, feeds)
        expected, iou = (tensor[0].numpy() for tensor in decode(model, feeds))
        best = 1 + int(iou[1:].argmax())
        assert overlap(logits[0, best] > 0, expected[best] > 0) >= 0.97


# --- verification and writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_graph_that_differs_from_pytorch_is_refused(small_model, monkeypatch, precision):
    pin = sam_export.rewrites.pin

    def spoil(model, *arguments):
        for weight in model.graph.initializer:
            if len(weight.dims) == 2:
                weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight)[::-1].copy(), weight.name))
        pin(model, *arguments)

    monkeypatch.setattr(sam_export.rewrites, "pin", spoil)
    with pytest.raises(VerificationError, match="against PyTorch"):
        export_decoder(small_model, "official-multi", precision)


def test_not_a_number_fails_the_verification(small_model, monkeypatch):
    monkeypatch.setitem(verification.TOLERANCES, "fp32", ("max_error", float("nan")))
    with pytest.raises(VerificationError):
        export_decoder(small_model, "official-multi")


@pytest.mark.parametrize(
    ("contract", "precision", "named"), [("officail", "fp32", "official-multi"), ("official-multi", "int4", "int8")]
)
def test_unknown_contract_and_precision_name_the_known_ones(small_model, contract, precision, named):
    with pytest.raises(ValueError, match=named):
        export_decoder(small_model, contract, precision)


@pytest.mark.parametrize(("opset", "reason"), [(16, "LayerNormalization"), (21, "exporter ends")])
def test_an_opset_out_of_reach_is_refused_with_the_reason(small_model, opset, reason):
    with pytest.raises(ValueError, match=reason):
        export_decoder(small_model, opset=opset)


def test_a_failed_write_leaves_the_old_files_and_nothing_else(tmp_path, monkeypatch):
    files = {tmp_path / name: b"new" for name in ("prepare.onnx", "point.onnx")}
    (tmp_path / "point.onnx").write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(sam_export.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_files(files)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


# --- encoders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("contract", "preprocess"), ENCODERS)
def test_encoders_of_every_frontend_give_pytorchs_masks(small_model, contract, preprocess, precision):
    graph = export_encoder(small_model, contract, precision, preprocess=preprocess)
    assert graph.agreement.mask_iou >= 0.97
    assert graph.agreement.max_error <= {"fp32": 1e-4, "fp16": 0.01, "int8": 0.1, "uint8": 0.5}[precision]


TINY_VIT = TinyViTConfig(
    img_size=128, embed_dims=(8, 16, 16, 32), depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), window_sizes=(7, 7, 8, 4),
    out_chans=32,
)  # fmt: skip
TINY = TinyConfig(img_size=128, widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), num_heads=4, out_chans=32)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("encoder", [TINY_VIT, TINY], ids=["vit_t", "tiny"])
def test_encoders_of_every_kind_export(random_model, encoder, precision):
    model = random_model(SAMConfig(encoder, DecoderConfig(num_heads=4, mlp_dim=64, iou_head_hidden_dim=32)))
    assert export_encoder(model, precision=precision).agreement.mask_iou >= 0.95


def test_encoder_with_preprocessing_inside_takes_the_resized_picture_as_it_is(small_model, photo):
    embedding = encode(small_model, photo)
    resized = resize_image(photo, embedding.frame)
    graph = export_encoder(small_model, preprocess="inside")
    given = onnxruntime.InferenceSession(graph.bytes).run(None, {"input_image": resized.astype(np.float32)})[0]
    np.testing.assert_allclose(given, embedding.features, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("cvat",), "sent embeddings"), (("hover",), "sent embeddings"), (("labelme", "inside"), "labelme preprocesses")],
)
def test_frontends_without_such_an_encoder_are_named(small_model, arguments, reason):
    contract, *preprocess = arguments
    with pytest.raises(ValueError, match=reason):
        export_encoder(small_model, contract, preprocess=(preprocess or [None])[0])


@pytest.mark.parametrize("contract", ["labelme", "edgesam", "transformers-js"])
def test_encoder_of_a_model_that_wants_other_pixels_than_its_client_gives_is_refused(random_model, contract):
    model = random_model(SAMConfig(TINY, DecoderConfig(num_heads=4), preprocessing="medsam"))
    with pytest.raises(ValueError, match="normalises pictures as SAM does"):
        export_encoder(model, contract)
    assert export_encoder(model, "official-multi").agreement.mask_iou > 0.99


def test_encoder_too_large_for_a_file_is_refused_before_any_work(monkeypatch):
    with torch.device("meta"):
        model = SAM.from_variant("vit_h")
    with pytest.raises(ValueError, match=r"2\.55 GB"):
        export_encoder(model)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(small_model, tmp_path) -> Path:
    path = tmp_path / "small.safetensors"
    small_model.save(path)
    return path


@pytest.fixture
def command(checkpoint):
    """The command on the small model's checkpoint, in this process."""
    return lambda *words: export_onnx.main(["--checkpoint", str(checkpoint), *map(str, words)])


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "export_onnx.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_command_writes_the_graph_that_the_function_makes(export, checkpoint, tmp_path):
    output = tmp_path / "decoder.onnx"
    done = run("--checkpoint", checkpoint, "--output", output, "--contract", "official-multi", "--quantize")
    assert done.returncode == 0, done.stderr
    graph = export("official-multi", "int8")
    assert output.read_bytes() == graph.bytes
    for said in (graph.sha256, "official-multi, version 1", "int8", "max error", graph.weights_hash[:12]):
        assert said in done.stdout
    assert names(tmp_path) == ["decoder.onnx", "small.safetensors"]


@pytest.mark.parametrize(("contract", "preprocess"), ENCODERS)
def test_command_writes_encoders(command, tmp_path, contract, preprocess):
    output = tmp_path / ("models" if contract == "transformers-js" else "encoder.onnx")
    words = ("--contract", contract, "--part", "encoder", "--preprocess", preprocess, "--output", output)
    assert command(*words) == 0
    (written,) = output.rglob("*.onnx") if output.is_dir() else [output]
    name = ENCODERS[contract, preprocess].inputs[0]
    assert [value.name for value in onnxruntime.InferenceSession(written).get_inputs()] == [name]


def test_hover_is_a_folder_whose_json_says_what_the_page_must_know(command, small_model, tmp_path):
    folder = tmp_path / "hover"
    assert command("--contract", "hover", "--precision", "int8", "--output", folder) == 0
    assert names(folder) == ["hover.json", "point.onnx", "prepare.onnx", "prepare_with_mask.onnx"]
    about = json.loads((folder / "hover.json").read_text())
    assert (about["contract"], about["contract_version"], about["precision"]) == ("hover", 2, "int8")
    assert (about["model_id"], about["weights_hash"]) == ("custom", small_model.weights_hash())
    assert about["padding"] and about["selection"]
    for file in about["files"].values():
        data = (folder / file["file"]).read_bytes()
        running = onnxruntime.InferenceSession(data)
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert file["inputs"] == [value.name for value in running.get_inputs()]
        assert file["outputs"] == [value.name for value in running.get_outputs()]
    assert about["files"]["prepare"]["outputs"] == about["files"]["prepare_with_mask"]["outputs"]
    assert set(about["files"]["point"]["inputs"]) >= set(about["files"]["prepare"]["outputs"])


@pytest.mark.parametrize(
    ("precision", "suffix"), [("fp32", ""), ("fp16", "_fp16"), ("int8", "_int8"), ("uint8", "_quantized")]
)
def test_transformers_js_finds_its_files_by_their_names(command, tmp_path, precision, suffix):
    assert command("--contract", "transformers-js", "--precision", precision, "--output", tmp_path / "model") == 0
    graphs = [f"onnx/{name}{suffix}.onnx" for name in ("prompt_encoder_mask_decoder", "vision_encoder")]
    assert names(tmp_path / "model") == sorted(["config.json", "preprocessor_config.json", *graphs])


@pytest.mark.parametrize(
    "words",
    [
        ("--contract", "cvat"),
        ("--contract", "official-multi", "--part", "encoder", "--precision", "uint8"),
        ("--contract", "labelme", "--part", "encoder", "--precision", "fp16"),
        ("--contract", "hover"),
        ("--contract", "transformers-js", "--precision", "uint8"),
    ],
)
def test_a_written_export_verifies_by_what_it_says_of_itself(command, tmp_path, capsys, words):
    assert command(*words, "--output", tmp_path / "export") == 0
    assert command("--verify", tmp_path / "export") == 0
    assert "mask IoU" in capsys.readouterr().out.splitlines()[-1]


def test_a_file_that_says_nothing_is_verified_as_what_the_options_name(command, export, tmp_path):
    silent = onnx.load_model_from_string(export("edgesam").bytes)
    silent.ClearField("metadata_props")
    onnx.save(silent, tmp_path / "decoder.onnx")
    assert command("--contract", "edgesam", "--verify", tmp_path / "decoder.onnx") == 0


def test_a_file_of_other_weights_is_not_verified(command, random_model, small_config, tmp_path, capsys):
    other = random_model(small_config, seed=1)
    (tmp_path / "decoder.onnx").write_bytes(export_decoder(other).bytes)
    assert command("--verify", tmp_path / "decoder.onnx") == 1
    assert f"weights {other.weights_hash()[:12]}" in capsys.readouterr().err


def test_command_that_fails_verification_leaves_no_file(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(verification.TOLERANCES, "fp32", ("max_error", 0.0))
    for contract in ("official", "hover", "transformers-js"):
        assert command("--contract", contract, "--output", tmp_path / "export") == 1
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
        (["--contract", "hover", "--output", __file__], "is a file; hover is a folder"),
        (["--model-type", "vit_b"], "vit_b"),
        (["--quantize", "--precision", "fp16"], "not allowed with"),
        (["--opset", "16"], "LayerNormalization"),
        (["--contract", "cvat", "--part", "encoder"], "has no encoder"),
        (["--contract", "hover", "--part", "encoder"], "has no encoder"),
        (["--contract", "edgesam", "--part", "encoder", "--preprocess", "inside"], "edgesam preprocesses outside"),
        (["--preprocess", "inside"], "the encoder's"),
    ],
)
def test_command_refuses_with_a_reason_and_without_a_traceback(checkpoint, tmp_path, capsys, arguments, reason):
    valid = {"--checkpoint": str(checkpoint), "--output": str(tmp_path / "decoder.onnx")}
    defaults = [word for pair in valid.items() if pair[0] not in arguments for word in pair]
    with pytest.raises(SystemExit) as stop:
        export_onnx.main(defaults + arguments)
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err
    assert names(tmp_path) == ["small.safetensors"]


@pytest.mark.parametrize("arguments", [["--contract", "hover", "--part", "encoder"], ["--opset", "9"]])
def test_contradictions_are_refused_before_the_checkpoint_is_read(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit):
        export_onnx.main(["--checkpoint", "missing.pth", "--output", str(tmp_path / "decoder.onnx"), *arguments])
    assert "missing.pth" not in capsys.readouterr().err


def test_help_shows_every_frontend_and_an_example_for_it():
    done = run("--help")
    assert done.returncode == 0
    for said in (*PRECISIONS, "samexporter", "labelme", "CVAT", "transformers.js", "EdgeSAM", "--quantize", "--verify"):
        assert said in done.stdout
    examples = done.stdout.split("an example per frontend:")[1]
    assert all(f"--contract {contract} " in examples for contract in FRONTENDS if contract != "official")
