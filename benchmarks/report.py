"""Writes a results file of the speed benchmark as a page in Markdown, with its picture.

Usage: python -m tinyaya.benchmarks.report results.json --out benchmarks/RESULTS.md --plot speed.png
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tinyaya.benchmarks.bars import judge, judged_threads
from tinyaya.benchmarks.speed.any_file import read_run
from tinyaya.benchmarks.speed.contender import ANSWER_TOKENS
from tinyaya.benchmarks.speed.options import LONG_PROMPT, SpeedOptions
from tinyaya.benchmarks.speed.rows import ContenderRow, Row, Spread, names
from tinyaya.benchmarks.speed.run_file import Measured, StoreError
from tinyaya.benchmarks.speed.tables import plot_results

_RANDOM_WEIGHTS_NOTE = (
    "**Weights are random**: a synthetic checkpoint of full size, which "
    "`tinyaya.benchmarks.synthetic` writes. Speed and memory do not depend on the values of "
    "weights; the text that such a model writes means nothing, and nothing here says anything of "
    "quality."
)
_METHOD_TEXT = f"""\
Every figure is the median of rounds, with quartiles in brackets; n is the number of rounds. A
round measures each contender once with each number of threads, in a fresh process, in an order
that the seed shuffles.

- Prefill is timed from position 0 in a warm process. Time to first token is that of the first
  prompt, in a process that has just loaded the model.
- Memory is read from `/proc/self/smaps_rollup` after the first prompt and {ANSWER_TOKENS} generated
  tokens, before longer contexts touch the caches. Imports are what Python and the engine's packages
  hold before anything is loaded; they are part of the resident memory. MB are 10^6 bytes.
- Decode is the median step after so many tokens. llama.cpp's cache really holds them: they are fed
  once, and the state is kept and restored. A bundle's step does the same work whatever its cache
  holds, so only the last chunk before it is fed; every page of memory has been given a frame of its
  own, so that no step reads the shared page of zeros in their place.
