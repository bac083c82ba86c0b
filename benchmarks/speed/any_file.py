"""Reads results files of any machine, llama-bench's own too."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tinyaya.benchmarks.speed.conditions.watch import LogRow
from tinyaya.benchmarks.speed.rows import LanguageRow, Row, spread
from tinyaya.benchmarks.speed.run_file import (
    FORMAT,
    FORMAT_VERSION,
    Measured,
    StoreError,
    parse_measured,
)

_ROW_COLUMNS = tuple(field.name for field in fields(Row))
_LIST_COLUMNS = ("samples_ns", "samples_ts")  # llama-bench has them in JSON alone


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What the sensors said while one contender was measured; reasons: why it was throttled."""

    label: str
    rows: tuple[LogRow, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """One file, as its JSON has it; rows: of `Row`'s columns, those that it has.

    contenders: what is measured once a round, as of `ContenderRow`. skipped: path -> test -> why.
    """

    name: str
    machine: Mapping[str, Any]
    complete: bool
    rows: tuple[Mapping[str, Any], ...]
    contenders: tuple[Mapping[str, Any], ...] = ()
    skipped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    languages: tuple[LanguageRow, ...] = ()
    timelines: tuple[Timeline, ...] = ()

    @property
    def title(self) -> str:
        """The machine's name, or the next best."""
        return str(self.machine.get("name") or self.machine.get("cpu") or self.name)


def read_results(path: Path) -> ResultFile:
    """What a file holds to show; raises StoreError for no results of a benchmark."""
    with _explained(path):
        raw = json.loads(path.read_text(encoding="utf-8"))
        return _llama_bench(path, raw) if isinstance(raw, list) else _ours(path, _formatted(raw))


def read_run(path: Path) -> Measured:
    """The run that `save` wrote, to go on with or to report; raises StoreError."""
    with _explained(path):
        return parse_measured(_formatted(json.loads(path.read_text(encoding="utf-8"))))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); expected results") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{path} does not hold results of a benchmark ({error!r}); expected a file that "
            "`tinyaya-export bench --out` or `llama-bench -o json` wrote"
        ) from error


def _formatted(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    if raw["format"] != FORMAT or raw["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format {raw['format']!r} {raw['format_version']!r}")
    return raw


def _ours(path: Path, raw: Mapping[str, Any]) -> ResultFile:
    samples = raw.get("samples", ())
    labels = {row["model_filename"]: row["label"] for row in raw["results"]}
    return ResultFile(
        name=path.name,
        machine=raw["machine"],
        complete=bool(raw["complete"]),
        rows=tuple(map(_checked, raw["results"])),
        contenders=tuple(map(dict, raw.get("contenders", ()))),
        skipped={path: dict(whys) for path, whys in raw.get("skipped", {}).items()},
        languages=tuple(LanguageRow(**row) for row in raw["languages"]),
        timelines=tuple(
            Timeline(
                label=labels.get(one["path"], one["path"]),
                rows=tuple(LogRow(**row) for row in one["conditions"]["log"]),
                reasons=tuple(one["conditions"]["reasons"]),
            )
            for one in samples
            if one["conditions"]
        ),
    )


def _llama_bench(path: Path, raw: Sequence[Mapping[str, Any]]) -> ResultFile:
    rows = []
    for one in raw:
        rates = one["samples_ts"] or [one["avg_ts"]]
        found = spread(rates)
        prompt, written, depth = one["n_prompt"], one["n_gen"], one.get("n_depth", 0)
        names = [f"pp{prompt}"] * bool(prompt) + [f"tg{written}"] * bool(written)
        extra = {
            "test": "+".join(names) + (f" @ d{depth}" if depth else ""),
            "n_depth": depth,
            "label": f"llama.cpp {one['model_type']}",
            "engine": "llama.cpp",
            "median_ts": found.median,
            "q1_ts": found.q1,
            "q3_ts": found.q3,
            "n_samples": len(rates),
        }
        rows.append(_checked({**one, **extra}))
    if not rows:
        raise ValueError("no rows")
    machine = {"cpu": rows[0].get("cpu_info", ""), "system": "llama-bench"}
    return ResultFile(name=path.name, machine=machine, complete=True, rows=tuple(rows))


def _checked(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """With numbers where the page computes; raises KeyError, TypeError or ValueError."""
    for name in ("median_ts", "q1_ts", "q3_ts"):
        if not float(row[name]) > 0:
            raise ValueError(f"{name} is {row[name]}")
    for name in ("n_prompt", "n_gen", "n_depth", "n_threads"):
        int(row[name])
    if not row["test"] or not row["label"]:
        raise ValueError("a row without test or label")
    return row


def write_csv(path: Path, files: Iterable[ResultFile]) -> None:
    """A line a test and contender: the machine, then the columns of `Row`, lists left out."""
    text = io.StringIO()
    columns = [name for name in _ROW_COLUMNS if name not in _LIST_COLUMNS]
    table = csv.writer(text)
    table.writerow(["machine", *columns])
    for file in files:
        table.writerows([file.title, *(row.get(name) for name in columns)] for row in file.rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
