"""The decoders under measurement, exported by this project: Meta's graph in its official shape, and the hover pair."""

from __future__ import annotations

import logging
import tempfile
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
import torch

from demo.bench.candidates import HOVER_MODULE, KERNEL_MODULE, OFFICIAL_MODULE, Candidate, Prompt
from sam import SAM, SAMConfig, load_sam
from sam.config import ViTConfig
from sam.export import export_decoder, export_hover_pair
from sam.graphs.hover import decoder_weights

BASELINE = "official, quantized"
"""What counts as 1.0."""

SHIPPED = ("hover, int8", "kernel")
"""What the page runs: the pair anywhere, the kernel instead of its second graph in wasm."""


STORED = ("fp32", "fp16", "int8")
"""How the pair's weights are stored; its arithmetic is float32."""


@cache
def model(name: str) -> SAM:
    """The decoders' shapes: that of every published checkpoint (with random weights), or the embedded model."""
    return {"published shape": published_shape, "tiny": partial(load_sam, "tiny")}[name]()


@cache
def candidates(name: str) -> tuple[Candidate, ...]:
    """Everyone who competes for a model's decoder; exported once, for all sections of a run."""
    shape = model(name)
    return (*official(shape), *hover(shape), kernel(shape))


def published_shape() -> SAM:
    """The prompt encoder and mask decoder of vit_b, vit_l and vit_h behind an encoder that costs nothing to build."""
    encoder = ViTConfig(embed_dim=16, depth=1, num_heads=2, global_attn_indexes=())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SAM.from_config(SAMConfig(encoder)).eval()


def official(model: SAM) -> list[Candidate]:
    """Meta's graph: as its script exports it, and as its script quantizes it."""
    graph = export_decoder(model, "official").bytes
    return [
        Candidate(BASELINE, OFFICIAL_MODULE, {"decoder": quantized_the_official_way(graph)}),
        Candidate("official, fp32", OFFICIAL_MODULE, {"decoder": graph}),
    ]


def hover(model: SAM) -> list[Candidate]:
    """This project's pair of graphs in every precision."""
    pairs = {precision: export_hover_pair(model, precision) for precision in STORED}
    return [
        Candidate(f"hover, {precision}", HOVER_MODULE, {"prepare": pair.prepare.bytes, "point": pair.point.bytes})
        for precision, pair in pairs.items()
    ]


def kernel(model: SAM) -> Candidate:
    """The page's decoder in wasm: the pair's first graph, then the kernel over the decoder's weights."""
    prepare = export_hover_pair(model, "int8").prepare
    return Candidate(SHIPPED[1], KERNEL_MODULE, {"prepare": prepare.bytes, "kernel": decoder_weights(model)})


def quantized_the_official_way(graph: bytes) -> bytes:
    """`quantize_dynamic` as Meta's export script calls it, without the argument that has left onnxruntime since."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().addFilter(_is_no_advice)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "quantized.onnx"
            model = onnx.load_model_from_string(graph)
            quantize_dynamic(model, path, per_channel=False, reduce_range=False, weight_type=QuantType.QUInt8)
            return path.read_bytes()
    finally:
        logging.getLogger().removeFilter(_is_no_advice)


def _is_no_advice(record: logging.LogRecord) -> bool:
    """Meta's script does not pre-process either."""
    return "pre-processing before quantization" not in record.getMessage()


@torch.inference_mode()
def pytorch_logits(model: SAM, embedding: np.ndarray, prompt: Prompt) -> np.ndarray:
    """What the model itself answers: low-resolution logits of every token, (1+M, 256, 256)."""
    encoder = model.prompt_encoder
    sparse = encoder.embed_points(torch.from_numpy(prompt.coords)[None], torch.from_numpy(prompt.labels)[None])
    features = torch.from_numpy(embedding)
    dense = encoder.embed_no_mask(1)
    return model.mask_decoder.predict_masks(features, encoder.get_dense_pe(), sparse, dense)[0][0].numpy()


def largest_difference(logits: np.ndarray, expected: np.ndarray) -> float:
    """Between a decoder's masks and PyTorch's; a decoder that gives one mask is held to the token it chose."""
    if len(logits) < len(expected):
        expected = nearest(expected, logits[0])[None]
    return float(np.abs(logits - expected).max())


def nearest(tokens: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The mask among `tokens` that a graph of one mask must have chosen."""
    return min(tokens, key=lambda token: float(np.abs(token - logits).max()))
