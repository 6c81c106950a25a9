"""A model as the libraries read it that published the others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..config import TinyConfig
from ..hub import hugging_face
from ..model import SAM

Layout = Literal["meta", "huggingface"]


def save_sam(model: SAM, path: str | Path, layout: Layout) -> None:
    """Write `model` as other libraries read it; what `SAM.save` writes, only `load_sam` reads. All or nothing.

    layout: `meta`, a `.pth` file of tensors for `segment_anything` (MobileSAM for vit_t); `huggingface`, a folder
    with `model.safetensors`, `config.json` and `preprocessor_config.json` for `transformers.SamModel`.
    Raises `ValueError`, before anything is written, where the layout cannot express the model.
    """
    writers = {"meta": _save_meta, "huggingface": _save_hugging_face}
    if layout not in writers:
        raise ValueError(f"layout {layout!r} is unknown; use one of {', '.join(writers)}")
    writers[layout](model, Path(path))


def _save_meta(model: SAM, path: Path) -> None:
    config = model.config
    if isinstance(config.image_encoder, TinyConfig):
        raise ValueError(f"no other library has an encoder like that of {config.model_id}")
    if config.mask_decoder.width is not None:
        raise ValueError(
            f"Meta's decoder is as wide as the embedding, {config.image_encoder.out_chans} channels; "
            f"that of {config.model_id} has {config.mask_decoder.width}"
        )
    with whole_file(path) as part:
        torch.save(_plain_state(model), part)


def _save_hugging_face(model: SAM, folder: Path) -> None:
    documents = {
        "config.json": hugging_face.model_config(model.config),
        "preprocessor_config.json": hugging_face.processor_config(model.config),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        for name, document in documents.items():
            part = files.enter_context(whole_file(folder / name))
            part.write_text(json.dumps(document, indent=2) + "\n")
        part = files.enter_context(whole_file(folder / "model.safetensors"))
        save_file(hugging_face.from_meta(_plain_state(model)), part, metadata={"format": "pt"})


def _plain_state(model: SAM) -> dict[str, Tensor]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write that becomes `path` once it is complete; after an error nothing is left of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
