"""The rearranged decoder is the model's decoder: the same answers for every model and prompt, for fewer products."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sam import SAM, SAMConfig, load_sam
from sam import export as sam_export
from sam.checkpoint import EMBEDDED
from sam.config import VARIANTS, DecoderConfig, TinyConfig, ViTConfig
from sam.export import PRECISIONS, VerificationError, export_hover_pair
from sam.graphs.hover import Point, Prepare, PrepareWithMask, normalize_rows, quadruple

CLOSE = {"rtol": 0, "atol": 1e-3}
OTHER_SHAPES = {
    "grid that is not square": SAMConfig(
        TinyConfig(img_size=(128, 192), widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), num_heads=4, out_chans=32)
    ),
    "one block": SAMConfig(
        ViTConfig(64, 16, 16, 1, 2, out_chans=32, global_attn_indexes=()),
        DecoderConfig(num_multimask_outputs=2, depth=1, num_heads=2),
    ),
    "three blocks": SAMConfig(
        ViTConfig(64, 16, 16, 1, 2, out_chans=64, global_attn_indexes=()), DecoderConfig(depth=3, num_heads=4)
    ),
}
PROMPTS = {
    "click": ([[40, 30], [0, 0]], [1, -1]),
    "three clicks": ([[40, 30], [90, 70], [5, 120], [0, 0]], [1, 0, 1, -1]),
    "box": ([[10, 20], [100, 90]], [2, 3]),
    "click and box": ([[40, 30], [10, 20], [100, 90]], [1, 2, 3]),
}


def prompt(name, scale=1.0):
    coords, labels = PROMPTS[name]
    return torch.tensor([coords], dtype=torch.float32) * scale, torch.tensor([labels], dtype=torch.float32)


def embedding_of(model, seed=0):
    return torch.randn(model.config.embedding_shape, generator=torch.Generator().manual_seed(seed))


def parts(model):
    return model.prompt_encoder, model.mask_decoder


@torch.no_grad()
def decode(model, embedding, coords, labels, mask=None):
    encoder = model.prompt_encoder
    dense = encoder.embed_no_mask(1) if mask is None else encoder.mask_downscaling(mask)
    sparse = encoder.embed_points(coords, labels)
    return model.mask_decoder.predict_masks(embedding, encoder.get_dense_pe(), sparse, dense)


def assert_close(answers, expected):
    for ours, theirs in zip(answers, expected, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), **CLOSE)


def run_pair(pair, embedding, coords, labels):
    prepare, point = (onnxruntime.InferenceSession(graph.bytes) for graph in (pair.prepare, pair.point))
    names = [value.name for value in prepare.get_outputs()]
    prepared = dict(zip(names, prepare.run(None, {"image_embeddings": embedding.numpy()}), strict=True))
    return point.run(None, prepared | {"point_coords": coords.numpy(), "point_labels": labels.numpy()})


# --- the algebra -----------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("name", PROMPTS)
def test_every_kind_of_prompt_gets_the_decoders_answer(small_model, name):
    embedding, given = embedding_of(small_model), prompt(name)
    answers = Point(*parts(small_model))(*given, *Prepare(*parts(small_model))(embedding))
    assert_close(answers, decode(small_model, embedding, *given))


@torch.no_grad()
@pytest.mark.parametrize("config", OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_models_of_other_shapes_get_the_decoders_answer(random_model, config):
    model = random_model(config)
    embedding, given = embedding_of(model), prompt("three clicks", 0.4)
    answers = Point(*parts(model))(*given, *Prepare(*parts(model))(embedding))
    assert_close(answers, decode(model, embedding, *given))


@torch.no_grad()
def test_a_mask_prompt_is_prepared_with_the_picture(small_model):
    embedding, given = embedding_of(small_model), prompt("click")
    mask = torch.randn(1, 1, *small_model.config.low_res_hw) * 8
    answers = Point(*parts(small_model))(*given, *PrepareWithMask(*parts(small_model))(embedding, mask))
    expected = decode(small_model, embedding, *given, mask)
    assert_close(answers, expected)
    assert (expected[0] - decode(small_model, embedding, *given)[0]).abs().max() > 0.1  # the mask does matter


@torch.no_grad()
def test_transposed_convolution_is_a_product_of_rows():
    conv = torch.nn.ConvTranspose2d(6, 5, kernel_size=2, stride=2)
    x = torch.randn(1, 6, 3, 4)
    rows = quadruple(conv, x[0].flatten(1).T).view(3, 4, 2, 2, 5)
    torch.testing.assert_close(rows.permute(4, 0, 2, 1, 3).reshape(1, 5, 6, 8), conv(x))


@torch.no_grad()
def test_written_out_normalisation_is_layer_normalisation_far_from_zero_too():
    norm = torch.nn.LayerNorm(32)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    for offset in (0, 100):
        rows = torch.randn(50, 32) + offset
        torch.testing.assert_close(normalize_rows(rows, norm), norm(rows), rtol=0, atol=1e-4)


# --- the figures -----------------------------------------------------------------------------------------------------


def products(call):
    """Multiply-adds of matrix products and convolutions while `call` runs."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the others are not counted
        call()
    return counter.get_total_flops() // 2


