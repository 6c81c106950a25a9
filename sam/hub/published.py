"""Checkpoints that others have published: where each lies, what it must hash to, and under which terms it comes.

Plain data. Digests and sizes are never computed here from a download: each comes from a public source, named beside it,
and is empty where no source tells it. (The digits in Meta's file names are of the MD5, not of the SHA-256.)
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from ..config import Preprocessing

META = "https://dl.fbaipublicfiles.com/segment_anything"
MICRO_SAM = (
    "https://github.com/computational-cell-analytics/micro-sam/blob/"
    "00006fc6a86d4f6888f7ef333cf070987ffabb51/micro_sam/util.py"
)
SAM_PAPER = "Kirillov et al., Segment Anything, arXiv 2304.02643"
SLIMSAM_PAPER = "Chen et al., SlimSAM: 0.1% Data Makes Segment Anything Slim, arXiv 2312.05284"


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch: its name here, its address, and what is known of its content before it is fetched."""

    name: str
    address: str
    size: int | None = None
    """Bytes; None where no source tells them."""
    sha256: str = ""
    """64 hex digits; empty where no source tells them."""


@dataclass(frozen=True)
class Published:
    """A checkpoint that can be downloaded, and what a person should know before agreeing to that."""

    name: str
    title: str
    weights: RemoteFile
    licence: str
    citation: str
    digest_source: str = ""
    """Where the digest is published; the address of a page or a file."""
    preprocessing: Preprocessing = "sam"
    alternatives: tuple[RemoteFile, ...] = field(default=())
    """Files to take where the first does not exist."""
    beside: tuple[RemoteFile, ...] = field(default=())
    """Files that say more about the weights and may be missing."""

    @property
    def folder(self) -> str:
        """The folder in the cache that is this checkpoint's own; empty for a file with a name of its own."""
        return self.name.replace("/", "--") if "/" in self.name else ""


PUBLISHED: dict[str, Published] = {
    each.name: each
    for each in (
        Published(
            "vit_b",
            "SAM ViT-B",
            RemoteFile(
                "sam_vit_b_01ec64.pth",
                f"{META}/sam_vit_b_01ec64.pth",
                375_042_383,
                "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            ),
            "Apache-2.0",
            SAM_PAPER,
            MICRO_SAM,
        ),
        Published(
            "vit_l",
            "SAM ViT-L",
            RemoteFile(
                "sam_vit_l_0b3195.pth",
                f"{META}/sam_vit_l_0b3195.pth",
                1_249_524_607,
                "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            ),
            "Apache-2.0",
            SAM_PAPER,
            MICRO_SAM,
        ),
        Published(
            "vit_h",
            "SAM ViT-H",
            RemoteFile(
                "sam_vit_h_4b8939.pth",
                f"{META}/sam_vit_h_4b8939.pth",
                2_564_550_879,
                "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            ),
            "Apache-2.0",
            SAM_PAPER,
            MICRO_SAM,
        ),
        Published(
            "mobile_sam",
            "MobileSAM",
            RemoteFile(
                "mobile_sam.pt",
                "https://github.com/ChaoningZhang/MobileSAM/raw/f706ad9c4eb7f219c00d9050e46328518ffb65d2/"
                "weights/mobile_sam.pt",
                40_728_226,
                "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            ),
            "Apache-2.0",
            "Zhang et al., Faster Segment Anything, arXiv 2306.14289",
            MICRO_SAM,
        ),
        Published(
            "medsam",
            "MedSAM ViT-B",
            RemoteFile(
                "medsam_vit_b.pth",
                "https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
                375_049_145,
                "34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74",
            ),
            "Apache-2.0",
            "Ma et al., Segment Anything in Medical Images, Nature Communications 15, 654 (2024)",
            "https://github.com/raju-sah/MedSAM-For-Skin-Segmentation",
            preprocessing="medsam",
        ),
        Published(
            "slimsam_50",
            "SlimSAM-50",
            RemoteFile(
                "slimsam_uniform_50.safetensors",
                "https://huggingface.co/Zigeng/SlimSAM-uniform-50/resolve/"
                "47bf233aaffd60acb087e835a594ddb99b673c1b/model.safetensors",
                sha256="c6146291d993f315ae1951e1209555d6c9dea1404546dc54edbc3f15fb1d8e69",
            ),
            "Apache-2.0",
            SLIMSAM_PAPER,
            "https://huggingface.co/Zigeng/SlimSAM-uniform-50/blob/"
            "47bf233aaffd60acb087e835a594ddb99b673c1b/model.safetensors",
        ),
        Published(
            "slimsam_77",
            "SlimSAM-77",
            RemoteFile(
                "slimsam_uniform_77.safetensors",
                "https://huggingface.co/Zigeng/SlimSAM-uniform-77/resolve/"
                "9e72a1bc79fa17f1f4e239003f0d84170c96464d/model.safetensors",
                sha256="b0ee221e3d33935807a820c157fec81a537b3b9979edc88b148a8dae8bbdd5d2",
            ),
            "Apache-2.0",
            SLIMSAM_PAPER,
            "https://huggingface.co/Zigeng/SlimSAM-uniform-77/blob/main/model.safetensors",
        ),
    )
}
"""Checkpoints by the name that `load_sam` takes. Meta's `vit_t` is nobody's: MobileSAM is `mobile_sam`.

The SlimSAM files are those with equal pruning in every block; the others keep a different width in each and fit no
configuration here.
"""

HUB = "https://huggingface.co"
HUB_PREFIX = "hf:"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILE_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".onnx", ".ckpt")


def find_published(name: str) -> Published | None:
    """The checkpoint of that name, in `PUBLISHED` or as a Hugging Face repository `owner/name` or `hf:owner/name`."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    repository = name.removeprefix(HUB_PREFIX)
    if not _HUB_NAME.fullmatch(repository) or (repository == name and name.endswith(_FILE_SUFFIXES)):
        return None
    return hub_checkpoint(repository)


def hub_checkpoint(repository: str) -> Published:
    """The weights of a Hugging Face repository in `SamModel`'s format; HF_ENDPOINT names a mirror, as it does there.

    Nobody has published a digest for all of them: what the hub itself says of its file is compared.
    """
    root = f"{os.environ.get('HF_ENDPOINT') or HUB}/{repository}"
    files = {name: RemoteFile(name, f"{root}/resolve/main/{name}") for name in _HUB_FILES}
    return Published(
        repository,
        f"{repository} on Hugging Face",
        files["model.safetensors"],
        licence=f"see {root}",
        citation=f"see {root}",
        alternatives=(files["pytorch_model.bin"],),
        beside=(files["config.json"],),
    )


_HUB_FILES = ("model.safetensors", "pytorch_model.bin", "config.json")
