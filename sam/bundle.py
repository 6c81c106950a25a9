"""An export as files: what a frontend is handed, under the names that it looks for, with the JSON that it reads.

An `Order` says what is wanted and refuses contradictions before any work; `fill` makes the graphs, `Bundle.write` puts
all of them in place or none; `inspect` compares files that exist with a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx

from .export import (
    HOVER,
    Form,
    Graph,
    choose,
    decoder_of,
    encoder_contract,
    encoder_of,
    export_hover_pair,
    verify_hover_pair,
    write_files,
)
from .graphs.contracts import DECODERS, ENCODERS, WHOLE
from .graphs.rewrites import Precision, require_whole
from .graphs.verification import Agreement, VerificationError
from .hub import hugging_face
from .model import SAM

FRONTENDS = (*DECODERS, "hover")
FOLDERS = ("transformers-js", "hover")
"""Frontends that load several files by name."""

PARTS = ("decoder", "encoder")

SUFFIXES: dict[Precision, str] = {"fp32": "", "fp16": "_fp16", "int8": "_int8", "uint8": "_quantized"}
"""How transformers.js calls them: dtype fp32, fp16, int8 and q8; q8 is what it takes in wasm unless told otherwise."""

PADDING = "Append the point (0, 0) with label -1 to every prompt without a box; coordinates are pixels of the picture \
resized to the model's frame."
SELECTION = "Exactly one click and no box: the best of masks 1-3 by iou_predictions; any other prompt: mask 0."


@dataclass(frozen=True)
class Order:
    """What to export for whom; `ValueError` says why that does not go together.

    part: `decoder` or `encoder`; None is what the frontend loads from here: everything where it takes a folder, else
    the decoder. preprocess: of an encoder, see `export_encoder`.
    """

    contract: str = "official"
    part: str | None = None
    preprocess: str | None = None
    form: Form = field(default_factory=Form)

    def __post_init__(self) -> None:
        choose("contract", self.contract, FRONTENDS)
        if self.part is not None:
            choose("part", self.part, PARTS)
        if "encoder" in self.parts:
            encoder_contract(self.contract, self.preprocess)
        elif self.preprocess is not None:
            raise ValueError("preprocessing is the encoder's; ask for the part encoder")

    @property
    def parts(self) -> tuple[str, ...]:
        """What there is to export."""
        if self.part is not None:
            return (self.part,)
        return PARTS if self.contract == "transformers-js" else ("decoder",)

    @property
    def is_folder(self) -> bool:
        """Whether the frontend loads several files by name."""
        return self.contract in FOLDERS


@dataclass(frozen=True)
class Bundle:
    """Graphs by file name, and the JSON documents beside them; a single graph's name is empty."""

    graphs: dict[str, Graph]
    documents: dict[str, dict[str, Any]]

    def write(self, output: Path) -> dict[Path, Graph]:
        """Write everything to the folder `output`, or the single graph to the file `output`: all of it or nothing."""
        paths = {output / name: graph for name, graph in self.graphs.items()}
        documents = {output / name: json.dumps(text, indent=2).encode() for name, text in self.documents.items()}
        for folder in {path.parent for path in [*paths, *documents]}:
            folder.mkdir(parents=True, exist_ok=True)
        write_files({path: graph.bytes for path, graph in paths.items()} | documents)
        return paths


def fill(order: Order, model: SAM) -> Bundle:
    """Export what `order` asks for. Raises `ValueError` for models it cannot be of, `VerificationError`."""
    if order.contract == "hover":
        return _hover(order, model)
    if order.contract == "transformers-js":
        return _transformers_js(order, model)
    (part,) = order.parts
    return Bundle({"": _subject(order, model, part).export(order.form)}, {})


def _subject(order: Order, model: SAM, part: str):
    if part == "encoder":
        return encoder_of(model, order.contract, order.preprocess)
    return decoder_of(model, order.contract)