DECODERS_OF_THE_DOCSTRING = {
    "published": (DecoderConfig(), {"whole": 1813, "prepare": 404, "point": 881}, 10.5e6),
    "tiny": (VARIANTS["tiny"].mask_decoder, {"whole": 597, "prepare": 235, "point": 223}, 5.2e6),
}


@torch.no_grad()
@pytest.mark.parametrize("name", DECODERS_OF_THE_DOCSTRING)
def test_decoder_takes_the_products_that_the_docstring_names(name):
    decoder, millions, kept = DECODERS_OF_THE_DOCSTRING[name]
    torch.manual_seed(0)
    model = SAM.from_variant("tiny", mask_decoder=decoder).eval()
    embedding, given = embedding_of(model), prompt("click", 8)
    prepare, point = Prepare(*parts(model)), Point(*parts(model))
    prepared = prepare(embedding)
    counts = {
        "whole": products(lambda: decode(model, embedding, *given)),
        "prepare": products(lambda: prepare(embedding)),
        "point": products(lambda: point(*given, *prepared)),
    }
    assert counts == pytest.approx({part: 1e6 * million for part, million in millions.items()}, rel=0.003)
    assert sum(tensor.nbytes for tensor in prepared) == pytest.approx(kept, rel=0.01)
    assert_close(point(*given, *prepared), decode(model, embedding, *given))


# --- the graphs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(small_model):
    return export_hover_pair(small_model)


@pytest.mark.parametrize("name", PROMPTS)
def test_graphs_answer_as_pytorch(small_model, pair, name):
    embedding, given = embedding_of(small_model, seed=1), prompt(name)
    assert_close(run_pair(pair, embedding, *given), decode(small_model, embedding, *given))


@pytest.mark.parametrize("config", OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_graphs_of_models_of_other_shapes_answer_as_pytorch(random_model, config):
    model = random_model(config)
    embedding, given = embedding_of(model), prompt("click and box", 0.4)
    assert_close(run_pair(export_hover_pair(model), embedding, *given), decode(model, embedding, *given))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_both_graphs_name_the_weights_the_contract_and_the_pairs_agreement(small_model, precision):
    pair = export_hover_pair(small_model, precision)
    for graph, contract in ((pair.prepare, "hover-prepare"), (pair.point, "hover-point")):
        properties = onnxruntime.InferenceSession(graph.bytes).get_modelmeta().custom_metadata_map
        assert properties["sam.contract"] == graph.contract == contract
        assert properties["sam.contract_version"] == str(graph.contract_version) == "2"
        assert properties["sam.weights_hash"] == graph.weights_hash == small_model.weights_hash()
        assert properties["sam.precision"] == graph.precision == precision
    assert pair.prepare.agreement == pair.point.agreement
    assert pair.point.agreement.mask_iou >= (0.9 if precision == "uint8" else 0.97)


def test_a_pair_that_differs_from_the_model_is_refused(small_model, monkeypatch):
    monkeypatch.setattr("sam.graphs.hover.softmax_of_scaled", lambda scores, attention: scores.softmax(-1))
    with pytest.raises(VerificationError, match="against PyTorch"):
        export_hover_pair(small_model)


def test_the_same_model_exports_to_the_same_pair(small_model, pair):
    again = export_hover_pair(small_model)
    assert (again.prepare.sha256, again.point.sha256) == (pair.prepare.sha256, pair.point.sha256)


def test_unknown_precision_names_the_known_ones(small_model):
    with pytest.raises(ValueError, match="int8"):
        export_hover_pair(small_model, "int4")


def test_embedded_models_pair_answers_as_pytorch():
    if not EMBEDDED["tiny"].exists():
        pytest.skip("the embedded model's weights are not in this checkout")
    assert export_hover_pair(load_sam("tiny")).point.agreement.max_error <= sam_export.MAX_ERROR
