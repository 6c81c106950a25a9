"""The same weights in `transformers.SamModel` give the same answers."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from sam import SAM, SAMConfig, load_sam, save_sam
from sam.checkpoint import infer_config
from sam.config import VARIANTS, DecoderConfig, TinyConfig, ViTConfig
from sam.export import export_decoder
from sam.hub.hugging_face import from_meta, to_meta
from sam.transforms import resize_image

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-5
PROMPTS = ("points", "box", "points_and_box", "points_and_mask")


def hugging_face_config(config: SAMConfig) -> "transformers.SamConfig":
    encoder, decoder, size = config.image_encoder, config.mask_decoder, config.image_size
    return transformers.SamConfig(
        vision_config=transformers.SamVisionConfig(
            hidden_size=encoder.embed_dim, output_channels=encoder.out_chans, num_hidden_layers=encoder.depth,
            num_attention_heads=encoder.num_heads, image_size=size, window_size=encoder.window_size,
            global_attn_indexes=list(encoder.global_attn_indexes), mlp_dim=4 * encoder.embed_dim,
            num_pos_feats=encoder.out_chans // 2,
        ),
        prompt_encoder_config=transformers.SamPromptEncoderConfig(hidden_size=encoder.out_chans, image_size=size),
        mask_decoder_config=transformers.SamMaskDecoderConfig(
            hidden_size=encoder.out_chans, mlp_dim=decoder.mlp_dim, num_attention_heads=decoder.num_heads,
            iou_head_hidden_dim=decoder.iou_head_hidden_dim, iou_head_depth=decoder.iou_head_depth,
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def config() -> SAMConfig:
    return SAMConfig(
        ViTConfig(
            img_size=256, embed_dim=48, depth=3, num_heads=4, out_chans=32, window_size=5, global_attn_indexes=(1,)
        ),
        DecoderConfig(num_heads=4, mlp_dim=64, iou_head_hidden_dim=48, iou_head_depth=4),
    )


@pytest.fixture(scope="module")
def theirs(config):
    model = transformers.SamModel(hugging_face_config(config)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2, generator=generator)
    return model


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("hugging-face")
    theirs.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def ours(folder) -> SAM:
    return load_sam(folder)


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))


def test_folder_says_what_no_tensor_tells(ours, config):
    assert ours.config == config


def test_file_in_the_folder_loads_as_the_folder_does(folder, ours):
    assert load_sam(folder / "model.safetensors").weights_hash() == ours.weights_hash()


def test_same_weights_give_the_same_embedding(ours, theirs, picture):
    with torch.no_grad():
        torch.testing.assert_close(
            ours.image_encoder(picture), theirs.get_image_embeddings(picture), atol=TOLERANCE, rtol=0
        )


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("multimask_output", [True, False])
@torch.no_grad()
def test_same_weights_give_the_same_masks(ours, theirs, picture, kind, multimask_output):
    coords, labels = torch.tensor([[[50.0, 60.0], [100.0, 20.0]]]), torch.tensor([[1, 0]])
    box, mask = torch.tensor([[20.0, 30.0, 200.0, 180.0]]), torch.randn(1, 1, 64, 64)
    mine, asked = {}, {}
    if "points" in kind:
        mine["points"], asked["input_points"], asked["input_labels"] = (coords, labels), coords[None], labels[None]
    if "box" in kind:
        mine["boxes"], asked["input_boxes"] = box, box[None]
    if "mask" in kind:
        mine["masks"], asked["input_masks"] = mask, mask
    embedding = ours.image_encoder(picture)
    logits, iou = ours.decode(embedding, **mine)
    answer = theirs(image_embeddings=embedding, multimask_output=multimask_output, **asked)
    chosen = slice(1, None) if multimask_output else slice(0, 1)
    torch.testing.assert_close(logits[0, chosen], answer.pred_masks[0, 0], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(iou[0, chosen], answer.iou_scores[0, 0], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("variant", ["vit_b", "vit_l", "vit_h"])
def test_published_names_are_all_renamed_and_the_variant_inferred(variant):
    config = VARIANTS[variant]
    with torch.device("meta"):
        state = to_meta(transformers.SamModel(hugging_face_config(config)).state_dict())
        expected = SAM.from_config(config).state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }
    assert infer_config(state) == config


def test_broken_configuration_beside_the_weights_is_refused(folder, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        load_sam(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert load_sam(tmp_path).config.mask_decoder.num_heads == 8
    assert np.isfinite(load_sam(tmp_path).prompt_encoder.get_dense_pe().numpy()).all()


# --- written for transformers ----------------------------------------------------------------------------------------


def test_saved_model_is_read_back_by_transformers(random_model, config, picture, tmp_path):
    model = random_model(config)
    save_sam(model, tmp_path, "huggingface")
    read, problems = transformers.SamModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(problems.values())
    with torch.no_grad():
        torch.testing.assert_close(
            read.get_image_embeddings(picture), model.image_encoder(picture), atol=TOLERANCE, rtol=0
        )
        points, labels = torch.tensor([[[[50.0, 60.0]]]]), torch.tensor([[[1]]])
        answer = read(picture, input_points=points, input_labels=labels)
        logits, iou = model.decode(model.image_encoder(picture), (points[0], labels[0]))
    torch.testing.assert_close(answer.pred_masks[0, 0], logits[0, 1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(answer.iou_scores[0, 0], iou[0, 1:], atol=1e-4, rtol=0)


def test_saved_model_is_read_back_by_load_sam(random_model, config, tmp_path):
    model = random_model(config)
    save_sam(model, tmp_path, "huggingface")
    again = load_sam(tmp_path)
    assert (again.config, again.weights_hash()) == (model.config, model.weights_hash())


def test_saved_processor_prepares_pictures_as_the_model_does(random_model, config, photo, tmp_path):
    model = random_model(config)
    save_sam(model, tmp_path, "huggingface")
    processor = getattr(
        transformers, "SamImageProcessorPil", transformers.SamImageProcessor
    )  # the other wants torchvision
    given = processor.from_pretrained(tmp_path)(photo, return_tensors="pt")
    frame = model.frame(photo.shape[:2])
    ours = model.preprocess(torch.from_numpy(resize_image(photo, frame)).permute(2, 0, 1)[None].float())
    assert tuple(given["reshaped_input_sizes"][0].tolist()) == frame.resized_hw
    torch.testing.assert_close(given["pixel_values"], ours, atol=0.02, rtol=0)


@pytest.mark.parametrize("heads", [(3, 3), (4, 2)])
def test_every_name_goes_to_hugging_face_and_back(random_model, config, heads):
    iou_depth, multimask = heads
    decoder = replace(config.mask_decoder, iou_head_depth=iou_depth, num_multimask_outputs=multimask)
    state = random_model(replace(config, mask_decoder=decoder)).state_dict()
    again = to_meta(from_meta(state))
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_transformers_js_contract_is_the_one_that_transformers_itself_keeps(ours, theirs, picture):
    """Several prompts of different lengths: -10 fills the shorter."""
    points = torch.tensor([[[[50.0, 60.0], [0.0, 0.0]], [[100.0, 20.0], [40.0, 200.0]]]])
    labels = torch.tensor([[[1, -10], [1, 0]]])
    embedding = torch.randn(ours.config.embedding_shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = theirs(image_embeddings=embedding, input_points=points, input_labels=labels)
    session = onnxruntime.InferenceSession(export_decoder(ours, "transformers-js").bytes)
    feeds = {
        "input_points": points.numpy(),
        "input_labels": labels.numpy(),
        "image_embeddings": embedding.numpy(),
        "image_positional_embeddings": ours.prompt_encoder.get_dense_pe().numpy(),
    }
    iou_scores, pred_masks = session.run(["iou_scores", "pred_masks"], feeds)
    np.testing.assert_allclose(pred_masks, expected.pred_masks, rtol=0, atol=1e-4)
    np.testing.assert_allclose(iou_scores, expected.iou_scores, rtol=0, atol=1e-4)


NARROW = SAMConfig(
    ViTConfig(64, 16, 16, 1, 2, out_chans=32, global_attn_indexes=()), DecoderConfig(width=16, num_heads=2)
)
OWN = SAMConfig(TinyConfig(img_size=128, widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), num_heads=4))


@pytest.mark.parametrize(
    ("config", "reason"), [(NARROW, "32 channels; that of custom has 16"), (OWN, "encoder like that of custom")]
)
@pytest.mark.parametrize("layout", ["huggingface", "meta"])
def test_a_model_that_a_layout_cannot_express_is_refused_and_leaves_nothing(
    random_model, config, reason, layout, tmp_path
):
    with pytest.raises(ValueError, match=reason):
        save_sam(random_model(config), tmp_path / "saved", layout)
    assert not list(tmp_path.iterdir())
