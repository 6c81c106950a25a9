"""The WebAssembly kernel in real Chromium computes what PyTorch computes, for every shape of decoder that it takes."""

import base64
import re

import numpy as np
import pytest
import torch

from sam import SAM, SAMConfig
from sam.config import VARIANTS, DecoderConfig, TinyConfig, ViTConfig
from sam.graphs.hover import Prepare, PrepareWithMask, decoder_weights

pytestmark = pytest.mark.browser

CLOSE = 1e-3
THREADS = (1, 2, 3)
SMALL = ViTConfig(64, 16, 16, 1, 2, out_chans=32, global_attn_indexes=())
DECODERS = {
    "one block": SAMConfig(SMALL, DecoderConfig(depth=1, num_heads=1, mlp_dim=64, iou_head_hidden_dim=32)),
    "three blocks": SAMConfig(SMALL, DecoderConfig(depth=3, num_heads=1, mlp_dim=64, iou_head_hidden_dim=32)),
    "grid that is not square": SAMConfig(
        TinyConfig(img_size=(128, 192), widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), num_heads=4, out_chans=64),
        DecoderConfig(num_heads=2, mlp_dim=64, iou_head_hidden_dim=32),
    ),
    "narrow": SAMConfig(
        ViTConfig(256, 16, 16, 1, 2, out_chans=64, global_attn_indexes=()), VARIANTS["tiny"].mask_decoder
    ),
    "published": SAMConfig(ViTConfig(1024, 16, 16, 1, 2, global_attn_indexes=())),
}
PROMPTS = {
    "click": ([[40, 30], [0, 0]], [1, -1]),
    "click without padding": ([[40, 30]], [1]),
    "box": ([[10, 20], [60, 50]], [2, 3]),
    "three clicks": ([[40, 30], [60, 50], [5, 60], [0, 0]], [1, 0, 1, -1]),
    "ten clicks and a box": ([[6 * i, 60 - 5 * i] for i in range(12)], [1, 0] * 5 + [2, 3]),
    "as many as the kernel takes": ([[2.5 * i, 60 - 2.5 * i] for i in range(24)], [1, 0] * 12),
}
ASK = """async ({ weights, cells, prompts, threads }) => {
    const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
    const packed = (values) => {
        const [all, letters] = [new Uint8Array(values.buffer), []];
        for (let at = 0; at < all.length; at += 8192) letters.push(String.fromCharCode(...all.subarray(at, at + 8192)));
        return btoa(letters.join(''));
    };
    const { compileKernel, openPointKernel } = await import('/static/js/kernel/loader.js');
    const [kernel, packedWeights, data] = [await compileKernel(), bytes(weights), new Float32Array(bytes(cells))];
    const answers = [];
    for (const count of threads) {
        const decoder = await openPointKernel(kernel, packedWeights.slice(), count);
        decoder.hold({ cells: { data } });
        for (const { coords, labels } of prompts) {
            const { logits, iou } = await decoder.point(Float32Array.from(coords), Float32Array.from(labels));
            answers.push({ logits: packed(logits.slice()), iou: Array.from(iou) });
        }
    }
    return answers;
}"""


def ask(sam_page, model: SAM, cells, prompts: list, *, threads=(1,), dtype: torch.dtype = torch.float32) -> list:
    """The kernel's answers in the page's decoder worker, for each number of threads: [(logits, IoU estimates)]."""
    if not sam_page.page.workers:
        sam_page.open(tier="wasm")
    (worker,) = [worker for worker in sam_page.page.workers if worker.url.endswith("decoder.worker.js")]
    answers = worker.evaluate(
        ASK,
        {
            "threads": list(threads),
            "weights": base64.b64encode(decoder_weights(model, dtype)).decode(),
            "cells": base64.b64encode(cells.numpy().tobytes()).decode(),
            "prompts": [{"coords": np.ravel(coords).tolist(), "labels": labels} for coords, labels in prompts],
        },
    )
    return [(np.frombuffer(base64.b64decode(each["logits"]), np.float32), each["iou"]) for each in answers]


@torch.no_grad()
def expect(model: SAM, embedding: torch.Tensor, dense: torch.Tensor, coords, labels) -> tuple[np.ndarray, np.ndarray]:
    sparse = model.prompt_encoder.embed_points(torch.tensor([coords]).float(), torch.tensor([labels]))
    pe = model.prompt_encoder.get_dense_pe()
    logits, iou = model.mask_decoder.predict_masks(embedding, pe, sparse, dense)
    return logits.numpy().ravel(), iou.numpy().ravel()


def assert_close(answers, expected) -> None:
    for (logits, iou), (true_logits, true_iou) in zip(answers, expected, strict=True):
        np.testing.assert_allclose(logits, true_logits, rtol=0, atol=CLOSE)
        np.testing.assert_allclose(iou, true_iou, rtol=0, atol=CLOSE)


@pytest.fixture
def model(random_model, request) -> SAM:
    return random_model(DECODERS[request.param], seed=3)


