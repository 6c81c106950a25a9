"""What `save_sam` writes in Meta's layout is read back by Meta's package, by the published key tables and by us."""

import json
import sys
from unittest.mock import MagicMock

import pytest
import torch

from sam import SAM, SAMConfig, load_sam, save_sam
from sam.config import ViTConfig

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": (1,)}


@pytest.fixture(scope="module")
def model(random_model) -> SAM:
    """Meta's sizes around a small ViT: its package builds no other decoder."""
    return random_model(SAMConfig(ViTConfig(**SMALL)))


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("meta") / "sam.pth"
    save_sam(model, path, "meta")
    return path


@pytest.fixture
def meta(monkeypatch):
    """Meta's builders. Their package imports torchvision to resize pictures and sort boxes, and here does neither."""
    for name in ("", ".transforms", ".transforms.functional", ".ops", ".ops.boxes"):
        monkeypatch.setitem(sys.modules, f"torchvision{name}", MagicMock())
    return pytest.importorskip("segment_anything.build_sam")


def test_metas_package_reads_it_and_gives_the_same_masks(meta, model, file):
    sizes = {f"encoder_{name}": value for name, value in SMALL.items() if name != "global_attn_indexes"}
    theirs = meta._build_sam(**sizes, encoder_global_attn_indexes=SMALL["global_attn_indexes"], checkpoint=str(file))
    picture = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[[300.0, 400.0]]]), torch.tensor([[1]])
    with torch.no_grad():
        embedding = theirs.image_encoder(picture)
        torch.testing.assert_close(model.image_encoder(picture), embedding, atol=1e-4, rtol=0)
        sparse, dense = theirs.prompt_encoder(points=points, boxes=None, masks=None)
        logits, iou = theirs.mask_decoder(embedding, theirs.prompt_encoder.get_dense_pe(), sparse, dense, True)
        ours, our_iou = model.decode(embedding, points)
    torch.testing.assert_close(ours[:, 1:], logits, atol=1e-3, rtol=0)
    torch.testing.assert_close(our_iou[:, 1:], iou, atol=1e-3, rtol=0)


def test_load_sam_reads_it(model, file):
    again = load_sam(file)
    assert (again.config, again.weights_hash()) == (model.config, model.weights_hash())


@pytest.mark.reference
@pytest.mark.parametrize("variant", ["vit_t", "vit_b"])
def test_keys_and_shapes_are_the_published_checkpoints(reference, variant, tmp_path):
    save_sam(SAM.from_variant(variant), tmp_path / "sam.pth", "meta")
    state = torch.load(tmp_path / "sam.pth", weights_only=True)
    published = json.loads((reference / f"{variant}.keys.json").read_text())
    assert {name: list(tensor.shape) for name, tensor in state.items()} == dict(published)


def test_unknown_layout_names_the_known_ones(model, tmp_path):
    with pytest.raises(ValueError, match="huggingface"):
        save_sam(model, tmp_path / "sam.onnx", "onnx")


def test_a_failed_write_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = tmp_path / "sam.pth"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("sam.checkpoint.saving.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_sam(model, path, "meta")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]
