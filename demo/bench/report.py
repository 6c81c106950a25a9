"""What a benchmark says: tables that become Markdown for people and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from demo.bench.interleave import Sample, Spread


@dataclass(frozen=True)
class Timing:
    """Milliseconds of processor time and by the clock, and how many times faster than the baseline both are."""

    cpu_ms: Spread
    wall_ms: Spread
    cpu_speed: float
    wall_speed: float

    @classmethod
    def of(cls, samples: Sequence[Sample], baseline: Sequence[Sample]) -> Timing:
        cpu, wall = spreads(samples)
        base_cpu, base_wall = spreads(baseline)
        return cls(cpu, wall, base_cpu.median / cpu.median, base_wall.median / wall.median)


def spreads(samples: Sequence[Sample]) -> tuple[Spread, Spread]:
    """Of processor time and of wall time."""
    return Spread.of([sample.cpu_ms for sample in samples]), Spread.of([sample.wall_ms for sample in samples])


Cell = str | int | float | Spread | Timing | None
"""None is a value that does not exist here, such as the speed on an emulated adapter."""

Row = dict[str, Cell]


@dataclass(frozen=True)
class Table:
    """Rows of named cells; all rows have the same names. `note` says how to read them."""

    name: str
    note: str
    rows: Sequence[Mapping[str, Cell]]


@dataclass(frozen=True)
class Findings:
    """What one section of the benchmark found: tables, and files to keep beside them by name."""

    tables: Sequence[Table]
    files: Mapping[str, bytes] = field(default_factory=dict)


def as_markdown(tables: Iterable[Table]) -> str:
    return "\n\n".join(f"## {table.name}\n\n{table.note}\n\n{_grid(table.rows)}" for table in tables) + "\n"


def as_json(machine: Mapping[str, Any], tables: Iterable[Table]) -> str:
    """The machine's facts and every table with unrounded numbers."""
    document = {"machine": machine, "tables": [asdict(table) for table in tables]}
    return json.dumps(document, indent=1, default=_plain) + "\n"


def write(folder: Path, machine: Mapping[str, Any], findings: Sequence[Findings]) -> None:
    """Write results.json, results.md and the sections' files into `folder`, which is made. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [table for found in findings for table in found.tables]
    (folder / "results.json").write_text(as_json(machine, tables), encoding="utf-8")
    (folder / "results.md").write_text(as_markdown(tables), encoding="utf-8")
    for found in findings:
        for name, data in found.files.items():
            (folder / name).write_bytes(data)


def _grid(rows: Sequence[Mapping[str, Cell]]) -> str:
    if not rows:
        return "(nothing measured)"
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_text(cell) for cell in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, Timing):
        return f"{_text(cell.cpu_ms)} · {cell.cpu_speed:.2f}x · {cell.wall_speed:.2f}x"
    if isinstance(cell, Spread):
        return f"{_number(cell.median)} ({_number(cell.low)}-{_number(cell.high)})"
    return _number(cell) if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell


def _number(value: float) -> str:
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.4g}" if 0.9 < value < 1 else f"{value:.3g}"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} does not belong into a report")
