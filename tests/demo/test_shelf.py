"""Models that visitors choose: loaded when asked for, within a memory budget, each by itself when something fails."""

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.problems import ModelFailed, NotDownloaded, OtherWeights, UnknownModel
from demo.service import LoadedModel, ModelShelf, Offer
from demo.service.models import DECODERS_BYTES
from demo.service.offers import offers_of
from sam import load_sam
from sam.hub.published import PUBLISHED

NAMES = ("first", "second", "third")


@pytest.fixture(scope="module")
def files(random_model, small_config, tmp_path_factory):
    """Three models of the same size with other weights, as files."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(NAMES):
        random_model(small_config, seed).save(folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def loads() -> list[str]:
    """What was loaded, in order."""
    return []


@pytest.fixture
def shelf_with(files, loads):
    """A shelf with room for so many models beside one another."""
    made = []

    def load(offer: Offer) -> LoadedModel:
        loads.append(offer.id)
        return LoadedModel(load_sam(offer.source))

    def build(room: float = 3, load=load) -> ModelShelf:
        first = LoadedModel(load_sam(files / "first.safetensors"))
        offers = offers_of([str(files / f"{name}.safetensors") for name in NAMES])
        shelf = ModelShelf(offers, load, max_bytes=int(room * first.bytes))
        shelf.keep(first)
        made.append(shelf)
        return shelf

    yield build
    for shelf in made:
        close(shelf)


def close(shelf: ModelShelf) -> None:
    for lane in shelf.lanes:
        lane.close()


def states(shelf: ModelShelf) -> dict[str, str]:
    return {offer.id: offer.state for offer in shelf.offers()}


# ---- loading ------------------------------------------------------------------------------------------


def test_a_model_is_loaded_when_it_is_asked_for_and_then_stays(shelf_with, loads):
    shelf = shelf_with()
    assert states(shelf) == {"first": "loaded", "second": "on_disk", "third": "on_disk"}
    assert shelf.load("second").result(60) is shelf.load("second").result(60)
    assert loads == ["second"]
    assert states(shelf) == {"first": "loaded", "second": "loaded", "third": "on_disk"}


def test_who_names_no_model_gets_the_first(shelf_with, loads):
    shelf = shelf_with()
    assert shelf.load().result(1) is shelf.load("first").result(1)
    assert loads == []


def test_many_who_ask_at_once_wait_for_one_load(shelf_with, loads):
    shelf = shelf_with()
    with ThreadPoolExecutor(8) as crowd:
        models = list(crowd.map(lambda _: shelf.load("second").result(60), range(16)))
    assert loads == ["second"] and len(set(map(id, models))) == 1


def test_one_model_is_loaded_at_a_time(shelf_with, files):
    at_work = threading.Semaphore(1)

    def load(offer: Offer) -> LoadedModel:
        assert at_work.acquire(blocking=False), "two loads at once"
        model = LoadedModel(load_sam(offer.source))
        at_work.release()
        return model

    shelf = shelf_with(load=load)
    for loading in [shelf.load("second"), shelf.load("third")]:
        loading.result(60)


def test_a_model_that_nobody_offers_is_refused_with_what_there_is(shelf_with):
    with pytest.raises(UnknownModel, match="first, second, third"):
        shelf_with().load("fourth")


# ---- memory -------------------------------------------------------------------------------------------


def test_the_model_used_longest_ago_makes_room_and_comes_back(shelf_with, loads):
    shelf = shelf_with(room=2.5)
    gone = weakref.ref(shelf.load("second").result(60).sam)
    shelf.load("third").result(60)
    assert states(shelf) == {"first": "loaded", "second": "on_disk", "third": "loaded"}
    gc.collect()
    assert gone() is None, "its weights are still in memory"
    shelf.load("second").result(60)
    assert states(shelf) == {"first": "loaded", "second": "loaded", "third": "on_disk"}
    assert loads == ["second", "third", "second"]


def test_to_use_a_model_makes_it_the_youngest(shelf_with, random_model, small_config, files):
    random_model(small_config, 9).save(files / "fourth.safetensors")
    first = LoadedModel(load_sam(files / "first.safetensors"))
    offers = offers_of([str(files / f"{name}.safetensors") for name in (*NAMES, "fourth")])
    shelf = ModelShelf(offers, lambda offer: LoadedModel(load_sam(offer.source)), max_bytes=int(3.5 * first.bytes))
    shelf.keep(first)
    for name in ("second", "third", "second", "fourth"):
        shelf.load(name).result(60)
    assert [name for name, state in states(shelf).items() if state == "loaded"] == ["first", "second", "fourth"]
    close(shelf)


def test_a_model_in_use_stays_until_it_is_not(shelf_with):
    shelf = shelf_with(room=2.5)

    async def use_both() -> None:
        async with shelf.lend("second"), shelf.lend("third"):
            assert states(shelf) == {"first": "loaded", "second": "loaded", "third": "loaded"}

    asyncio.run(use_both())
    assert sorted(states(shelf).values()) == ["loaded", "loaded", "on_disk"]


def test_a_model_for_which_there_is_no_room_is_loaded_nevertheless_and_stays_until_another_one_is(shelf_with, loads):
    shelf = shelf_with(room=0.5)

    async def use(model_id: str) -> str:
        async with shelf.lend(model_id) as model:
            return model.info.weights_hash

    for _ in range(2):
        assert asyncio.run(use("second")) == shelf.weights_of("second")
        asyncio.run(use("first"))
    assert loads == ["second"]
    asyncio.run(use("third"))
    assert states(shelf) == {"first": "loaded", "second": "on_disk", "third": "loaded"}


def test_what_a_model_takes_is_counted_by_its_weights(files):
    model = LoadedModel(load_sam(files / "first.safetensors"))
    weights = sum(4 * parameter.numel() for parameter in model.sam.parameters())
    assert model.bytes == pytest.approx(weights + DECODERS_BYTES, rel=0.01)


# ---- failures -----------------------------------------------------------------------------------------


def test_a_model_that_cannot_be_loaded_is_told_and_leaves_the_others_alone(shelf_with, files, tmp_path):
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no weights")
    offers = offers_of([str(files / "first.safetensors"), str(broken), str(files / "second.safetensors")])
    shelf = ModelShelf(offers, lambda offer: LoadedModel(load_sam(offer.source)), max_bytes=10**9)
    shelf.keep(LoadedModel(load_sam(files / "first.safetensors")))
    with pytest.raises(ModelFailed, match=r"broken\.pth") as told:
        shelf.load("broken").result(60)
    assert str(tmp_path) not in str(told.value), "visitors need not know where files lie"
    assert states(shelf) == {"first": "loaded", "broken": "failed", "second": "on_disk"}
    assert shelf.offer("broken").problem["type"] == "/problems/model-failed"
    assert shelf.load("second").result(60).info.weights_hash == shelf.weights_of("second")

    load_sam(files / "third.safetensors").save(tmp_path / "mended.safetensors")
    (tmp_path / "mended.safetensors").rename(broken)
    assert shelf.load("broken").result(60), "it is tried again"
    assert states(shelf)["broken"] == "loaded"
    close(shelf)


def test_a_model_whose_weights_are_not_here_is_not_loaded(files):
    offers = offers_of([str(files / "first.safetensors")], downloads=True)
    shelf = ModelShelf(offers, lambda offer: LoadedModel(load_sam(offer.source)), max_bytes=10**9, downloads=True)
    with pytest.raises(NotDownloaded, match="SAM ViT-B"):
        shelf.load("vit_b")
    assert states(shelf) == {"first": "on_disk"} | dict.fromkeys(PUBLISHED, "not_downloaded")
    close(shelf)


# ---- names --------------------------------------------------------------------------------------------


def test_models_are_known_by_their_weights_also_when_they_made_room(shelf_with):
    shelf = shelf_with(room=2.5)
    weights = shelf.load("second").result(60).info.weights_hash
    shelf.load("third").result(60)
    assert shelf.id_of(weights) == "second"
    with pytest.raises(OtherWeights):
        shelf.id_of("0" * 64)


def test_offers_have_ids_for_addresses_and_titles_for_people(files, tmp_path):
    twin = tmp_path / "first.safetensors"
    twin.write_bytes((files / "first.safetensors").read_bytes())
    odd = tmp_path / "my weights (final).pth"
    odd.write_bytes(b"")
    sources = ["tiny", str(files / "first.safetensors"), str(twin), str(odd), "owner/name", "vit_b", "tiny"]
    offers = offers_of(sources)
    assert [offer.id for offer in offers] == ["tiny", "first", "first-2", "my-weights-final", "owner--name", "vit_b"]
    assert [offer.title for offer in offers][-3:] == ["my weights (final)", "owner/name on Hugging Face", "SAM ViT-B"]
    assert offers[0].licence == "Apache-2.0" and offers[1].licence == ""


def test_what_is_no_model_is_refused_when_it_is_named():
    with pytest.raises(ValueError, match=r"nothing\.pth"):
        offers_of(["nothing.pth"])
