"""Downloads, against a real server that also does everything wrong; what is used in the end is the published file."""

import errno
import hashlib
import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import file_server as answers
import pytest
import torch
from file_server import FileServer, file_server, ranges, whole

from sam import CheckpointError, load_sam
from sam.hub import downloads
from sam.hub.downloads import DownloadError, FileNotPublishedError, Progress, download, downloaded, fetch
from sam.hub.published import PUBLISHED, Published, RemoteFile, find_published, hub_checkpoint

CONTENT = bytes(range(256)) * 16_384  # 4 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[::-1]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A cache of this test's own, and no waiting between tries."""
    monkeypatch.setenv("SAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(downloads, "PAUSE_S", 0.001)
    return tmp_path / "home"


def remote(server: FileServer, **known) -> RemoteFile:
    return replace(RemoteFile("weights.pth", server.address, len(CONTENT), SHA256), **known)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


# --- the fault table -------------------------------------------------------------------------------------------------

MENDED = {
    "nothing is wrong": [ranges()],
    "no ranges": [whole()],
    "no ranges, and the first connection drops": [whole(send=2_000_000), whole()],
    "the connection drops": [ranges(send=2_000_000), ranges()],
    "it drops again and again, a little later each time": [ranges(send=1_000_000)],
    "it drops before the first byte": [ranges(send=0), ranges()],
    "a length is announced that is not sent, once": [whole(send=3_000_000), ranges()],
    "busy at first": [answers.status(503), answers.status(429), ranges()],
    "the file changes in the middle": [answers.another(OTHER, '"old"'), ranges('"new"')],
    "another version's part after a drop": [ranges('"old"', send=1_000_000), ranges('"new"')],
    "a part that was not asked for": [ranges(send=1_000_000), answers.wrong_part, ranges()],
    "no version is named": [ranges(None, send=1_000_000), ranges(None)],
    "the range is refused": [ranges(send=1_000_000), answers.status(416), ranges()],
}


@pytest.mark.parametrize("fault", MENDED)
def test_a_download_survives(fault, tmp_path):
    with file_server(CONTENT, *MENDED[fault]) as server:
        known = {} if fault != "the file changes in the middle" else {"size": None}
        if fault == "the file changes in the middle":  # half of one version is here, its server has moved on
            server.answers[0] = lambda request, _: ranges('"old"', send=2_000_000)(request, OTHER)
        path = fetch(remote(server, **known), tmp_path / "weights.pth")
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == {"weights.pth"}


REFUSED = {
    "the digest is wrong": ([answers.another(OTHER, '"one"')], "not the published file: its SHA-256"),
    "it is longer than published": ([whole(announce=len(CONTENT) + 1)], "offers 4194305 bytes"),
    "it is shorter than published": ([answers.another(CONTENT[:-1], '"one"')], "offers 4194303 bytes"),
    "fewer bytes than announced, every time": ([whole(send=1_000_000)], "breaks off"),
    "always busy": ([answers.status(503)], "busy or broken .status 503"),
    "no such file": ([answers.status(404)], "does not exist"),
    "not for everybody": ([answers.status(403)], "may not be read .status 403.*account or an agreement"),
    "a web page": ([answers.page], "a network that asks for a login"),
    "an odd status": ([answers.status(204)], "status 204"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_download_is_refused(fault, tmp_path):
    script, message = REFUSED[fault]
    with file_server(CONTENT, *script) as server, pytest.raises(DownloadError, match=message):
        fetch(remote(server), tmp_path / "weights.pth")
    assert not (tmp_path / "weights.pth").exists()


def test_bytes_of_a_wrong_file_are_not_kept(tmp_path):
    with file_server(CONTENT, answers.another(OTHER, '"one"')) as server, pytest.raises(DownloadError):
        fetch(remote(server), tmp_path / "weights.pth")
    assert left_in(tmp_path) == set()


def test_an_offline_machine_is_told_what_to_do_by_hand(monkeypatch, home):
    model = published(RemoteFile("weights.pth", "http://127.0.0.1:9/weights.pth", 4_194_304, SHA256))
    with pytest.raises(DownloadError) as refusal:
        download(model)
    message = str(refusal.value)
    assert "127.0.0.1 cannot be reached" in message and "offline" in message
    assert "download http://127.0.0.1:9/weights.pth (4 MB) yourself" in message
    assert str(home / "checkpoints" / "weights.pth") in message


# --- resuming --------------------------------------------------------------------------------------------------------


def test_a_stopped_download_goes_on_where_it_was(tmp_path, monkeypatch):
    """Another process, later: it asks for the rest of the same version."""
    monkeypatch.setattr(downloads, "REPORT_INTERVAL_S", 0)
    path = tmp_path / "weights.pth"

    def stop(progress: Progress) -> None:
        if progress.done >= 1 << 20:
            raise KeyboardInterrupt

    with file_server(CONTENT, ranges()) as server:
        with pytest.raises(KeyboardInterrupt):
            fetch(remote(server), path, stop)
        had = (tmp_path / ".weights.pth.part").stat().st_size
        assert 0 < had < len(CONTENT) and not path.exists()
        fetch(remote(server), path)
        assert server.asked == [(None, None), (f"bytes={had}-", '"one"')]
    assert path.read_bytes() == CONTENT


def test_without_digest_and_version_nothing_is_resumed(tmp_path):
    with file_server(CONTENT, ranges(None, send=1_000_000), ranges(None)) as server:
        fetch(remote(server, sha256=""), tmp_path / "weights.pth")
        assert server.asked == [(None, None), (None, None)]


def test_a_damaged_part_is_thrown_away_and_fetched_again(tmp_path):
    (tmp_path / ".weights.pth.part").write_bytes(b"damaged")
    with file_server(CONTENT, ranges()) as server:
        note = {"address": server.address, "validator": '"one"'}
        (tmp_path / ".weights.pth.part.json").write_text(json.dumps(note))
        fetch(remote(server), tmp_path / "weights.pth")
        assert [first for first, _ in server.asked] == ["bytes=7-", None]
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_taken(tmp_path):
    (tmp_path / ".weights.pth.part").write_bytes(CONTENT[:5])
    with file_server(CONTENT, ranges()) as server:
        fetch(remote(server), tmp_path / "weights.pth")
        assert server.asked == [(None, None)]


def test_a_complete_part_is_only_verified(tmp_path):
    (tmp_path / ".weights.pth.part").write_bytes(CONTENT)
    with file_server(CONTENT, ranges()) as server:
        note = {"address": server.address, "validator": '"one"'}
        (tmp_path / ".weights.pth.part.json").write_text(json.dumps(note))
        fetch(remote(server), tmp_path / "weights.pth")
        assert server.asked == [(f"bytes={len(CONTENT)}-", '"one"')]
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_redirects_are_followed_with_the_range(tmp_path):
    with file_server(CONTENT, ranges(send=1_000_000), ranges()) as server:
        moved = server.address.replace("/weights", "/moved/weights")
        fetch(remote(server, address=moved), tmp_path / "weights.pth")
        assert [first for first, _ in server.asked] == [None, None, "bytes=1000000-", "bytes=1000000-"]


# --- progress, disks, others -----------------------------------------------------------------------------------------


def test_progress_rises_to_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "REPORT_INTERVAL_S", 0)
    seen: list[Progress] = []
    with file_server(CONTENT, ranges()) as server:
        fetch(remote(server), tmp_path / "weights.pth", seen.append)
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert (seen[-1].done, seen[-1].total) == (len(CONTENT), len(CONTENT)) and seen[-1].rate > 0
    assert Progress(1_000, 3_000, 500.0).remaining_s == 4


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1_000_000}))
    with file_server(CONTENT, ranges()) as server, pytest.raises(DownloadError, match=r"4 MB more.*SAM_HOME"):
        fetch(remote(server), tmp_path / "weights.pth")


