"""`load_sam`, the only door for weights: whatever published file it is given, it returns a model in eval mode.
`save_sam` is the way back, for the libraries that published them.

Reading (safetensors, or a pickle of plain tensors), renaming (to Meta's names) and inferring the configuration are
separate steps on plain dictionaries. Loading is strict, and no code in a file is ever run.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .config import (
    VARIANTS,
    DecoderConfig,
    EncoderConfig,
    Preprocessing,
    SAMConfig,
    Size,
    TinyConfig,
    TinyViTConfig,
    ViTConfig,
    as_size,
)
from .hub import hugging_face
from .hub.downloads import DownloadError, downloaded, how_to_get
from .hub.downloads import download as fetch_published
from .hub.published import PUBLISHED, Published, find_published
from .model import SAM

State = dict[str, Tensor]

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
EMBEDDED = {"tiny": WEIGHTS_FOLDER / "tiny.safetensors"}
"""Models that come with the package, by name."""

FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
BUNDLE_KEYS = ("model", "state_dict", "model_state_dict", "model_state", "net")
PREFIXES = ("module.", "model.", "sam.")
NAMED_KEYS = 3
"""How many keys of each kind an error names."""


class CheckpointError(ValueError):
    """A file that cannot be loaded; the message names the file and the first few keys at fault."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no such file, no model of that name, or it was published and is not on this machine."""

    __str__ = ValueError.__str__  # OSError would quote the message as a file name


def load_sam(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    variant: str | SAMConfig | None = None,
    preprocessing: Preprocessing | None = None,
    img_size: int | Size | None = None,
    download: bool = False,
) -> SAM:
    """Load a model, float32 and in eval mode.

    source: the name of an embedded model (`tiny`), a file, a Hugging Face folder, the name of a published checkpoint
    (`vit_b`; see `sam.hub.published`) or a Hugging Face repository (`owner/name`). Read are Meta's, MobileSAM's and
    MedSAM's `.pth`, Hugging Face `SamModel` weights, and what `SAM.save` writes; bundles (`{"model": ...}`) and common
    prefixes are unwrapped. variant: refuse anything but this one, a name in `VARIANTS` or `medsam`; a `SAMConfig`
    says what no tensor tells (the decoder's num_heads is taken as 8). Without it the configuration comes from the
    file or is inferred from its tensors. preprocessing: `medsam` for MedSAM's own files, whose weights look like
    vit_b's; the published name says so by itself. download: agree to fetch a published checkpoint that is not on this
    machine; without it nothing is fetched, and the error says how to get it. img_size: pixels of the model input for
    weights of vit_t or tiny that carry no configuration and were made for others than 1024. Raises `CheckpointError`.
    """
    found = locate(source, download=download)
    checkpoint = read_checkpoint(found.path)
    preprocessing = preprocessing or found.preprocessing
    try:
        config = _choose_config(checkpoint, variant)
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"{checkpoint.path}: not the weights of a SAM; {_missing(error)}") from error
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error
    if preprocessing is not None:
        config = replace(config, preprocessing=preprocessing)
    if img_size is not None:
        config = _with_img_size(config, img_size, checkpoint.path)
    model = SAM.from_config(config)
    try:
        model.load_state_dict(checkpoint.state)
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint.path}: {_blame(checkpoint.state, config)}") from error
    return model.to(device).eval()


def build_variant(variant: str, checkpoint: str | Path | None = None) -> SAM:
    """Build a variant as `segment_anything` does, in eval mode: with random weights, or strictly with a file's."""
    if checkpoint is not None:
        return load_sam(checkpoint, variant=variant)
    return SAM.from_config(_variant_config(variant)).eval()


sam_model_registry: dict[str, Callable[..., SAM]] = {
    "default": partial(build_variant, "vit_h"),
    **{name: partial(build_variant, name) for name in (*VARIANTS, "medsam")},
}
"""Meta's registry: `sam_model_registry["vit_b"](checkpoint=None)`, strict to that variant."""

build_sam = build_sam_vit_h = sam_model_registry["vit_h"]
build_sam_vit_l = sam_model_registry["vit_l"]
build_sam_vit_b = sam_model_registry["vit_b"]


# --- writing for others -----------------------------------------------------------------------------------------

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


