"""Encodes on Ray Serve: replicas on as many machines as the cluster has, behind the seam `LoadedModel.encode`.

`pip install ".[ray]"`, then `python -m demo --encoder ray --replicas 1-8`, with RAY_ADDRESS in the environment where a
cluster runs, else on this machine. Serve itself starts, batches, scales, watches and replaces the replicas; here is
what a replica does and what a failure means to who waits. Every machine must have the checkpoint under the name given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from demo.problems import Busy, Stalled
from sam import SAM, encoders, load_sam, predictor
from sam.predictor import ImageEmbedding

MISSING = 'encoder ray needs Ray Serve, which is not installed; run: pip install "sam-in-the-browser[ray]"'
APPLICATION = "sam-encoder"
"""Followed by the weights' hash: each model has replicas of its own."""
TRIES = 5
"""How often a picture is sent to a replica; each try but the first follows the death of one."""
PAUSE_S = 0.5


@dataclass(frozen=True)
class Replicas:
    """How many replicas there are, at least and at most, and what each takes.

    Args:
        batch: pictures that are encoded together; on processors one, on GPUs more.
        num_cpus: processors that Ray reserves for a replica, and the threads that it computes with.
        num_gpus: the share of a GPU that Ray reserves for it.
        deadline_s: after which an encode is believed never to end.
    """

    least: int = 1
    most: int = 1
    batch: int = 1
    num_cpus: float = 1
    num_gpus: float = 0
    deadline_s: float = 300

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"replicas are {self.least} to {self.most}; allowed is 1 or more, the least first")

    @property
    def ongoing(self) -> int:
        """Pictures that one replica has at a time: those of a batch, and as many that are on their way."""
        return 2 * self.batch

    @property
    def in_flight(self) -> int:
        """Pictures that all replicas have at a time."""
        return self.ongoing * self.most


class RemoteEncoder:
    """Pixels (H, W, 3) uint8 -> their `ImageEmbedding`, by a deployment of the model's checkpoint."""

    def __init__(self, model: SAM, checkpoint: str, preprocessing: str | None, replicas: Replicas) -> None:
        """Raises ValueError where Ray is not installed or the replicas do not start."""
        try:
            import ray
            from ray import serve
        except ImportError:
            raise ValueError(MISSING) from None
        if not ray.is_initialized():  # on a thread that stays: what is started on this machine ends with it
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
        serve.start(proxy_location="Disabled")  # nobody but this process asks the replicas
        self.replicas, self._serve = replicas, serve
        self.name = f"{APPLICATION}-{model.weights_hash()[:12]}"
        load = _Load(checkpoint, preprocessing, "cuda" if replicas.num_gpus else "cpu", model.weights_hash())
        try:
            self._handle = serve.run(_deployment(replicas).bind(load), name=self.name, route_prefix=None)
        except RuntimeError as error:
            raise ValueError(f"the encoder does not start on Ray: {error}") from None

    def __call__(self, pixels: np.ndarray) -> ImageEmbedding:
        """Encode on any replica; again on another where one dies: an encode may be repeated, nothing is lost.

        Raises Busy where the replicas have too much to do, Stalled where none answers in time.
        """
        from ray.exceptions import RayActorError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError

        give_up_at = time.monotonic() + self.replicas.deadline_s
        for tries_left in reversed(range(TRIES)):
            response = self._handle.remote(pixels)
            try:
                return response.result(timeout_s=max(0.0, give_up_at - time.monotonic()))
            except BackPressureError:
                raise Busy("every replica of the encoder is busy", retry_after_s=5) from None
            except TimeoutError:
                response.cancel()
                raise Stalled("no replica answers", retry_after_s=self.replicas.deadline_s) from None
            except (RayActorError, DeploymentUnavailableError, ReplicaUnavailableError):
                if not tries_left:
                    raise Busy("replicas of the encoder end one after the other", retry_after_s=30) from None
                time.sleep(PAUSE_S)
        raise AssertionError("the last try answers or raises")

    def close(self) -> None:
        """End the replicas."""
        self._serve.delete(self.name)


@dataclass(frozen=True)
class _Load:
    """What a replica loads, and which weights it must find."""

    checkpoint: str
    preprocessing: str | None
    device: str
    weights_hash: str

    def __call__(self) -> SAM:
        model = load_sam(self.checkpoint, device=self.device, preprocessing=self.preprocessing)
        if model.weights_hash() != self.weights_hash:
            found = model.weights_hash()[:12]
            raise ValueError(f"{self.checkpoint} has the weights {found}... here, not {self.weights_hash[:12]}...")
        return model


def _deployment(replicas: Replicas) -> Any:
    """The encoder as Serve runs it."""
    from ray import serve

    class Encoder:
        """The model on one replica."""

        def __init__(self, load: Callable[[], SAM]) -> None:
            self.model = load()
            self.way = encoders.choose(self.model)

        @serve.batch(max_batch_size=replicas.batch, batch_wait_timeout_s=0.01)
        async def __call__(self, pictures: list[np.ndarray]) -> list[ImageEmbedding]:
            return predictor.encode_all(self.model, pictures, image_encoder=self.way.encoder)

        def check_health(self) -> None:
            """Serve asks now and then, and replaces a replica that raises."""
            if not np.isfinite(float(self.model.mask_threshold)):
                raise RuntimeError("the model is damaged")

    return serve.deployment(
        name="encoder",
        ray_actor_options={"num_cpus": replicas.num_cpus, "num_gpus": replicas.num_gpus},
        autoscaling_config={
            "min_replicas": replicas.least,
            "initial_replicas": replicas.least,
            "max_replicas": replicas.most,
            "target_ongoing_requests": replicas.batch,
        },
        max_ongoing_requests=replicas.ongoing,
        max_queued_requests=2 * replicas.in_flight,
        health_check_period_s=5,
        graceful_shutdown_timeout_s=10,
    )(Encoder)
