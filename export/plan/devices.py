"""Predicts whether a bundle fits a device, and how fast it would write there.

Writing a token reads all weights once, so the rate is bounded by what memory gives. Nothing is said
of reading prompts, which is bound by arithmetic that no published figure tells.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from tinyaya.export.plan.needs import Needs
from tinyaya.runtime.errors import BenchError, OptionError

# Share of the memory that is left to a program; assumed, by what else lives on such a device.
_USABLE_SHARES = {"board": 0.85, "server": 0.95, "phone": 0.5, "measured": 0.85}
_MIN_UNCACHED_BYTES = 500_000_000  # read a token; no processor's cache holds so much


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What somebody published; bytes: what a step reads, None where that is not known."""

    model: str
    engine: str
    decode_per_s: float
    source: str
    bytes: float | None = None
    predicts: bool = True
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A row of devices.toml, or a machine that was measured.

    memory_bytes: the sizes that there are. at_most: the rate of reading is that of nothing but
    reading, which no model reaches; else it is what a model drew, `basis` says which.
    """

    key: str
    name: str
    kind: str
    cores: str = ""
    features: str = ""
    memory_bytes: tuple[int, ...] = ()
    read_bytes_per_s: float | None = None
    basis: str = ""
    at_most: bool = False
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Computed, not measured. fits: by size of memory; rates: tokens a second by context."""

    predicted: bool
    device: str
    needed_bytes: int
    usable_share: float
    fits: Mapping[int, bool]
    bytes_per_token: Mapping[int, int]
    decode_per_s: Mapping[int, float]
    at_most: bool
    basis: str


def read_devices() -> Mapping[str, Device]:
    """Key -> device, of all that are known."""
    text = (files("tinyaya.export.plan") / "devices.toml").read_text("utf-8")
    return {device.key: device for device in map(_device, tomllib.loads(text)["device"])}


def find_device(name: str) -> Device:
    """A row of the table; raises OptionError."""
    known = read_devices()
    if name not in known:
        raise OptionError(
            f"no device is called {name!r}; known: {', '.join(known)}, or the results.json of "
            "`tinyaya-export bench`"
        )
    return known[name]


def measured_device(
    name: str, title: str, machine: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Device:
    """A machine as a results file has it: what a large model drew there, or its bandwidth."""
    drawn = [
        row["bytes_read_per_token"] * row["median_ts"]
        for row in rows
        if (row.get("bytes_read_per_token") or 0) >= _MIN_UNCACHED_BYTES
    ]
    reads = [row["read_bytes_per_s"] for row in machine.get("bandwidths", ())]
    if not drawn and not reads:
        raise BenchError(f"{name} has no read bandwidth; expected a board's results")
    memory = int(machine.get("memory_bytes") or 0)
    return Device(
        key=name,
        name=title,
        kind="measured",
        memory_bytes=(memory,) if memory else (),
        read_bytes_per_s=max(drawn or reads),
        basis=f"a bundle drew it there ({name})" if drawn else f"measured read bandwidth ({name})",
        at_most=not drawn,
    )


def predict(device: Device, needs: Needs) -> Prediction:
    """Of an empty context and of a full one."""
    depths = (0, needs.context - 1)
    read = {depth: needs.bytes_per_token(depth) for depth in depths}
    rate, share = device.read_bytes_per_s, _USABLE_SHARES[device.kind]
    return Prediction(
        predicted=True,
        device=device.name,
        needed_bytes=needs.memory_bytes,
        usable_share=share,
        fits={size: needs.memory_bytes <= share * size for size in device.memory_bytes},
        bytes_per_token=read,
        decode_per_s={depth: rate / count for depth, count in read.items()} if rate else {},
        at_most=device.at_most,
        basis=device.basis,
    )


def describe(prediction: Prediction, device: Device) -> Iterator[str]:
    """Lines that say what is predicted, and that it is."""
    yield f"on {device.name}, predicted, not measured:"
    sizes = ", ".join(
        f"{'fits' if fits else 'does not fit'} {size / 1e9:.3g} GB"
        for size, fits in prediction.fits.items()
    )
    left = f"{1 - prediction.usable_share:.0%} left to the system" if sizes else ""
    verdict = f"{sizes} ({left})" if sizes else "how much it has is not known here"
    yield f"  predicted memory  {prediction.needed_bytes / 1e9:.2f} GB: {verdict}"
    yield from _rate_lines(prediction)
    for one in device.figures:
        note = f" ({one.note})" if one.note else ""
        rate = f"{one.decode_per_s:g} tokens/s{note}"
        yield f"  published there   {one.model}, {one.engine}: {rate}"


def _rate_lines(prediction: Prediction) -> Iterator[str]:
    bound = "at most " if prediction.at_most else ""
    for depth, rate in prediction.decode_per_s.items():
        read = f"{prediction.bytes_per_token[depth] / 1e9:.2f} GB each"
        yield f"  predicted decode  {bound}{rate:.3g} tokens/s after {depth} tokens, {read}"
    if prediction.decode_per_s:
        yield f"  which rests on    {prediction.basis}"
    else:
        yield "  predicted decode  none: nothing is known of its memory; measure with bench --host"


def _device(raw: Mapping[str, Any]) -> Device:
    figures = tuple(Figure(**figure) for figure in raw.get("figures", ()))
    source = raw.get("from", "")
    found = next((figure for figure in figures if figure.model == source), None)
    return Device(
        key=raw["key"],
        name=raw["name"],
        kind=raw["kind"],
        cores=raw.get("cores", ""),
        features=raw.get("features", ""),
        memory_bytes=tuple(raw.get("memory_bytes", ())),
        read_bytes_per_s=raw.get("effective_read_bytes_per_s"),
        basis=f"what {source} drew there ({found.source})" if found else "",
        figures=figures,
    )
