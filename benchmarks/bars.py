"""Judges measurements by the bars that a bundle should reach."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, le

from tinyaya.benchmarks.speed.rows import Row, names
from tinyaya.benchmarks.speed.run_file import Measured

_PROMPT_TOKENS = 512  # tokens of the prompt that the bar is for
_DECODE_BARS: Mapping[str, float] = {"onnx": 1.15, "executorch": 1.25}
_PREFILL_BARS: Mapping[str, float] = {"onnx": 1.2, "executorch": 2.0}
_DEEP_BAR, _BANDWIDTH_BAR, _MEMORY_BAR = 0.8, 0.75, 0.75


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What one engine's best bundle has; bundle and value are None where nothing was measured."""

    what: str
    engine: str
    bundle: str | None
    value: float | None
    bound: float
    at_most: bool = False

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.value is None:
            return "not measured"
        return "reached" if (le if self.at_most else ge)(self.value, self.bound) else "missed"


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Rows at one thread count; best: picks a bundle of an engine for a bar."""

    rows: Sequence[Row]
    labels: Mapping[str, str]
    peer: str

    def bar(
        self, what: str, engine: str, bound: float, values: Mapping[str, float], *, low: bool
    ) -> Bar:
        """values: path -> figure, of that engine's bundles."""
        best: Callable[..., str] = min if low else max
        path = best(values, key=values.__getitem__) if values else None
        return Bar(
            what=what,
            engine=engine,
            bundle=self.labels[path] if path else None,
            value=values[path] if path else None,
            bound=bound,
            at_most=low,
        )


def judged_threads(measured: Measured) -> int:
    """The thread count that bars are for: the largest."""
    return max(measured.options.threads)


def judge(measured: Measured) -> list[Bar]:
    """All bars at the largest thread count, engine by engine; ratios are to the first peer."""
    threads, contenders = judged_threads(measured), measured.contenders()
    peers = {str(path) for path in measured.options.peers}
    labels = names(contenders)
    first = str(measured.options.peers[0]) if peers else ""
    found = _Found(
        rows=[row for row in measured.rows() if row.n_threads == threads],
        labels=labels,
        peer=labels.get(first, "the peer"),
    )
    resident = {
        row.model_filename: row.rss_bytes.median for row in contenders if row.n_threads == threads
    }
    bars = []
    for engine in _DECODE_BARS:
        mine = [row for row in found.rows if row.engine == engine]
        bars += [*_rate_bars(found, engine, mine), *_depth_bars(found, engine, mine)]
        shares = {
            row.model_filename: resident[row.model_filename] / resident[first]
            for row in contenders
            if row.n_threads == threads and row.engine == engine and first in resident
        }
        what = f"resident memory, to {found.peer}"
        bars.append(found.bar(what, engine, _MEMORY_BAR, shares, low=True))
    return [bar for bar in bars if bar.bundle or _given(measured, bar.engine)]


def _given(measured: Measured, engine: str) -> bool:
    return any(row.engine == engine for row in measured.contenders())


def _rate_bars(found: _Found, engine: str, mine: Sequence[Row]) -> Iterator[Bar]:
    """Decode at every depth, and prefill, as ratios to the peer."""
    for depth in dict.fromkeys(row.n_depth for row in found.rows if row.n_gen):
        ratios = {r.model_filename: r.ratio for r in mine if r.n_gen and r.n_depth == depth}
        what = f"decode at context {depth}, to {found.peer}"
        yield found.bar(what, engine, _DECODE_BARS[engine], _numbers(ratios), low=False)
    ratios = {row.model_filename: row.ratio for row in mine if row.n_prompt == _PROMPT_TOKENS}
    what = f"prefill of {_PROMPT_TOKENS}, to {found.peer}"
    yield found.bar(what, engine, _PREFILL_BARS[engine], _numbers(ratios), low=False)


def _depth_bars(found: _Found, engine: str, mine: Sequence[Row]) -> Iterator[Bar]:
    """Decode at the deepest context over the same bundle's at the shallowest; bandwidth there."""
    depths = sorted({row.n_depth for row in found.rows if row.n_gen})
    if not depths:
        return
    rates = {(row.model_filename, row.n_depth): row.median_ts for row in mine if row.n_gen}
    flat = {
        path: rates[path, depths[-1]] / rates[path, depths[0]]
        for path, depth in rates
        if depth == depths[-1] and (path, depths[0]) in rates
    }
    if len(depths) > 1:
        what = f"decode at context {depths[-1]}, to its own at {depths[0]}"
        yield found.bar(what, engine, _DEEP_BAR, flat, low=False)
    shares = {
        row.model_filename: row.share_of_bandwidth
        for row in mine
        if row.n_gen and row.n_depth == depths[0]
    }
    what = f"bytes read a token x decode at context {depths[0]}, to read bandwidth"
    yield found.bar(what, engine, _BANDWIDTH_BAR, _numbers(shares), low=False)


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {path: value for path, value in values.items() if value is not None}
