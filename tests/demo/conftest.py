"""The real service over a real model: the tiny variant with random weights."""

import pytest
import torch
from demo_world import LIMITS, Browser

from demo.app import create_app
from demo.service import DemoService, LoadedModel
from sam import SAM


@pytest.fixture(scope="session")
def model() -> SAM:
    torch.manual_seed(0)
    return SAM.from_variant("tiny").eval()


@pytest.fixture(scope="session")
def shared_service(model) -> DemoService:
    """One service for the tests that leave no trace: its decoder graphs are exported once per session."""
    service = DemoService(LoadedModel(model), limits=LIMITS)
    yield service
    service.close()


@pytest.fixture
def service(model) -> DemoService:
    """A service of its own for a test that counts or fills."""
    service = DemoService(LoadedModel(model), limits=LIMITS)
    yield service
    service.close()


@pytest.fixture(scope="session")
def browser(shared_service) -> Browser:
    return Browser(create_app(shared_service))
