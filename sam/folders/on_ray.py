"""Pictures of a folder asked about on Ray Data: the same answers as on one machine, from as many as a cluster has.

Ray Data shares the pictures out, sends the model to each worker once, and repeats what a lost worker had; what comes
back is stored by the one process that was started, so that a killed run goes on as it does without Ray. Every machine
must see the pictures under the same paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .answering import Asker
from .answers import Answer, answer_of, text_of
from .pictures import Picture
from .prompts import Prompt

MISSING = '--on ray needs Ray Data, which is not installed; run: pip install "sam-in-the-browser[ray]"'


@dataclass(frozen=True, eq=False)
class OnRay:
    """Asks on workers of a Ray cluster, each with as many threads as this process: so the last bits agree too.

    workers: at most so many; None for as many as the cluster has room for.
    """

    workers: int | None = None

    def answers(
        self, asker: Asker, asked: Sequence[tuple[Picture, Sequence[Prompt]]]
    ) -> Iterator[tuple[str, Answer | ValueError]]:
        """Each picture's name and answer, in the order in which they come; a ValueError for what has none."""
        if not asked:
            return
        ray = _ray()
        threads = torch.get_num_threads()
        paths = {picture.name: picture.path for picture, _ in asked}
        items = [{"name": name, "path": str(path.absolute())} for name, path in paths.items()]
        prompts = {picture.name: tuple(prompts) for picture, prompts in asked if prompts}
        most = min(len(items), self.workers or int(ray.cluster_resources().get("CPU", 1) // threads) or 1)
        rows = ray.data.from_items(items, override_num_blocks=len(items)).map(
            _Worker,
            fn_constructor_args=(ray.put((asker, prompts)), threads),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
            num_cpus=threads,
        )
        for row in rows.iter_rows():
            failure = row["failure"].replace(str(paths[row["name"]].absolute()), str(paths[row["name"]]))
            yield row["name"], ValueError(failure) if failure else answer_of(row["answer"])


class _Worker:
    """The model in a process of its own, somewhere."""

    def __init__(self, asker_and_prompts: Any, threads: int) -> None:
        import ray

        torch.set_num_threads(threads)
        self.asker, self.prompts = ray.get(asker_and_prompts)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        picture = Picture(row["name"], Path(row["path"]))
        try:
            answer = self.asker.answer(picture, self.prompts.get(picture.name, ()))
        except ValueError as error:
            return {"name": picture.name, "answer": "", "failure": str(error)}
        return {"name": picture.name, "answer": text_of(answer), "failure": ""}


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise ValueError(MISSING) from None
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray
