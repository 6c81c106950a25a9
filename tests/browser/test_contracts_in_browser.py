"""Graphs exported for other pages run in real onnxruntime-web in real Chromium and answer as PyTorch does."""

import numpy as np
import onnxruntime
import pytest
from browser_page import PATIENCE_MS

from demo.routes.page import static_folder
from sam import encode, predict
from sam.export import PRECISIONS, export_decoder, export_encoder
from sam.graphs.contracts import DECODERS, example_inputs

pytestmark = pytest.mark.browser

ORIGIN = "https://frontend.test"
"""Somebody else's page: the test answers for it, nobody on a network."""

RUN = """async (feeds) => {
    const ort = await import('/ort.wasm.bundle.min.mjs');
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create('/graph.onnx');
    const typed = { float32: (data) => Float32Array.from(data), int64: (data) => BigInt64Array.from(data, BigInt) };
    const tensors = {};
    for (const [name, { type, data, dims }] of Object.entries(feeds))
        tensors[name] = new ort.Tensor(type, typed[type](data), dims);
    const answers = {};
    for (const [name, { dims, data }] of Object.entries(await session.run(tensors)))
        answers[name] = { dims: [...dims], data: Array.from(data, Number) };
    await session.release();
    return answers;
}"""


@pytest.fixture(scope="module")
def model(small_config, random_model):
    """A small SAM whose masks cover a fifth to four fifths of the picture."""
    return random_model(small_config, seed=116)


@pytest.fixture(scope="module")
def run(chromium, runtime):
    """Run graphs in one page and read their answers as arrays, in the graph's order."""
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE_MS)
    (vendor,) = static_folder().glob("vendor/onnxruntime-web-*")
    files = {f"/{file.name}": file.read_bytes() for file in vendor.iterdir() if file.suffix in (".mjs", ".wasm")}
    files["/"] = b"<!doctype html>"
    types = {".mjs": "text/javascript", ".wasm": "application/wasm", ".onnx": "application/octet-stream"}

    def answer(route):
        path = route.request.url.removeprefix(ORIGIN)
        suffix = path[path.rfind(".") :]
        found = path in files
        route.fulfill(status=200 if found else 404, body=files.get(path), content_type=types.get(suffix, "text/html"))

    def ask(graph, feeds):
        files["/graph.onnx"] = graph
        tensors = {
            name: {"type": str(value.dtype), "dims": value.shape, "data": value.flatten().tolist()}
            for name, value in feeds.items()
        }
        answers = page.evaluate(RUN, tensors)
        return {name: np.array(value["data"]).reshape(value["dims"]) for name, value in answers.items()}

    page.route(f"{ORIGIN}/**", answer)
    page.goto(f"{ORIGIN}/")
    yield ask
    page.close()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_official_graph_shows_the_predictors_mask_for_a_click(run, model, photo, precision):
    """Meta's demo: the click times the scale of the long side, padding because there is no box, the first output."""
    embedding = encode(model, photo)
    scale = model.config.image_size / max(photo.shape[:2])
    feeds = {
        "image_embeddings": embedding.features.numpy(),
        "point_coords": np.float32([[[30 * scale, 20 * scale], [0, 0]]]),
        "point_labels": np.float32([[1, -1]]),
        "mask_input": np.zeros((1, 1, *model.config.low_res_hw), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.float32(photo.shape[:2]),
    }
    answers = run(export_decoder(model, precision=precision).bytes, feeds)
    expected = predict(model, embedding, np.array([[30, 20]]), np.array([1]))
    best = int(expected.iou_predictions.argmax())
    given = answers["masks"][0, 0] > 0
    overlap = (given & expected.masks[best]).sum() / (given | expected.masks[best]).sum()
    assert overlap >= {"fp32": 0.999, "fp16": 0.99, "int8": 0.95, "uint8": 0.85}[precision]
    if precision == "fp32":
        np.testing.assert_allclose(answers["low_res_masks"][0, 0], expected.low_res_logits[best], rtol=0, atol=1e-3)


@pytest.mark.parametrize("contract", DECODERS)
def test_every_decoder_answers_in_the_browser_as_it_does_natively(run, model, contract):
    graph = export_decoder(model, contract)
    feeds = example_inputs(DECODERS[contract], model.config, points=2, seed=5)
    native = onnxruntime.InferenceSession(graph.bytes).run(list(graph.outputs), feeds)
    answers = run(graph.bytes, feeds)
    assert set(answers) == set(graph.outputs)
    for name, expected in zip(graph.outputs, native, strict=True):
        np.testing.assert_allclose(answers[name], expected, rtol=0, atol=1e-3)


def test_encoder_with_preprocessing_inside_gives_the_models_embedding(run, model, photo):
    resized = np.zeros((85, 128, 3), np.float32) + photo[:1, :1]
    graph = export_encoder(model, preprocess="inside")
    native = onnxruntime.InferenceSession(graph.bytes).run(None, {"input_image": resized})[0]
    answers = run(graph.bytes, {"input_image": resized})
    np.testing.assert_allclose(answers["image_embeddings"], native, rtol=0, atol=1e-3)
