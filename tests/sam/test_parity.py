"""Our answers are the original implementations', within 1e-4, through every public way of asking."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sam import SAM, SamPredictor, TinyViT, encode, load_sam, predict
from sam.transforms import image_to_tensor, resize_image

pytestmark = pytest.mark.reference

TOLERANCE = 1e-4
CASES = ("point", "points", "box", "box_points", "refine", "mask_only")
KEY_TABLES = ("vit_t", "vit_b", "vit_l", "vit_h")


@dataclass(frozen=True)
class Small:
    """The small reference SAM, its values, and its prompt cases."""

    model: SAM
    values: dict[str, torch.Tensor]
    cases: dict[str, dict]

    @property
    def image(self) -> np.ndarray:
        return self.values["image"].numpy()

    def prompts(self, case: str) -> dict[str, np.ndarray]:
        """The case's prompts in original pixels, as `SamPredictor.predict` takes them."""
        names = (name for name, kind in self.cases[case].items() if kind == "tensor")
        return {name: self.values[f"{case}.{name}"].numpy() for name in names}

    def multimask(self, case: str) -> bool:
        return self.cases[case]["multimask_output"]

    def check(self, case: str, **got: torch.Tensor | np.ndarray) -> None:
        """Compare `got` with the case's values of the same names."""
        for name, value in got.items():
            want = self.values[f"{case}.{name}"]
            if name == "masks":  # a pixel whose logit is zero within the tolerance may be either
                sure = self.values[f"{case}.logits"].abs() > TOLERANCE
                value, want = torch.as_tensor(value) & sure, want.bool() & sure
            close(value, want)


@pytest.fixture(scope="module")
def small(reference, reference_config) -> Small:
    record = json.loads((reference / "small.json").read_text())
    model = load_sam(reference / "small.weights.safetensors", variant=reference_config(record["config"]))
    return Small(model, load_file(reference / "small.golden.safetensors"), record["cases"])


@pytest.mark.parametrize("variant", KEY_TABLES)
def test_names_shapes_and_order_are_the_published_checkpoints(reference, variant):
    published = json.loads((reference / f"{variant}.keys.json").read_text())
    with torch.device("meta"):
        state = SAM.from_variant(variant).state_dict()
    assert [(name, list(tensor.shape)) for name, tensor in state.items()] == list(published.items())


def test_preprocessed_picture_is_the_originals(small):
    frame = small.model.frame(small.image.shape[:2])
    close(small.model.preprocess(image_to_tensor(resize_image(small.image, frame))), small.values["preprocessed"])


def test_embedding_and_dense_positions_are_the_originals(small):
    close(encode(small.model, small.image).features, small.values["embedding"])
    close(small.model.prompt_encoder.get_dense_pe(), small.values["dense_pe"])


def test_prompt_encoder_on_its_own_gives_the_originals_embeddings(small):
    stage = {name.removeprefix("stage."): value for name, value in small.values.items() if name.startswith("stage.")}
    sparse, dense = small.model.prompt_encoder((stage["point_coords"], stage["point_labels"]))
    close(sparse, stage["sparse_points"])
    close(dense, stage["dense_none"])
    close(small.model.prompt_encoder(boxes=stage["boxes"])[0], stage["sparse_boxes"])


@pytest.mark.parametrize("case", CASES)
def test_predictor_answers_as_the_original(small, case):
    predictor = SamPredictor(small.model)
    predictor.set_image(small.image)
    options = {"multimask_output": small.multimask(case)}
    logits, iou, low_res = predictor.predict(**small.prompts(case), **options, return_logits=True)
    small.check(case, logits=logits, iou=iou, low_res=low_res)
    masks, _, _ = predictor.predict(**small.prompts(case), **options)
    assert masks.dtype == bool
    small.check(case, masks=masks)


@pytest.mark.parametrize("case", CASES)
def test_values_answer_as_the_original(small, case):
    embedding = encode(small.model, small.image)
    answer = predict(small.model, embedding, **small.prompts(case), multimask_output=small.multimask(case))
    small.check(case, masks=answer.masks, iou=answer.iou_predictions, low_res=answer.low_res_logits)