- Bytes read a token: the weights, without a table that only lookups read, and the keys and values
  that a step sees."""


def render(measured: Measured, picture: str | None, *, trained: bool = False) -> str:
    """The page; picture: how it refers to the plot. trained: the checkpoint is a real one."""
    contenders, rows = measured.contenders(), measured.rows()
    labels = names(contenders)
    parts = [
        "# Speed and memory",
        *([] if trained else [_RANDOM_WEIGHTS_NOTE]),
        *(
            [f"![Bars of what follows, whiskers from quartile to quartile]({picture})"]
            * bool(picture)
        ),
        *_state(measured),
        "## Machine",
        _machine(measured),
        "## Bars",
        _bars(measured),
        "## Prefill",
        _rates(rows, labels, _prefill_cells, ("tokens/s", "n", "to peer")),
        "## Decode",
        _rates(rows, labels, _decode_cells, _DECODE_COLUMNS),
        "## Loading and memory",
        _memory(contenders, labels, measured.options.prompts[0]),
        *_skipped(measured, labels),
        "## How it was measured",
        _METHOD_TEXT,
        "## To repeat it",
        _commands(measured.options, picture),
    ]
    return "\n\n".join(parts) + "\n"


def _state(measured: Measured) -> Iterator[str]:
    done, expected = len(measured.samples), measured.expected_samples
    if done < expected:
        yield f"**Unfinished**: {done} of {expected} processes have been measured."


def _machine(measured: Measured) -> str:
    machine = measured.machine
    versions = ", ".join(f"{name} {text}" for name, text in machine.versions.items())
    reads = ", ".join(
        f"{row.read_bytes_per_s / 1e9:.1f} GB/s with {_threads(row.threads)}"
        for row in machine.bandwidths
    )
    return _table(
        ("", ""),
        [
            ("Processor", f"{machine.cpu}, {machine.cores} cores"),
            ("Memory", f"{machine.memory_bytes / 1e9:.1f} GB"),
            ("Measured read bandwidth", reads),
            ("System", machine.system),
            ("Versions", versions),
        ],
    )


def _bars(measured: Measured) -> str:
    lines = [
        (
            bar.what,
            bar.engine,
            bar.bundle or "",
            "" if bar.value is None else f"{bar.value:.3f}",
            f"{'at most' if bar.at_most else 'at least'} {bar.bound:.2f}",
            bar.verdict,
        )
        for bar in judge(measured)
    ]
    threads = _threads(judged_threads(measured))
    return f"With {threads}, medians, each engine's best bundle for each bar.\n\n" + _table(
        ("", "engine", "bundle", "measured", "bar", ""), lines
    )


_Cells = Callable[[Row], tuple[str, tuple[str, ...]] | None]
_DECODE_COLUMNS = ("tokens/s", "n", "to peer", "MB read a token", "share of bandwidth")


def _rates(
    rows: Sequence[Row], labels: Mapping[str, str], cells: _Cells, columns: Iterable[str]
) -> str:
    lines = [
        (found[0], str(row.n_threads), labels[row.model_filename], *found[1])
        for row in rows
        if (found := cells(row))
    ]
    lines.sort(key=lambda line: int(line[1]), reverse=True)
    return _table(("test", "threads", "model", *columns), lines)


def _prefill_cells(row: Row) -> tuple[str, tuple[str, ...]] | None:
    return (f"prompt {row.n_prompt}", _rate_cells(row)) if row.n_prompt else None


def _decode_cells(row: Row) -> tuple[str, tuple[str, ...]] | None:
    if row.bytes_read_per_token is None or row.share_of_bandwidth is None:
        return None
    read = (f"{row.bytes_read_per_token / 1e6:.0f}", f"{row.share_of_bandwidth:.0%}")
    return f"context {row.n_depth}", (*_rate_cells(row), *read)


def _rate_cells(row: Row) -> tuple[str, ...]:
    rate = _spread(Spread(median=row.median_ts, q1=row.q1_ts, q3=row.q3_ts))
    return rate, str(row.n_samples), f"{row.ratio:.2f}" if row.ratio else ""


def _memory(contenders: Sequence[ContenderRow], labels: Mapping[str, str], prompt: int) -> str:
    lines = [
        (
            str(row.n_threads),
            labels[row.model_filename],
            f"{row.model_size / 1e6:.0f}",
            _spread(row.load_ms),
            _spread(row.ttft_ms),
            _spread(row.rss_bytes, 1e6),
            f"{row.imports_rss_bytes.median / 1e6:.0f}",
            f"{row.private_dirty_bytes.median / 1e6:.0f}",
            str(row.n_samples),
        )
        for row in sorted(contenders, key=lambda row: -row.n_threads)
    ]
    columns = ("threads", "model", "weights MB", "load ms", f"to first token of {prompt}, ms")
    more = ("resident MB", "imports MB", "written MB", "n")
    return _table((*columns, *more), lines)


def _skipped(measured: Measured, labels: Mapping[str, str]) -> Iterator[str]:
    lines = [
        f"- {labels[path]}, {test}: {reason}"
        for path, reasons in measured.skipped().items()
        for test, reason in reasons.items()
    ]
    if lines:
        yield "Skipped:\n\n" + "\n".join(lines)


def _commands(options: SpeedOptions, picture: str | None) -> str:
    """With the last parts of paths only, which say nothing of where somebody keeps models."""
    contenders = [f"--bundle {path.name}" for path in options.bundles]
    contenders += [f"--peer {path.name}" for path in options.peers]
    numbers = {"prompts": options.prompts, "contexts": options.contexts, "threads": options.threads}
    settings = [f"--{name} {','.join(map(str, values))}" for name, values in numbers.items()]
    settings += [f"--rounds {options.rounds}", f"--tokens {options.tokens}"]
    settings += [f"--seed {options.seed}"]
    if options.long_rounds < options.rounds and max(options.prompts) > LONG_PROMPT:
        settings.append(f"--long-rounds {options.long_rounds}")
    plot = f" --plot {picture}" if picture else ""
    return f"""\
`python -m tinyaya.benchmarks.synthetic DIR` writes the checkpoint,
`tinyaya-export export DIR --out FOLDER --backend both` the bundles, and
`python -m tinyaya.benchmarks.peers.llama_cpp DIR OUT.gguf --type Q4_0` a peer.

```
python -m tinyaya.benchmarks.speed {" ".join(contenders)} \\
    {" ".join(settings)} --out results.json
python -m tinyaya.benchmarks.report results.json --out RESULTS.md{plot}
```

With `--resume`, a run that was interrupted goes on."""


def _spread(values: Spread, unit: float = 1) -> str:
    middle, q1, q3 = (_figure(value / unit) for value in (values.median, values.q1, values.q3))
    return f"{middle} [{q1}, {q3}]"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _table(columns: Iterable[str], lines: Iterable[Sequence[str]]) -> str:
    head = tuple(columns)
    cells = [head, ("---",) * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def report(
    results: Annotated[Path, typer.Argument(metavar="JSON", help="What the speed run wrote.")],
    out: Annotated[Path, typer.Option(metavar="MD", help="Where the page goes.")],
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw bars.")] = None,
    trained: Annotated[bool, typer.Option("--trained", help="The weights are real.")] = False,
) -> None:
    """Write a page with tables, bars and the commands to repeat the run.

    Example: python -m tinyaya.benchmarks.report results.json --out RESULTS.md --plot speed.png
    """
    try:
        measured = read_run(results)
    except StoreError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    if not measured.samples:
        print(f"error: {results} holds no samples; measure first", file=sys.stderr)
        raise typer.Exit(2)
    if plot:
        plot_results(measured, plot)
    picture = Path(os.path.relpath(plot, out.parent)).as_posix() if plot else None
    out.write_text(render(measured, picture, trained=trained), encoding="utf-8")


if __name__ == "__main__":
    typer.run(report)