@torch.no_grad()
@pytest.mark.parametrize("model", DECODERS, indirect=True)
def test_every_prompt_gets_pytorchs_logits_from_any_number_of_threads(sam_page, model):
    embedding = torch.randn(model.config.embedding_shape, generator=torch.Generator().manual_seed(1))
    cells = Prepare(model.prompt_encoder, model.mask_decoder)(embedding)[0]
    prompts = list(PROMPTS.values())
    dense = model.prompt_encoder.embed_no_mask(1)
    expected = [expect(model, embedding, dense, *each) for each in prompts]
    assert_close(ask(sam_page, model, cells, prompts, threads=THREADS), expected * len(THREADS))


@torch.no_grad()
@pytest.mark.parametrize("model", ["narrow"], indirect=True)
def test_mask_fed_back_reaches_the_kernel_through_its_cells(sam_page, model):
    embedding = torch.randn(model.config.embedding_shape, generator=torch.Generator().manual_seed(2))
    mask = 8 * torch.randn(1, 1, *model.config.low_res_hw, generator=torch.Generator().manual_seed(3))
    cells = PrepareWithMask(model.prompt_encoder, model.mask_decoder)(embedding, mask)[0]
    prompts, dense = [PROMPTS["three clicks"]], model.prompt_encoder.mask_downscaling(mask)
    assert_close(ask(sam_page, model, cells, prompts), [expect(model, embedding, dense, *prompts[0])])


@torch.no_grad()
@pytest.mark.parametrize("model", ["narrow"], indirect=True)
def test_browser_without_relaxed_simd_takes_the_other_build(sam_page, guard, model):
    guard.expect(r"decoder\.relaxed\.wasm")
    sam_page.page.route("**/decoder.relaxed.wasm", lambda route: route.fulfill(status=200, body=b"\0asm no such"))
    embedding = torch.randn(model.config.embedding_shape, generator=torch.Generator().manual_seed(4))
    cells = Prepare(model.prompt_encoder, model.mask_decoder)(embedding)[0]
    prompts, dense = [PROMPTS["box"]], model.prompt_encoder.embed_no_mask(1)
    with sam_page.page.expect_response(re.compile(r"/kernels/decoder\.wasm$")):
        answers = ask(sam_page, model, cells, prompts)
    assert_close(answers, [expect(model, embedding, dense, *prompts[0])])


@torch.no_grad()
@pytest.mark.parametrize("model", ["published"], indirect=True)
def test_weights_in_half_precision_keep_the_masks(sam_page, model):
    embedding = torch.randn(model.config.embedding_shape, generator=torch.Generator().manual_seed(5))
    cells = Prepare(model.prompt_encoder, model.mask_decoder)(embedding)[0]
    prompts, dense = list(PROMPTS.values()), model.prompt_encoder.embed_no_mask(1)
    for (logits, _), prompt in zip(ask(sam_page, model, cells, prompts, dtype=torch.float16), prompts, strict=True):
        given, true = logits > 0, expect(model, embedding, dense, *prompt)[0] > 0
        assert (given & true).sum() / (given | true).sum() >= 0.99


def test_more_points_than_the_kernel_takes_are_the_graphs(sam_page, oracle, photographs):
    picture = photographs["chelsea"]
    sam_page.open(tier="wasm")
    sam_page.open_gallery(picture)
    with sam_page.page.expect_request(re.compile("/api/decoders/")):  # the graph, on demand
        for index in range(26):
            shown = sam_page.click(60 + 8 * index, 130 + 4 * (index % 3))
    assert oracle.agreement(picture, shown) >= 0.97


def test_page_without_its_kernel_answers_with_the_graph(sam_page, oracle, photographs):
    """The kernel's files cannot be had; the same tier works all the same, on the `point` graph."""
    graphs = []
    sam_page.page.route("**/static/kernels/*.wasm", lambda route: route.fulfill(status=200, body=b"\0asm no such"))
    sam_page.page.on("console", lambda message: graphs.append(message.text))
    assert sam_page.open(tier="wasm")["decoder"]["tier"] == "wasm"
    sam_page.open_gallery(photographs["chelsea"])
    assert oracle.agreement(photographs["chelsea"], sam_page.hover(130, 130)) >= 0.97
    assert any("the graph answers instead" in text for text in graphs)


def test_thread_that_cannot_start_leaves_the_tier_to_the_graph(sam_page, guard, oracle, photographs):
    if sam_page.page.evaluate("() => navigator.hardwareConcurrency") < 2:
        pytest.skip("this machine has one core")
    guard.expect(r"no-such\.worker\.js")
    texts = []
    sam_page.page.on("console", lambda message: texts.append(message.text))

    def lose_the_thread(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("teammate.worker.js", "no-such.worker.js"))

    sam_page.page.route(re.compile(r"\.js$"), lose_the_thread)
    assert sam_page.open(tier="wasm-threads")["decoder"]["tier"] == "wasm-threads"
    sam_page.open_gallery(photographs["chelsea"])
    assert oracle.agreement(photographs["chelsea"], sam_page.hover(130, 130)) >= 0.97
    assert any("the graph answers instead" in text for text in texts)