@pytest.mark.parametrize("case", CASES)
def test_model_answers_a_batch_as_the_original(small, case):
    batch = {"image": image_to_tensor(small.image), "multimask_output": small.multimask(case)}
    prompts = {name: torch.as_tensor(value)[None] for name, value in small.prompts(case).items()}
    if "point_coords" in prompts:
        batch["points"] = (prompts["point_coords"], prompts["point_labels"])
    if "box" in prompts:
        batch["boxes"] = prompts["box"][None]
    if "mask_input" in prompts:
        batch["masks"] = prompts["mask_input"]
    with torch.no_grad():
        answer = {name: value[0] for name, value in small.model(batch).items()}
    small.check(case, masks=answer["masks"], iou=answer["iou_predictions"], low_res=answer["low_res_logits"])
    frame = small.model.frame(small.image.shape[:2])
    logits = small.model.postprocess_masks(answer["low_res_logits"][None], frame.resized_hw, frame.original_hw)
    small.check(case, logits=logits[0])


@pytest.mark.parametrize("case", CASES)
def test_model_answers_metas_list_as_the_original(small, case):
    predictor = SamPredictor(small.model)
    original_hw = small.image.shape[:2]
    resized = predictor.transform.apply_image(small.image)
    record = {"image": image_to_tensor(resized)[0], "original_size": original_hw}
    prompts = small.prompts(case)
    if "point_coords" in prompts:
        coords = predictor.transform.apply_coords(prompts["point_coords"], original_hw)
        record["point_coords"] = torch.as_tensor(coords)[None]
        record["point_labels"] = torch.as_tensor(prompts["point_labels"])[None]
    if "box" in prompts:
        record["boxes"] = torch.as_tensor(predictor.transform.apply_boxes(prompts["box"], original_hw))
    if "mask_input" in prompts:
        record["mask_inputs"] = torch.as_tensor(prompts["mask_input"])[None]
    (answer,) = small.model([record], multimask_output=small.multimask(case))
    answer = {name: value[0] for name, value in answer.items()}
    small.check(case, masks=answer["masks"], iou=answer["iou_predictions"], low_res=answer["low_res_logits"])


@pytest.mark.parametrize("case", CASES)
def test_predict_torch_answers_as_the_original(small, case):
    predictor = SamPredictor(small.model)
    resized = predictor.transform.apply_image(small.image)
    predictor.set_torch_image(image_to_tensor(resized), small.image.shape[:2])
    prompts = {name: torch.as_tensor(value) for name, value in small.prompts(case).items()}
    move = {"point_coords": predictor.transform.apply_coords_torch, "box": predictor.transform.apply_boxes_torch}
    moved = {name: move[name](prompts[name], predictor.original_size) for name in move if name in prompts}
    answer = predictor.predict_torch(
        moved["point_coords"][None] if "point_coords" in moved else None,
        prompts["point_labels"][None] if "point_labels" in prompts else None,
        moved.get("box"),
        prompts["mask_input"][None] if "mask_input" in prompts else None,
        multimask_output=small.multimask(case),
        return_logits=True,
    )
    logits, iou, low_res = (tensor[0] for tensor in answer)
    small.check(case, logits=logits, iou=iou, low_res=low_res)


def test_tiny_vit_gives_mobile_sams_embedding(reference):
    encoder = TinyViT(**json.loads((reference / "small_t.json").read_text())["config"]).eval()
    encoder.load_state_dict(load_file(reference / "small_t.weights.safetensors"))
    yy, xx = torch.meshgrid(torch.arange(1024.0), torch.arange(1024.0), indexing="ij")
    image = torch.stack([torch.sin(xx / 37 + yy / 91), torch.cos(xx / 53 - yy / 29), torch.sin(xx * yy / 40000)])
    with torch.inference_mode():
        embedding = encoder(image[None])
    golden = load_file(reference / "small_t.golden.safetensors")
    close(embedding[..., ::4, ::4], golden["embedding_every_4th"])
    close(embedding.mean((-2, -1)), golden["embedding_mean"])


def close(got: torch.Tensor | np.ndarray, want: torch.Tensor) -> None:
    """Assert equal shapes, and values within the tolerance."""
    torch.testing.assert_close(torch.as_tensor(got).float(), want.float(), atol=TOLERANCE, rtol=0)
