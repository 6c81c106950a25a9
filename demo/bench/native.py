"""Decoders in Python's onnxruntime, behind the same functions as in the browser."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnxruntime

from demo.bench.candidates import Candidate, Prompt
from demo.bench.interleave import Sample

Arrays = dict[str, np.ndarray]
NO_MASK = np.zeros((1, 1, 256, 256), np.float32)


class NativeDecoder:
    """One candidate whose files are ONNX graphs: the official `decoder`, or the pair of `prepare` and `point`."""

    def __init__(self, candidate: Candidate, threads: int = 1, *, profile: str | None = None) -> None:
        self._sessions = {role: open_session(data, threads, profile) for role, data in candidate.files.items()}
        self._answering = self._sessions.get("point") or self._sessions["decoder"]
        self._picture: Arrays = {}

    @property
    def input_names(self) -> list[str]:
        """Of the graph that answers prompts."""
        return [value.name for value in self._answering.get_inputs()]

    @property
    def sessions(self) -> dict[str, onnxruntime.InferenceSession]:
        """By role; the last one answers prompts."""
        return self._sessions

    def prepare(self, embedding: np.ndarray, picture_hw: tuple[int, int] = (1024, 1024)) -> None:
        self._picture = prepared(self._sessions, embedding, picture_hw)

    def point(self, prompt: Prompt) -> Arrays:
        names = [value.name for value in self._answering.get_outputs()]
        return dict(zip(names, self._answering.run(names, self._picture | point_inputs(prompt)), strict=True))

    def logits(self, prompt: Prompt) -> np.ndarray:
        """Low-resolution logits (M, 256, 256)."""
        answer = self.point(prompt)
        return answer.get("low_res_logits", answer.get("low_res_masks"))[0]

    @property
    def picture(self) -> Arrays:
        """What is kept of the picture, by name."""
        return self._picture


def kept_bytes(candidate: Candidate, embedding: np.ndarray) -> int:
    """Bytes of what `prepare` gives, kept as long as the picture is."""
    decoder = NativeDecoder(candidate)
    decoder.prepare(embedding)
    return sum(value.nbytes for value in decoder.picture.values())


def prepared(
    sessions: dict[str, onnxruntime.InferenceSession], embedding: np.ndarray, picture_hw: tuple[int, int]
) -> Arrays:
    """What a prompt needs of a picture, by name."""
    if "prepare" in sessions:
        names = [value.name for value in sessions["prepare"].get_outputs()]
        return dict(zip(names, sessions["prepare"].run(names, {"image_embeddings": embedding}), strict=True))
    return {
        "image_embeddings": embedding,
        "mask_input": NO_MASK,
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array(picture_hw, np.float32),
    }


def point_inputs(prompt: Prompt) -> Arrays:
    return {"point_coords": prompt.coords[None], "point_labels": prompt.labels[None]}


def timed(run: Callable[[], object], runs: int = 1) -> Sample:
    """Wall and processor time of this process per run."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(runs):
        run()
    return Sample(1000 * (time.perf_counter() - wall) / runs, 1000 * (time.process_time() - cpu) / runs)


def open_session(data: bytes, threads: int = 1, profile: str | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