def _plain_state(model: SAM) -> State:
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


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file: tensors under Meta's names, and what the file or its neighbours say about the model."""

    path: Path
    state: State
    config: SAMConfig | None = None
    decoder_heads: int | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a weights file without running code in it; `CheckpointError` says what is wrong with it."""
    try:
        state, metadata = _read_safetensors(path) if _is_safetensors(path) else (_read_pickle(path), {})
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if any(key.startswith("vision_encoder.") for key in state):
        return Checkpoint(path, hugging_face.to_meta(state), decoder_heads=_hugging_face_heads(path))
    config = _read_config(path, metadata["config"]) if "config" in metadata else None
    return Checkpoint(path, state, config)


@dataclass(frozen=True)
class Located:
    """A weights file on this machine, and how its pictures are prepared where the name it was found by tells."""

    path: Path
    preprocessing: Preprocessing | None = None


def locate(source: str | Path, *, download: bool = False) -> Located:
    """Find what `load_sam` is asked for: an embedded model, then a path, then a published checkpoint by its name.

    Raises `CheckpointNotFoundError`, and `TypeError` for anything but a name or a path.
    """
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"source is {type(source).__name__}; give the name of a model, a file or a folder")
    embedded = EMBEDDED.get(source) if isinstance(source, str) else None
    if embedded is not None and not embedded.exists():
        raise CheckpointNotFoundError(
            f"{source}: the embedded weights {embedded} are missing; reinstall, or give a file"
        )
    path = embedded or Path(source).expanduser()
    if path.is_dir():
        files = [path / name for name in FOLDER_FILES if (path / name).exists()]
        if not files:
            raise CheckpointNotFoundError(f"{path}: the folder holds none of {', '.join(FOLDER_FILES)}")
        return Located(files[0])
    if path.exists():
        return Located(path)
    published = find_published(source) if isinstance(source, str) else None
    if published is None:
        names = ", ".join((*EMBEDDED, *PUBLISHED))
        raise CheckpointNotFoundError(f"{source}: no such file, and no model of that name ({names})")
    return Located(_from_cache(published, download=download), published.preprocessing)


def _from_cache(published: Published, *, download: bool) -> Path:
    try:
        path = fetch_published(published) if download else downloaded(published)
    except DownloadError as error:
        raise CheckpointNotFoundError(str(error)) from error
    if path is None:
        raise CheckpointNotFoundError(
            f"{published.name}: no such file, and {published.title} has not been downloaded; agree with download=True "
            f"or `python -m sam download {published.name}`, or {how_to_get(published)}"
        )
    return path


def _is_safetensors(path: Path) -> bool:
    """A safetensors file starts with eight bytes of length and a JSON object."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the handle is no mapping
            return _strip_prefixes(state), file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: a damaged or truncated safetensors file ({error})") from error


