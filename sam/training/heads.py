"""A head beside the mask head, worked out: what is under a mask? Trained in seconds on a frozen model's embeddings.

A mask is classified by the embedding averaged under it (mask pooling; Dai et al. 2015, convolutional feature masking).
The picture is encoded once, as for its masks, so a class costs one product more than the mask.

    python -m sam.training.heads --data pictures --output head.safetensors
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..checkpoint import load_sam
from ..config import Size
from ..datasets import Record, find_records, group_by_source
from ..model import SAM
from ..predictor import ImageEmbedding, encode, predict_low_res
from ..transforms import ImageFrame

LabelOf = Callable[[Record, int, int], str]
"""Record, layer index and segment id -> the class, empty to leave that mask out."""
SMALLEST = 16
"""Masks of fewer low-resolution pixels, one embedding cell's, are left out."""
TEST_SHARE = 4
"""Every so many-th picture of a source is held out."""


class ClassHead(nn.Module):
    """Pooled embeddings (N, channels) -> logits (N, classes), in the order of `class_names`.

    weights_hash: of the model whose embeddings it was trained on (`SAM.weights_hash`), others' mean nothing to it.
    """

    def __init__(self, class_names: Sequence[str], channels: int = 256, weights_hash: str = "") -> None:
        super().__init__()
        self.class_names, self.weights_hash = tuple(class_names), weights_hash
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, len(self.class_names))

    def forward(self, pooled_nc: Tensor) -> Tensor:
        return self.linear(self.norm(pooled_nc))

    def save(self, path: str | Path) -> None:
        """Write a safetensors file; class names and the model's hash stand in its metadata."""
        metadata = {"format": "pt", "class_names": json.dumps(self.class_names), "weights_hash": self.weights_hash}
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, str(path), metadata)

    @classmethod
    def load(cls, path: str | Path) -> ClassHead:
        """Read what `save` wrote, in eval mode; `ValueError` names a file that is none."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata, state = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            head = cls(json.loads(metadata["class_names"]), len(state["norm.weight"]), metadata["weights_hash"])
            head.load_state_dict(state)
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise ValueError(f"{path}: not a class head ({error})") from error
        return head.eval()


def pool_under_masks(embeddings: Tensor, masks: Tensor) -> Tensor:
    """The embedding's mean under each mask: (B, C, h, w) and (N, H, W) -> (N, C) float32.

    masks: bool, or how much of a pixel is covered (0-1); N is a multiple of B, and consecutive masks belong to the
    same picture. They are brought to the embedding's grid by area. An empty mask gives zeros.
    """
    pictures, grid_hw = embeddings.shape[0], embeddings.shape[-2:]
    if masks.ndim != 3 or masks.shape[0] % pictures:
        raise ValueError(f"masks {tuple(masks.shape)} must be (N, H, W) with N a multiple of the {pictures} pictures")
    shares = F.interpolate(masks[:, None].float(), grid_hw, mode="area").view(pictures, -1, *grid_hw)
    sums = torch.einsum("bchw,bnhw->bnc", embeddings.float(), shares)
    return (sums / shares.sum((-2, -1)).clamp(min=1e-6)[..., None]).flatten(0, 1)


def classify(
    model: SAM, head: ClassHead, embedding: ImageEmbedding, low_res_logits: Tensor | np.ndarray
) -> list[tuple[str, float]]:
    """The most probable class of each mask and its probability.

    low_res_logits: (M, 4h, 4w), as `predict` and `predict_low_res` give them, an array or a tensor. `ValueError` for
    an embedding of other weights than the head was trained on.
    """
    if head.weights_hash and embedding.weights_hash != head.weights_hash:
        raise ValueError(
            f"the head was trained on embeddings of the weights {head.weights_hash[:12]}, this one is of "
            f"{embedding.weights_hash[:12]}; train it anew"
        )
    return name_masks(head, embedding, torch.as_tensor(low_res_logits) > model.mask_threshold)


@torch.no_grad()
def name_masks(head: ClassHead, embedding: ImageEmbedding, masks: Tensor) -> list[tuple[str, float]]:
    """The most probable class of each mask (M, 4h, 4w) bool and its probability."""
    pooled = pool_under_masks(embedding.features, masks.to(embedding.features.device))
    probabilities = head(pooled).softmax(-1)
    return [(head.class_names[int(row.argmax())], float(row.max())) for row in probabilities]


# --- examples from pictures with masks --------------------------------------------------------------------------


def by_source(record: Record, layer: int, segment: int) -> str:
    """The set that the picture belongs to is the class of all its masks."""
    return record.source


def by_category(record: Record, layer: int, segment: int) -> str:
    """The category that the annotation names; masks without one are left out."""
    return record.categories.get((layer, segment), "")


@dataclass(frozen=True, eq=False)
class LabelledMasks:
    """A picture's embedding, its true masks (N, 4h, 4w) bool in the model's frame, and their classes."""

    embedding: ImageEmbedding
    masks: Tensor
    labels: tuple[str, ...]

    def pooled(self) -> Tensor:
        """(N, C) float32."""
        return pool_under_masks(self.embedding.features, self.masks.to(self.embedding.features.device))


def label_masks(model: SAM, records: Sequence[Record], label_of: LabelOf = by_source) -> Iterator[LabelledMasks]:
    """Encode each picture once and name its masks; pictures without a mask to name are passed over."""
    for record in records:
        image = record.image()
        masks, labels = true_masks(record, model.frame(image.shape[:2]), model.config.low_res_hw, label_of)
        if labels:
            yield LabelledMasks(encode(model, image), masks, labels)


def true_masks(
    record: Record, frame: ImageFrame, low_res_hw: Size, label_of: LabelOf
) -> tuple[Tensor, tuple[str, ...]]:
    """A record's named segments as low-resolution masks (N, h, w) bool, and their classes."""
    masks, labels = [np.zeros((0, *low_res_hw), bool)], []
    for index, layer in enumerate(record.layers()):
        small = layer_in_frame(layer, frame, low_res_hw)
        segments, areas = np.unique(small, return_counts=True)
        for segment in segments[(segments > 0) & (areas >= SMALLEST)].tolist():
            if label := label_of(record, index, segment):
                masks.append((small == segment)[None])
                labels.append(label)
    return torch.from_numpy(np.concatenate(masks)), tuple(labels)


