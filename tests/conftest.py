"""What several test folders share."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from sam import SAM, SAMConfig
from sam.config import DecoderConfig, ViTConfig

# A busy machine is no failure: not to Hypothesis, and not to whoever waits for an answer without saying how long.
settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("exploring"), derandomize=True)
settings.load_profile("repeatable")
with suppress(AttributeError):  # httpx keeps its five seconds where they are its own affair
    for wait in ("connect", "read", "write", "pool"):
        setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, wait, 120)
if "PYTEST_XDIST_WORKER" in os.environ:  # two processes with threads for all cores each slow one another fourfold
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for what the tests start


@pytest.fixture(scope="session", autouse=True)
def home_of_the_tests(tmp_path_factory) -> Iterator[Path]:
    """Downloads and measurements of the tests stay with the tests, in processes that they start too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAM_HOME", str(tmp_path_factory.mktemp("home")))
        yield Path(os.environ["SAM_HOME"])


@pytest.fixture(autouse=True)
def chance_of_its_own() -> None:
    """What a test draws from PyTorch's own generator does not depend on the tests before it, in whatever process."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the original implementations' values; tests that use it carry the marker `reference`."""
    folder = os.environ.get("SAM_REFERENCE", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"SAM_REFERENCE ({folder or 'not set'}) names no folder of reference values")
    return Path(folder)


@pytest.fixture(scope="session")
def reference_config() -> Callable[[dict], SAMConfig]:
    """The configuration of a reference model, from the sizes in its record."""

    def build(sizes: dict) -> SAMConfig:
        return SAMConfig(
            ViTConfig(
                img_size=sizes["img"], embed_dim=sizes["dim"], depth=sizes["depth"], num_heads=sizes["heads"],
                out_chans=sizes["out"], window_size=sizes["win"], global_attn_indexes=tuple(sizes["glob"]),
            ),
            DecoderConfig(num_heads=sizes["dheads"], mlp_dim=sizes["mlp"], iou_head_hidden_dim=sizes["out"]),
        )  # fmt: skip

    return build


@pytest.fixture(scope="session")
def small_config() -> SAMConfig:
    """A whole SAM in small: a 128-pixel frame, an 8 x 8 embedding of 32 channels."""
    return SAMConfig(
        ViTConfig(
            img_size=128, embed_dim=32, depth=3, num_heads=4, out_chans=32, window_size=3, global_attn_indexes=(2,)
        ),
        DecoderConfig(num_heads=4, mlp_dim=64, iou_head_hidden_dim=32),
    )


@pytest.fixture(scope="session")
def random_model() -> Callable[..., SAM]:
    """Build a model of a configuration with random weights, none of them zero: every part matters to the answer."""

    def build(config: SAMConfig | dict, seed: int = 0) -> SAM:
        return randomize(SAM.from_config(config), seed).eval()

    return build


@pytest.fixture(scope="session")
def small_model(small_config, random_model) -> SAM:
    """The small SAM, shared by tests that do not change it."""
    return random_model(small_config)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A picture that is neither square nor symmetric: (60, 90, 3) uint8."""
    rows, columns = np.mgrid[:60, :90]
    channels = np.stack([columns * 2.5, rows * 4.0, (rows - 30) ** 2 + (columns - 20) ** 2], axis=-1)
    return np.clip(channels, 0, 255).astype(np.uint8)


def randomize(model: SAM, seed: int) -> SAM:
    """Give every weight a random value of sensible size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.5 if tensor.ndim < 2 else 0.2, generator=generator)
    return model
