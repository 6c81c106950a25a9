"""A model card (Mitchell et al. 2019): what the model is, how good, how it was trained, where it fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torch import nn

from ..checkpoint import load_sam, read_checkpoint
from ..model import SAM
from ..predictor import encode, predict
from .curve import Metrics, draw_curve, read_log
from .drawing import Scene, draw_scene
from .report import RIVALS, Report, legend

FAILURE_LONG_SIDE = 480
FAILURES_PER_LINE = 3
EVALUATE = "python -m sam.training evaluate"


@dataclass(frozen=True)
class CardInputs:
    """Files that a card is made from; a part whose file is None is left out.

    about, sources: Markdown by hand, for what the model is for, and where its data came from under which terms.
    failures: a JSON list of `{"picture", "clicks": [[x, y, label], ...], "box": [x0, y0, x1, y1], "caption"}`, with
    clicks or box or both, about files in the folder `pictures`.
    """

    weights: Path
    evaluation: Path
    log: Path | None = None
    recipe: Path | None = None
    about: Path | None = None
    sources: Path | None = None
    failures: Path | None = None
    pictures: Path | None = None


def write_card(inputs: CardInputs, folder: Path, name: str | None = None) -> None:
    """Write `README.md` and its pictures into `folder`; `name` is the weights file's by default.

    Raises `ValueError` when the evaluation measured other weights, or a failure's picture or prompt is unusable.
    """
    model, report = load_sam(inputs.weights), _read_report(inputs.evaluation)
    _require_same_weights(model, report, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    parts = [
        f"# Model card: `{name or inputs.weights.stem}`",
        _text(inputs.about),
        describe_model(model, inputs.weights),
        describe_quality(report),
        _describe_training(inputs, folder),
        _text(inputs.sources),
        _describe_failures(model, inputs, folder),
    ]
    (folder / "README.md").write_text("\n\n".join(part for part in parts if part) + "\n")


def describe_model(model: SAM, weights: Path) -> str:
    """A table: architecture, file and contract."""
    config, encoder = model.config, model.image_encoder
    frame, shape = config.image_size, list(config.embedding_shape)
    floats = (tensor.dtype for tensor in read_checkpoint(weights).state.values() if tensor.is_floating_point())
    dtypes = sorted({str(dtype).removeprefix("torch.") for dtype in floats})
    rest = _millions(model.prompt_encoder, model.mask_decoder)
    rows = {
        "": "",
        "---": "---",
        "architecture": f"`{type(encoder).__module__}.{type(encoder).__name__}` ({_millions(encoder)} parameters) and "
        f"SAM's prompt encoder and mask decoder with {config.decoder_width} channels, "
        f"{config.mask_decoder.num_heads} heads ({rest})",
        "file": f"`{weights.name}`, {', '.join(dtypes)}, {weights.stat().st_size / 1e6:.1f} MB; "
        f"SHA-256 `{hashlib.sha256(weights.read_bytes()).hexdigest()}`",
        "contract": f"{frame}-pixel frame, embedding {shape}",
    }
    return "\n".join(f"| {key} | {value} |" for key, value in rows.items())


def describe_quality(report: Report) -> str:
    """The table with intervals, what its lines mean, and whether the model beats the answers without one."""
    flags = {"limit": "--limit", "masks": "--masks", "seed": "--seed", "max_clicks": "--max-clicks"}
    used = [f"{flag} {report.protocol[key]}" for key, flag in flags.items() if report.protocol.get(key) is not None]
    intro = f"`{' '.join([EVALUATE, *used])}`: means over masks. `sam/evaluation/__init__.py` has the protocol."
    verdicts = "\n".join(f"- {verdict}" for verdict in compare(report))
    meaning = f"<details><summary>What the lines mean</summary>\n\n{legend(report)}\n\n</details>"
    parts = ("## How good it is", intro, report.as_markdown(), verdicts, meaning)
    return "\n\n".join(part for part in parts if part)


def compare(report: Report) -> Iterator[str]:
    """For every source and prompt, the model against the best answer without one."""
    for source in report.by_source:
        for measure, rivals in RIVALS.items():
            present = [rival for rival in rivals if rival in report.measures()]
            if present:
                best = max(present, key=lambda rival: report.values(source, rival).mean())
                yield f"`{source}`, {measure}: {_verdict(report, source, measure, best)}"


def _verdict(report: Report, source: str, measure: str, rival: str) -> str:
    lead = report.lead(source, measure, rival)
    verdict = "better than" if lead.low > 0 else "**worse** than" if lead.high < 0 else "not to be told from"
    return f"{verdict} the best answer without a model, {rival}; difference {lead}"


def describe_steps(log: Sequence[Metrics]) -> str:
    """One sentence: how many steps at which sizes."""
    sizes: dict[int, int] = {}
    for line in log:
        sizes[line["size"]] = sizes.get(line["size"], 0) + 1
    shares = ", ".join(f"{100 * count / len(log):.0f} % at {size} px" for size, count in sorted(sizes.items()))
    return f"{log[-1]['step']:,} steps ({shares})."


def _describe_training(inputs: CardInputs, folder: Path) -> str:
    parts = []
    if inputs.log:
        log = read_log(inputs.log)
        draw_curve(log, folder / "training.svg")
        curve = "![Loss, and IoU of the training batches' answers, over the steps](training.svg)"
        parts += [describe_steps(log), curve]
    if inputs.recipe:
        parts.append(f"The recipe, `{inputs.recipe.name}`:\n\n```toml\n{_text(inputs.recipe)}\n```")
    return "\n\n".join(["## How it was trained", *parts]) if parts else ""


def _describe_failures(model: SAM, inputs: CardInputs, folder: Path) -> str:
    if inputs.failures is None:
        return ""
    if inputs.pictures is None:
        raise ValueError(f"{inputs.failures} names pictures; say in which folder they lie")
    lines = ["## Known failures", ""]
    entries = list(enumerate(json.loads(inputs.failures.read_text()), start=1))
    for start in range(0, len(entries), FAILURES_PER_LINE):
        few = entries[start : start + FAILURES_PER_LINE]
        for number, entry in few:
            draw_answer(model, inputs.pictures, entry).save(folder / f"failure-{number}.jpg", quality=85)
        images = [f"![{entry['caption']}](failure-{number}.jpg)" for number, entry in few]
        captions = [entry["caption"] for _, entry in few]
        lines += [*(f"| {' | '.join(cells)} |" for cells in (images, ["---"] * len(few), captions)), ""]
    return "\n".join(lines).rstrip()


def draw_answer(model: SAM, pictures: Path, entry: dict[str, Any]) -> Image.Image:
    """A picture with the model's answer to the prompt of one entry of `CardInputs.failures`."""
    with Image.open(pictures / entry["picture"]) as file:
        image = np.array(ImageOps.exif_transpose(file).convert("RGB"))
    clicks, box = tuple(tuple(click) for click in entry.get("clicks", ())), entry.get("box")
    if not clicks and box is None:
        raise ValueError(f"the failure in {entry['picture']} has neither clicks nor a box")
    single = len(clicks) == 1 and box is None  # an ambiguous prompt: the best of three, as on the page
    points = {"point_coords": [c[:2] for c in clicks], "point_labels": [c[2] for c in clicks]} if clicks else {}
    answer = predict(model, encode(model, image), **points, box=box, multimask_output=single)
    mask = answer.masks[answer.iou_predictions.argmax()]
    height, width = mask.shape
    scale = min(1.0, FAILURE_LONG_SIDE / max(height, width))
    scene = Scene(image, mask, clicks=clicks, box=None if box is None else np.array(box, dtype=float))
    return draw_scene(scene, (0, 0, width, height), scale)


def _read_report(path: Path) -> Report:
    try:
        return Report.from_dict(json.loads(path.read_text()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _require_same_weights(model: SAM, report: Report, inputs: CardInputs) -> None:
    measured, held = report.model.get("weights"), model.weights_hash()
    if measured != held:
        raise ValueError(
            f"{inputs.evaluation} measured weights {str(measured)[:12]}, {inputs.weights} holds {held[:12]}; "
            "evaluate these weights first"
        )


def _millions(*modules: nn.Module) -> str:
    return f"{sum(p.numel() for module in modules for p in module.parameters()) / 1e6:.1f} M"


def _text(path: Path | None) -> str:
    return path.read_text().strip() if path else ""
