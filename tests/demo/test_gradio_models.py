"""Gradio's page and clients choose among models: each visitor for themselves, with the prompts asked anew."""

import asyncio
import hashlib

import numpy as np
import pytest
import torch
from demo_world import LIMITS, png, serving

from demo.app import create_app
from demo.schemas import Prompts
from demo.service import DemoService, LoadedModel, ModelShelf
from demo.service.offers import offers_of
from sam import load_sam

pytest.importorskip("gradio")
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demo.gradio_app import mount_gradio
from demo.gradio_app.visits import Visits
from demo.gradio_app.work import Work

TUNED = "tuned"


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[str]:
    """The embedded model, a copy of it that means something else, and one that cannot be loaded."""
    folder = tmp_path_factory.mktemp("models")
    tuned = load_sam("tiny")
    with torch.no_grad():
        tuned.mask_decoder.iou_prediction_head.layers[-1].bias.add_(torch.tensor([0.0, -0.3, 0.1, -0.2]))
    tuned.save(folder / f"{TUNED}.safetensors")
    (folder / "broken.pth").write_bytes(b"no weights")
    return ["tiny", str(folder / f"{TUNED}.safetensors"), str(folder / "broken.pth")]


@pytest.fixture
def service(sources):
    offers = offers_of(sources, downloads=True)
    shelf = ModelShelf(offers, lambda offer: LoadedModel(load_sam(offer.source)), max_bytes=10**9, downloads=True)
    service = DemoService(LoadedModel(load_sam("tiny")), shelf=shelf, limits=LIMITS)
    service.warm_up = lambda: None  # no decoder graph is needed here
    yield service
    service.close()


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "blobs.png"
    path.write_bytes(png(120, 90, seed=71))
    return path


@pytest.fixture
def visit(tmp_path):
    return Visits(tmp_path).of("anna", "one")


async def scores_of(service: DemoService, image_id: str, model: str) -> tuple[float, ...]:
    prompts = Prompts(points=[(30, 40)], labels=[1])
    return (await service.candidates(image_id, prompts, model=model)).scores


async def all_of(steps) -> list:
    return [step async for step in steps]


def test_the_prompts_are_asked_anew_the_objects_stay_and_undo_goes_back(service, visit, picture):
    work = Work(service)

    async def steps():
        await all_of(work.open(visit, picture))
        await work.click(visit, "add", (60, 40))
        await work.keep(visit, "cup")
        await work.click(visit, "add", (30, 40))
        before = visit.desk
        events = await all_of(work.choose_model(visit, TUNED))
        return before, events, await scores_of(service, before.picture.id, TUNED)

    before, events, expected = asyncio.run(steps())
    assert events[-1].name == "done"
    assert visit.desk.clicks == before.clicks and visit.desk.things == before.things
    assert np.allclose(visit.desk.answer.candidates.scores, expected)
    assert not np.allclose(expected, before.answer.candidates.scores)
    asyncio.run(work.undo(visit))
    assert visit.desk is before


def test_what_is_not_downloaded_is_not_offered_here(service):
    assert [offer.id for offer in Work(service).models()] == ["tiny", TUNED, "broken"]


def test_two_visitors_use_different_models_at_the_same_time(service, picture):
    with serving(mount_gradio(create_app(service), service)) as address:
        anna, bob = (Client(address + "/gradio/", verbose=False, httpx_kwargs={"timeout": 120}) for _ in range(2))
        assert [model["id"] for model in anna.predict(api_name="/models")] == ["tiny", TUNED, "broken"]
        assert anna.predict(TUNED, api_name="/choose_model") == {"model": TUNED}
        desks = {}
        for client, model in ((anna, TUNED), (bob, "tiny")):
            client.predict(handle_file(str(picture)), api_name="/open")
            desks[model] = client.predict("add", 30, 40, api_name="/click")
        assert (desks[TUNED]["model"], desks["tiny"]["model"]) == (TUNED, None)
        image_id = hashlib.sha256(picture.read_bytes()).hexdigest()
        for model, desk in desks.items():
            assert np.allclose(desk["candidates"], asyncio.run(scores_of(service, image_id, model)), atol=1e-3)
        assert desks[TUNED]["candidates"] != desks["tiny"]["candidates"]

        with pytest.raises(AppError, match=r"could not be loaded: broken\.pth"):
            bob.predict("broken", api_name="/choose_model")
        with pytest.raises(AppError, match="there are tiny, tuned"):
            bob.predict("nobody", api_name="/choose_model")
        after = bob.predict("add", 60, 40, api_name="/click")
        assert after["model"] is None and len(after["points"]) == 2, "a refusal changes nothing"
        for client in (anna, bob):
            client.close()