def _read_pickle(path: Path) -> State:
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        found = f"holds pickled objects or code ({code[1]}), which are never loaded" if code else "not a checkpoint"
        raise CheckpointError(f"{path}: {found}") from error
    except Exception as error:  # a damaged pickle trips its reader over whatever the damage made of it
        raise CheckpointError(f"{path}: not a checkpoint, or a truncated one ({_first_line(error)})") from error
    for key in BUNDLE_KEYS:
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
    if not isinstance(data, dict) or not data:
        raise CheckpointError(f"{path}: holds {type(data).__name__}, not a dictionary of tensors")
    others = [f"{key} ({type(value).__name__})" for key, value in data.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(f"{path}: not only tensors: {_list(others)}")
    return _strip_prefixes(data)


def _strip_prefixes(state: State) -> State:
    """Remove the prefixes that wrappers put before every key."""
    for prefix in PREFIXES * 2:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _read_config(path: Path, text: str) -> SAMConfig:
    try:
        return SAMConfig.from_dict(json.loads(text))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its configuration is not valid: {error}") from error


def _hugging_face_heads(path: Path) -> int:
    """The decoder's head count from the `config.json` beside the weights, the published 8 without one."""
    beside = path.with_name("config.json")
    if not beside.exists():
        return DecoderConfig.num_heads
    try:
        return json.loads(beside.read_text())["mask_decoder_config"]["num_attention_heads"]
    except KeyError:
        return DecoderConfig.num_heads
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{beside}: not a Hugging Face configuration ({error})") from error


# --- configuration from tensors ---------------------------------------------------------------------------------


def infer_config(state: State, *, decoder_heads: int | None = None) -> SAMConfig:
    """Read the sizes off the tensors' shapes; `KeyError` names a key it needs and does not find.

    No shape tells the decoder's heads: `decoder_heads`, or those of the published models, or of our narrow decoders.
    """
    encoder, decoder = _infer_encoder(state), _infer_decoder(state)
    return SAMConfig(encoder, replace(decoder, num_heads=decoder_heads or _usual_heads(decoder)))


def _usual_heads(decoder: DecoderConfig) -> int:
    tiny = VARIANTS["tiny"].mask_decoder
    return DecoderConfig.num_heads if decoder.width is None else max(1, decoder.width * tiny.num_heads // tiny.width)


def _infer_encoder(state: State) -> EncoderConfig:
    if any(key.startswith("image_encoder.blocks.") for key in state):
        return _infer_vit(state)
    if any(key.startswith("image_encoder.layers.") for key in state):
        return _infer_tiny_vit(state)
    if any(key.startswith("image_encoder.stride32.") for key in state):
        return _infer_tiny(state)
    raise ValueError(f"no image encoder that is known here; it holds {_list(state)}")


def _infer_vit(state: State) -> ViTConfig:
    _, rows, columns, embed_dim = state["image_encoder.pos_embed"].shape
    patch = state["image_encoder.patch_embed.proj.weight"].shape[-1]
    depth = _count(state, r"image_encoder\.blocks\.(\d+)\.")

    def table(index: int, axis: str) -> torch.Size:
        return state[f"image_encoder.blocks.{index}.attn.rel_pos_{axis}"].shape

    spans = [(table(index, "h")[0], table(index, "w")[0]) for index in range(depth)]  # n cells have 2n - 1 distances
    whole = (2 * rows - 1, 2 * columns - 1)
    windows = {span for span in spans if span != whole}
    if len(windows) > 1:
        raise ValueError(f"windows of different sizes: rel_pos tables of {sorted(windows)} rows")
    return ViTConfig(
        img_size=rows * patch if rows == columns else (rows * patch, columns * patch),
        patch_size=patch,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // table(0, "h")[1],
        mlp_ratio=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / embed_dim,
        out_chans=state["image_encoder.neck.0.weight"].shape[0],
        qkv_bias="image_encoder.blocks.0.attn.qkv.bias" in state,
        window_size=(min(windows)[0] + 1) // 2 if windows else ViTConfig.window_size,
        global_attn_indexes=tuple(index for index, span in enumerate(spans) if span == whole),
    )


def _infer_tiny_vit(state: State) -> TinyViTConfig:
    """Stage 0 has no attention, and no tensor depends on img_size: both take the published values."""

    def shape(key: str) -> torch.Size:
        return state[f"image_encoder.{key}"].shape

    steps = [shape(f"layers.{stage}.downsample.conv1.c.weight") for stage in range(3)]
    biases = [shape(f"layers.{stage}.blocks.0.attn.attention_biases") for stage in range(1, 4)]
    expanded, dim = shape("layers.0.blocks.0.conv1.c.weight")[:2]
    hidden, attended_dim = shape("layers.1.blocks.0.mlp.fc1.weight")
    return TinyViTConfig(
        embed_dims=(dim, *(step[0] for step in steps)),
        depths=tuple(_count(state, rf"image_encoder\.layers\.{stage}\.blocks\.(\d+)\.") for stage in range(4)),
        num_heads=(TinyViTConfig.num_heads[0], *(bias[0] for bias in biases)),
        window_sizes=(TinyViTConfig.window_sizes[0], *(math.isqrt(bias[1]) for bias in biases)),
        mlp_ratio=hidden / attended_dim,
        mbconv_expand_ratio=expanded / dim,
        local_conv_size=shape("layers.1.blocks.0.local_conv.c.weight")[-1],
        out_chans=shape("neck.0.weight")[0],
    )


def _infer_tiny(state: State) -> TinyConfig:
    widths = [state[f"image_encoder.{step}.c.weight"].shape[0] for step in ("stem.2", "down8", "down16", "down32")]
    depths = [_count(state, rf"image_encoder\.stride{stride}\.(\d+)\.") for stride in (4, 8, 16, 32)]
    out_chans = state["image_encoder.fusion.out.weight"].shape[0]
    return TinyConfig(widths=tuple(widths), depths=tuple(depths), out_chans=out_chans)


def _infer_decoder(state: State) -> DecoderConfig:
    projection = state.get("mask_decoder.embedding_projection.weight")
    return DecoderConfig(
        width=None if projection is None else projection.shape[0],
        mask_in_chans=state["prompt_encoder.mask_downscaling.6.weight"].shape[1],
        depth=_count(state, r"mask_decoder\.transformer\.layers\.(\d+)\."),
        mlp_dim=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        num_multimask_outputs=state["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        iou_head_depth=_count(state, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
        iou_head_hidden_dim=state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    )


def _count(state: State, pattern: str) -> int:
    """How many different numbers `pattern` finds at the start of the keys."""
    return len({match[1] for match in map(re.compile(pattern).match, state) if match})


# --- choosing and blaming ---------------------------------------------------------------------------------------


def _variant_config(variant: str) -> SAMConfig:
    if variant == "medsam":
        return replace(VARIANTS["vit_b"], preprocessing="medsam")
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r} is unknown; use one of {', '.join((*VARIANTS, 'medsam'))}")
    return VARIANTS[variant]


def _choose_config(checkpoint: Checkpoint, variant: str | SAMConfig | None) -> SAMConfig:
    wanted = _variant_config(variant) if isinstance(variant, str) else variant
    stored = checkpoint.config
    if wanted is None:
        return stored or infer_config(checkpoint.state, decoder_heads=checkpoint.decoder_heads)
    if stored is None:
        return wanted
    if (stored.image_encoder, stored.mask_decoder) != (wanted.image_encoder, wanted.mask_decoder):
        raise ValueError(f"holds the model {stored.model_id}, not {wanted.model_id} as asked for")
    return replace(stored, preprocessing=wanted.preprocessing)


def _with_img_size(config: SAMConfig, img_size: int | Size, path: Path) -> SAMConfig:
    encoder = config.image_encoder
    if isinstance(encoder, ViTConfig) and as_size(img_size) != encoder.input_hw:
        raise CheckpointError(f"{path}: the positions of its encoder are for {encoder.input_hw} pixels, not {img_size}")
    return replace(config, image_encoder=replace(encoder, img_size=img_size))


def _blame(state: State, config: SAMConfig) -> str:
    """Say what keeps `state` from loading, measured against the closest of `config` and the published variants.

    One damaged tensor misleads the inference, and every honest key would be blamed instead.
    """
    kind = type(config.image_encoder)
    candidates = [config, *(variant for variant in VARIANTS.values() if isinstance(variant.image_encoder, kind))]
    return min((_compare(state, candidate) for candidate in candidates), key=lambda found: found[0])[1]


PARTS = {
    "image encoder": "image_encoder.",
    "prompt encoder": "prompt_encoder.",
    "mask decoder": "mask_decoder.",
    "no part of a SAM": "",
}


def _compare(state: State, config: SAMConfig) -> tuple[int, str]:
    """Number of wrong keys against `config`'s model, and a sentence on the parts that differ, and those that do not."""
    with torch.device("meta"):
        expected = {key: tuple(tensor.shape) for key, tensor in SAM.from_config(config).state_dict().items()}
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    mis_shaped = {
        key: f"{key} is {tuple(state[key].shape)}, not {shape}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    }
    kinds = {"missing": missing, "unexpected": unexpected, "mis-shaped": [*mis_shaped]}
    faults = {part: [] for part in PARTS}
    for kind, keys in kinds.items():
        for part in PARTS:
            if found := [mis_shaped.get(key, key) for key in keys if _part_of(key) == part]:
                faults[part].append(f"{len(found)} {kind}: {_list(found)}")
    differing = "; ".join(f"{part}: {', '.join(found)}" for part, found in faults.items() if found)
    fitting = [part for part in [*PARTS][:3] if not faults[part]]
    rest = f"; {' and '.join(fitting)} would fit" if fitting else ""
    return sum(map(len, kinds.values())), f"the weights do not fit the model {config.model_id}; {differing}{rest}"


def _part_of(key: str) -> str:
    return next(part for part, prefix in PARTS.items() if key.startswith(prefix))


def _missing(error: Exception) -> str:
    return f"missing: {error.args[0]}" if isinstance(error, KeyError) else "a tensor has too few axes"


def _list(names: Collection[str]) -> str:
    return ", ".join(list(names)[:NAMED_KEYS]) + (", ..." if len(names) > NAMED_KEYS else "")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