def layer_in_frame(layer: np.ndarray, frame: ImageFrame, low_res_hw: Size) -> np.ndarray:
    """The ids (H, W) that lie under the centres of the low-resolution pixels (h, w), 0 in the padding."""
    rows, columns = (
        ((np.arange(low) + 0.5) * (padded / low / scale)).astype(int)
        for low, padded, scale in zip(low_res_hw, frame.padded_hw, frame.scale_xy[::-1], strict=True)
    )
    rows, columns = rows[rows < layer.shape[0]], columns[columns < layer.shape[1]]
    canvas = np.zeros(low_res_hw, layer.dtype)
    canvas[: len(rows), : len(columns)] = layer[rows[:, None], columns]
    return canvas


# --- training and judging ---------------------------------------------------------------------------------------


def fit_class_head(
    model: SAM,
    records: Sequence[Record],
    *,
    label_of: LabelOf = by_source,
    steps: int = 300,
    learning_rate: float = 1e-2,
    weight_decay: float = 1e-2,
    seed: int = 0,
) -> ClassHead:
    """Train a head on the embeddings under the true masks; `model` stays as it is.

    Each picture is encoded once; a step then sees all masks. `ValueError` for fewer than two classes.
    """
    pooled, labels = pool_all(label_masks(model, records, label_of))
    class_names = sorted(set(labels))
    if len(class_names) < 2:
        raise ValueError(f"a head needs masks of two classes at least, these are of {class_names or 'none'}")
    torch.manual_seed(seed)
    head = ClassHead(class_names, pooled.shape[1], model.weights_hash())
    targets = torch.tensor([class_names.index(label) for label in labels])
    optimizer = torch.optim.AdamW(head.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(head(pooled), targets).backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def pool_all(examples: Iterator[LabelledMasks]) -> tuple[Tensor, list[str]]:
    """All masks' vectors (N, C) and classes, on the CPU; `ValueError` when there is no mask."""
    pooled, labels = [], []
    for example in examples:
        pooled.append(example.pooled().cpu())
        labels += example.labels
    if not labels:
        raise ValueError("none of the pictures has a mask that is named and large enough")
    return torch.cat(pooled), labels


@dataclass(frozen=True)
class HeadReport:
    """Shares of masks in 0-1: `accuracy` under the true masks, `own_masks` under those that the model draws into the
    true ones' boxes, `majority` of the most frequent class; `per_class` is accuracy under true masks."""

    masks: int
    majority: float
    accuracy: float
    own_masks: float
    per_class: dict[str, float]


def judge(model: SAM, head: ClassHead, records: Sequence[Record], label_of: LabelOf = by_source) -> HeadReport:
    """Measure a head on pictures it has not seen."""
    labels, under_true, under_own = [], [], []
    for example in label_masks(model, records, label_of):
        labels += example.labels
        for masks, answers in ((example.masks, under_true), (draw_masks(model, example), under_own)):
            answers += [name for name, _ in name_masks(head, example.embedding, masks)]
    if not labels:
        raise ValueError("no mask to judge by among the pictures held out")
    counts = Counter(labels)
    right = Counter(label for label, answer in zip(labels, under_true, strict=True) if label == answer)
    return HeadReport(
        masks=len(labels),
        majority=max(counts.values()) / len(labels),
        accuracy=right.total() / len(labels),
        own_masks=sum(map(str.__eq__, labels, under_own)) / len(labels),
        per_class={name: right[name] / counts[name] for name in sorted(counts)},
    )


def draw_masks(model: SAM, example: LabelledMasks) -> Tensor:
    """What the model segments in the true masks' boxes, (N, 4h, 4w) bool."""
    frame, drawn = example.embedding.frame, []
    for mask in example.masks:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        corners = torch.cat([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).numpy()
        cell = np.array(frame.padded_hw[::-1]) / mask.shape[::-1]  # model pixels, x and y
        box = frame.boxes_to_original(corners * np.tile(cell, 2))
        drawn.append(predict_low_res(model, example.embedding, box=box)[0][0] > model.mask_threshold)
    return torch.from_numpy(np.stack(drawn))


def split(records: Sequence[Record], pictures: int | None = None) -> tuple[list[Record], list[Record]]:
    """Up to `pictures` of each source, evenly spread: three of four to train on, every fourth held out."""
    train, held_out = [], []
    for group in group_by_source(records).values():
        chosen = np.linspace(0, len(group), min(pictures or len(group), len(group)), endpoint=False).astype(int)
        for number, index in enumerate(chosen):
            (held_out if number % TEST_SHARE == TEST_SHARE - 1 else train).append(group[index])
    return train, held_out


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a head, judge it on the pictures held out, and write it."""
    parser = argparse.ArgumentParser(prog="python -m sam.training.heads", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="pictures with masks: layered folders, COCO or SA-1B")
    parser.add_argument("--output", type=Path, required=True, help="the head, a safetensors file")
    parser.add_argument("--checkpoint", default="tiny", help="anything load_sam takes; default the embedded model")
    parser.add_argument("--label", choices=("source", "category"), default="source", help="what the class is")
    parser.add_argument("--sources", nargs="+", help="only these sources; default all")
    parser.add_argument("--pictures", type=int, default=40, help="at most so many of each source; default %(default)s")
    parser.add_argument("--steps", type=int, default=300, help="of training; default %(default)s")
    options = parser.parse_args(arguments)

    started = time.perf_counter()
    records = [r for r in find_records(options.data) if not options.sources or r.source in options.sources]
    train, held_out = split(records, options.pictures)
    model, label_of = load_sam(options.checkpoint), {"source": by_source, "category": by_category}[options.label]
    head = fit_class_head(model, train, label_of=label_of, steps=options.steps)
    head.save(options.output)
    trained = time.perf_counter()
    report = judge(model, head, held_out, label_of)
    print(f"{len(train)} pictures to train on, {len(head.class_names)} classes: {trained - started:.0f} s")
    print(f"{len(held_out)} pictures held out, {report.masks} masks: {time.perf_counter() - trained:.0f} s")
    print(f"right: {report.accuracy:.1%}, under the model's own masks {report.own_masks:.1%}")
    print(f"right with the most frequent class always: {report.majority:.1%}")
    for name, share in report.per_class.items():
        print(f"  {name:20} {share:.1%}")


if __name__ == "__main__":
    main()
