"""Reads what is to be merged, and how: mergekit's configuration, or options that make one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration

from tinyaya.runtime.errors import OptionError

_DEFAULT_DENSITY = 0.5
_DIFFERENCES = ("ties", "dare_linear", "dare_ties")  # merge differences from a base
METHODS = ("linear", "slerp", *_DIFFERENCES)
# Keys of mergekit's that change vocabularies or templates, which here are the first model's.
_REFUSED = ("modules", "tokenizer", "chat_template")


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """A merge by options; sources: SRC or SRC:WEIGHT. density: share of differences that stays."""

    method: str
    sources: Sequence[str]
    base: Path | str | None = None
    density: float | None = None


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """text: as mergekit's file has it. first: the model that the others must be like."""

    text: str
    parsed: MergeConfiguration
    first: ModelReference
    tokenizer: ModelReference

    @property
    def models(self) -> list[ModelReference]:
        """All that are read, the first one first."""
        others = sorted(set(self.parsed.referenced_models()) - {self.first}, key=str)
        return [self.first, *others]


def read_configuration(path: Path) -> Configuration:
    """The configuration in a file; raises OptionError."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise OptionError(
            f"{path} cannot be read: {one_line(error)}; expected mergekit's configuration in YAML"
        ) from error
    if not isinstance(raw, dict):
        raise OptionError(f"{path} holds no keys; expected mergekit's configuration in YAML")
    return _configuration(str(path), text, raw)


def make_configuration(options: MergeOptions) -> Configuration:
    """The configuration that options stand for; raises OptionError where they do not fit."""
    if options.method not in METHODS:
        raise OptionError(f"--method is {options.method!r}; known: {', '.join(METHODS)}")
    density = options.density
    if density is not None and (options.method not in _DIFFERENCES or not 0 < density <= 1):
        raise OptionError(
            f"--density is {density:g} with {options.method}; expected a share above 0, at most 1, "
            f"with {', '.join(_DIFFERENCES)}"
        )
    weights = dict(map(_weighted, options.sources))
    if len(weights) != len(options.sources):
        raise OptionError("a checkpoint is named twice; add their weights up")
    raw = _raw(options, weights)
    return _configuration("--method", yaml.safe_dump(raw, sort_keys=False), raw)


def _raw(options: MergeOptions, weights: Mapping[str, float]) -> dict[str, Any]:
    method, base = options.method, str(options.base) if options.base else None
    if method in _DIFFERENCES:
        if not base or not weights or base in weights:
            raise OptionError(
                f"{method} merges what checkpoints have learnt since a common one; name that with "
                "--base, and the others as SRC"
            )
        shares = {"density": options.density or _DEFAULT_DENSITY}
        return {
            "merge_method": method, "base_model": base, "models": _models(weights, shares)
        }  # fmt: skip
    if base:
        raise OptionError(f"{method} has no --base; leave it out, or name it as SRC")
    if method == "linear":
        if len(weights) < 2 or not sum(weights.values()):
            raise OptionError("linear takes two or more SRC, whose weights are not 0 in sum")
        return {"merge_method": method, "models": _models(weights, {})}
    if len(weights) != 2 or min(weights.values()) < 0 or not sum(weights.values()):
        raise OptionError("slerp goes from one SRC to another; name two, of weights above 0")
    start, end = weights
    return {
        "merge_method": method,
        "base_model": start,
        "models": [{"model": start}, {"model": end}],
        "parameters": {"t": weights[end] / sum(weights.values())},
    }


def _models(weights: Mapping[str, float], more: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        {"model": model, "parameters": {"weight": weight, **more}}
        for model, weight in weights.items()
    ]


def _weighted(source: str) -> tuple[str, float]:
    """A checkpoint and its weight, which is 1 where none is named."""
    name, colon, weight = source.rpartition(":")
    try:
        return (name, float(weight)) if colon else (source, 1.0)
    except ValueError:
        return source, 1.0  # a colon of its own


def _configuration(where: str, text: str, raw: dict[str, Any]) -> Configuration:
    if refused := [key for key in _REFUSED if raw.get(key)]:
        raise OptionError(
            f"{where}: {refused[0]} is not supported; checkpoints of one vocabulary are merged, "
            "and tokenizer and template are those of base_model, or of tokenizer_source"
        )
    source = raw.get("tokenizer_source")
    try:
        parsed = MergeConfiguration.model_validate({**raw, "tokenizer_source": None})
        rows = parsed.models or (parsed.slices or [])[0].sources
        first = parsed.base_model or rows[0].model
        tokenizer = first if source in (None, "base", "union") else ModelReference.parse(source)
    except Exception as error:  # of pydantic, and plain ones of mergekit's checks
        raise OptionError(f"{where}: mergekit cannot read it: {one_line(error)}") from error
    if tokenizer not in (first, *parsed.referenced_models()):
        raise OptionError(f"{where}: tokenizer_source is {source}; expected one of the models")
    return Configuration(text=text, parsed=parsed, first=first, tokenizer=tokenizer)


def one_line(error: Exception) -> str:
    """What an error says, short enough for a terminal."""
    return " ".join(str(error).split())[:300]