def test_a_disk_that_fills_up_is_named(tmp_path, monkeypatch):
    def fill(self: object, progress: object, **_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads._Transfer, "_tell", fill)
    with file_server(CONTENT, ranges()) as server, pytest.raises(DownloadError, match=r"disk of .* is full"):
        fetch(remote(server), tmp_path / "weights.pth")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with file_server(CONTENT, ranges()) as server:
        with pytest.raises(DownloadError, match=r"cannot be written.*set SAM_HOME"):
            fetch(remote(server), tmp_path / "file" / "weights.pth")
        assert server.asked == []


def _fetch(address: str, path: Path) -> None:
    fetch(RemoteFile("weights.pth", address, len(CONTENT), SHA256), path)


def test_two_processes_fetch_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    with file_server(CONTENT, ranges()) as server:
        both = [context.Process(target=_fetch, args=(server.address, tmp_path / "weights.pth")) for _ in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join()
        assert [process.exitcode for process in both] == [0, 0]
        assert len(server.asked) == 1


# --- checkpoints by name ---------------------------------------------------------------------------------------------


def published(weights: RemoteFile, **fields) -> Published:
    return Published("fake", "A fake model", weights, "none", "nobody", **fields)


def test_a_published_name_loads_only_after_consent(small_model, tmp_path, monkeypatch, home):
    small_model.save(tmp_path / "small.safetensors")
    content = (tmp_path / "small.safetensors").read_bytes()
    with file_server(content, ranges()) as server:
        file = RemoteFile("small.safetensors", server.address, len(content), hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(PUBLISHED, "fake", published(file, preprocessing="medsam"))
        with pytest.raises(CheckpointError, match=r"fake.*not been downloaded; agree with download=True.*yourself"):
            load_sam("fake")
        assert server.asked == [] and not home.exists()
        model = load_sam("fake", download=True)
    assert model.config.preprocessing == "medsam"
    assert torch.equal(model.pixel_mean, small_model.pixel_mean)
    assert load_sam("fake").config == model.config  # from the cache: the server is gone


def test_a_file_put_by_hand_is_verified(monkeypatch, home):
    model = published(RemoteFile("weights.pth", "http://127.0.0.1:9/", None, SHA256))
    path = home / "checkpoints" / "weights.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert downloaded(model) == path
    path.write_bytes(OTHER)
    with pytest.raises(DownloadError, match=r"is not the published file.*delete it"):
        downloaded(model)


def test_a_hugging_face_repository_is_fetched_with_its_configuration(monkeypatch, home):
    """The first name of the weights that exists, and the digest that the hub states for it."""
    config = b'{"mask_decoder_config": {}}'
    served = {"model.safetensors": None, "pytorch_model.bin": CONTENT, "config.json": config}

    def hub(request, _) -> None:
        name = request.path.rpartition("/")[2]
        if served[name] is None:
            return answers.status(404)(request, b"")
        digest = {"X-Linked-Etag": f'"{hashlib.sha256(CONTENT).hexdigest()}"'} if name.endswith("bin") else {}
        ranges(headers=digest)(request, served[name])

    with file_server(CONTENT, hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address.rpartition("/")[0])
        path = download(find_published("hf:somebody/fine-tuned"))
        assert path == home / "checkpoints" / "somebody--fine-tuned" / "pytorch_model.bin"
        assert path.with_name("config.json").read_bytes() == config
        served["pytorch_model.bin"] = OTHER
        with pytest.raises(DownloadError, match="not the published file"):
            download(find_published("somebody/else"))


def test_a_repository_without_weights_is_refused(monkeypatch):
    with file_server(b"", answers.status(404)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address.rpartition("/")[0])
        with pytest.raises(FileNotPublishedError, match=r"somebody/else.*pytorch_model\.bin does not exist"):
            download(hub_checkpoint("somebody/else"))


@pytest.mark.parametrize("name", ["weights/mine.pth", "mine", "a/b/c", "", "../x"])
def test_paths_are_not_taken_for_repositories(name):
    assert find_published(name) is None


def test_the_registry_is_complete_and_cites_its_digests():
    for name, model in PUBLISHED.items():
        assert name == model.name and model.title and model.licence and model.citation
        assert model.weights.address.startswith("https://")
        assert len(model.weights.sha256) in (0, 64) and set(model.weights.sha256) <= set("0123456789abcdef")
        assert bool(model.digest_source) == bool(model.weights.sha256)
    assert {"vit_b", "vit_l", "vit_h", "mobile_sam", "medsam", "slimsam_77"} <= PUBLISHED.keys()