def _hover(order: Order, model: SAM) -> Bundle:
    """Graphs by role, and what their client must know about them."""
    pair = export_hover_pair(model, order.form.precision, opset=order.form.opset)
    graphs = {role: getattr(pair, role) for role in HOVER}
    about = {
        "contract": WHOLE.name,
        "contract_version": WHOLE.version,
        "model_id": pair.point.model_id,
        "weights_hash": pair.point.weights_hash,
        "precision": pair.point.precision,
        "agreement": asdict(pair.point.agreement),
        "files": {role: _hover_file(role, graph) for role, graph in graphs.items()},
        "padding": PADDING,
        "selection": SELECTION,
    }
    return Bundle({f"{role}.onnx": graph for role, graph in graphs.items()}, {"hover.json": about})


def _hover_file(role: str, graph: Graph) -> dict[str, Any]:
    names = {"inputs": list(graph.inputs), "outputs": list(graph.outputs)}
    return {"file": f"{role}.onnx", "sha256": graph.sha256, "bytes": len(graph.bytes), **names}


def _transformers_js(order: Order, model: SAM) -> Bundle:
    """What `SamModel.from_pretrained(folder)` and `AutoProcessor.from_pretrained(folder)` of transformers.js read."""
    documents = {
        "config.json": {"architectures": ["SamModel"], "model_type": "sam"},
        "preprocessor_config.json": hugging_face.processor_config(model.config),
    }
    files = {"encoder": "vision_encoder", "decoder": "prompt_encoder_mask_decoder"}
    suffix = SUFFIXES[order.form.precision]
    subjects = {part: _subject(order, model, part) for part in order.parts}
    graphs = {f"onnx/{files[part]}{suffix}.onnx": subjects[part].export(order.form) for part in subjects}
    return Bundle(graphs, documents)


# --- files that exist ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A graph's file, and what it says it is: contract, precision and weights; None where it says nothing."""

    path: Path
    data: bytes
    contract: str | None
    precision: Precision | None
    weights_hash: str | None

    @classmethod
    def read(cls, path: Path) -> Claim:
        """Raises `ValueError` for what is no ONNX file, or not all of one."""
        data = path.read_bytes()
        try:
            model = onnx.load_model_from_string(data)
        except Exception as error:  # protobuf's own exception, which differs between its implementations
            raise ValueError(f"{path} is not an ONNX file") from error
        require_whole(model)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        return cls(path, data, *(properties.get(f"sam.{key}") for key in ("contract", "precision", "weights_hash")))


def inspect(path: Path, model: SAM, order: Order) -> Iterator[tuple[str, Agreement]]:
    """Compare a file, or every graph of a folder, with `model`; `order` says what a file is that does not say it.

    `VerificationError` for the first graph that differs, or was made of other weights.
    """
    claims = [Claim.read(file) for file in (sorted(path.rglob("*.onnx")) if path.is_dir() else [path])]
    if not claims:
        raise ValueError(f"{path} holds no ONNX file")
    for claim in claims:
        if claim.weights_hash not in (None, model.weights_hash()):
            raise VerificationError(f"{claim.path} was made of the weights {claim.weights_hash[:12]}, not of these")
    roles = {rules.name: role for role, rules in HOVER.items()}
    parts = {roles[claim.contract]: claim for claim in claims if claim.contract in roles}
    if parts:
        if missing := [role for role in HOVER if role not in parts]:
            raise ValueError(f"hover's graphs answer together only; {path} lacks {', '.join(missing)}: name the folder")
        data = {role: claim.data for role, claim in parts.items()}
        yield ", ".join(parts), verify_hover_pair(model, data, parts["point"].precision)
    for claim in claims:
        if claim.contract not in roles:
            yield claim.path.name, _verify(claim, model, order)


def _verify(claim: Claim, model: SAM, order: Order) -> Agreement:
    precision = claim.precision or order.form.precision
    encoders = {rules.name: frontend for frontend, rules in reversed(ENCODERS.items())}
    if claim.contract in encoders:
        subject = encoder_of(model, *encoders[claim.contract])
    elif claim.contract is None:
        subject = _subject(order, model, order.parts[-1])
    else:
        subject = decoder_of(model, claim.contract)
    return subject.verify(claim.data, precision)
