"""From settings to a service: which models, on which device, encoded in which way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

from demo.lanes import step_back
from demo.schemas import EncoderReply
from demo.service.models import LoadedModel
from demo.service.offers import offers_of
from demo.service.on_ray import RemoteEncoder, Replicas
from demo.service.pictures import ENCODER_NICENESS
from demo.service.service import DemoService
from demo.service.shelf import ModelShelf
from demo.settings import Settings
from sam import encoders, load_sam, predictor
from sam.config import Preprocessing
from sam.obtaining import missing_checkpoint, obtain

ON_RAY = "ray"


def load_service(settings: Settings) -> DemoService:
    """The service for `settings`, after asking where a checkpoint is to be downloaded first.

    Further models that are not here are asked for as well, unless visitors may agree to them.

    Raises ValueError or OSError for a checkpoint, device or way to encode that cannot be had.
    """
    device = _device(settings.device)
    for source in settings.sources[:1] if settings.offer_downloads else settings.sources:
        if (published := missing_checkpoint(source)) is not None:
            obtain(published, agreed=settings.download)
    offers = offers_of(settings.sources, downloads=settings.offer_downloads)
    shelf = ModelShelf(
        offers,
        lambda offer: load_model(offer.source, settings, device),
        max_bytes=settings.models_bytes,
        downloads=settings.offer_downloads,
    )
    preprocessing = None if settings.preprocessing == "auto" else settings.preprocessing
    model = load_model(settings.checkpoint, settings, device, preprocessing)
    return DemoService(
        model,
        shelf=shelf,
        cache_bytes=settings.cache_bytes,
        limits=settings.limits,
        longest_wait_s=settings.max_wait_s,
        encodes_at_once=_replicas(settings, device).in_flight if settings.encoder == ON_RAY else 1,
    )


def load_model(
    source: str, settings: Settings, device: torch.device, preprocessing: Preprocessing | None = None
) -> LoadedModel:
    """A model, encoded in the fastest way here, or in the one that the settings want."""
    model = load_sam(source, device=device, preprocessing=preprocessing)
    if settings.encoder == ON_RAY:
        remote = RemoteEncoder(model, source, preprocessing, _replicas(settings, device))
        print(f"Encoding {model.config.model_id} on Ray", flush=True)
        return LoadedModel(model, remote, EncoderReply(way=ON_RAY), release=remote.close)
    with ThreadPoolExecutor(1, initializer=step_back, initargs=(ENCODER_NICENESS,)) as thread:
        # The threads of ONNX Runtime step back as the one does that makes them; this one has visitors to answer.
        tell = partial(print, flush=True)
        choice = thread.submit(encoders.choose, model, settings.encoder, tell=tell).result()
    print(f"Encoding {model.config.model_id} with {choice}", flush=True)
    encode = partial(predictor.encode, model, image_encoder=choice.encoder)
    return LoadedModel(model, encode, EncoderReply(way=choice.way, seconds=choice.seconds))


def _replicas(settings: Settings, device: torch.device) -> Replicas:
    """On GPUs, pictures that wait are encoded together."""
    on_gpu = device.type == "cuda"
    return Replicas(*settings.replica_range, batch=8 if on_gpu else 1, num_gpus=1 if on_gpu else 0)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name} cannot be used: {str(error).splitlines()[0]}") from None
    return device
