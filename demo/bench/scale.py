"""How much a run measures: everything, or enough to show that it works."""

from __future__ import annotations

from dataclasses import dataclass

Size = tuple[int, int]


@dataclass(frozen=True)
class Scale:
    """Rounds of interleaving, runs per measurement, and what is asked in them."""

    rounds: int = 7
    runs: int = 3
    clicks: tuple[int, ...] = (1, 2, 5, 10)
    sizes: tuple[Size, ...] = ((1024, 1024), (1500, 2250), (4000, 6000))
    models: tuple[str, ...] = ("published shape", "tiny")
    threads: tuple[int, ...] = (1, 2)
    on_webgpu: tuple[str, ...] = ("official, fp32", "hover, fp32", "hover, fp16", "hover, int8")
    pictures: int = 6
    visits: int = 3
    hover_seconds: float = 10.0
    studio_pixels: Size = (4000, 3000)
    studio_objects: int = 50
    large_picture: tuple[Size, int] = ((7300, 5480), 200)
    """Width and height, and how many objects."""
    crowd: tuple[int, float] = (200, 600)
    """Visitors, and for how many seconds."""


FULL = Scale()
QUICK = Scale(
    rounds=1,
    runs=1,
    clicks=(1,),
    sizes=((1024, 1024),),
    models=("tiny",),
    threads=(1,),
    on_webgpu=("hover, fp16",),
    pictures=1,
    visits=1,
    hover_seconds=1,
    studio_pixels=(800, 600),
    studio_objects=3,
    large_picture=((800, 600), 4),
    crowd=(12, 20),
)
