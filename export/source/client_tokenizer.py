"""Writes a tokenizer's definition in the one form that every client reads the same way.

Tiny Aya's tokenizer splits text twice, digits first. ExecuTorch's and onnxruntime-genai's own
tokenizers get two splits wrong without a warning; one merged split is exact in all of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_DIGITS = r"\d{1,3}(?=(?:\d{3})*\b)"


def for_clients(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition that bundles ship."""
    return {
        **_merged(definition),
        "post_processor": _without_end(definition.get("post_processor")),
    }


def _without_end(step: Any) -> Any:
    """The post-processor without tokens after the text.

    Base models and thinkers append EOS, as training wants it; a prompt would end there.
    """
    if not isinstance(step, dict):
        return step
    if step.get("type") == "Sequence":
        return {**step, "processors": [_without_end(part) for part in step["processors"]]}
    if step.get("type") != "TemplateProcessing":
        return step
    pieces = {form: _up_to_text(step[form]) for form in ("single", "pair")}
    used = {
        row["SpecialToken"]["id"]
        for form in pieces.values()
        for row in form
        if "SpecialToken" in row
    }
    special = {name: row for name, row in step["special_tokens"].items() if name in used}
    return {**step, **pieces, "special_tokens": special}


def _up_to_text(pieces: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    end = max((at for at, piece in enumerate(pieces, 1) if "Sequence" in piece), default=0)
    return pieces[:end]


def _merged(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with its two splits merged into one; any other form is left as it is.

    A run of spaces before digits must stay whole, because the first split had cut it off there.
    """
    steps = (definition.get("pre_tokenizer") or {}).get("pretokenizers") or []
    if not _splits_digits_first(steps):
        return dict(definition)
    second = steps[1]["pattern"]["Regex"]
    split = {**steps[1], "pattern": {"Regex": rf"{_DIGITS}|\s+(?=\d)|{second}"}}
    return {
        **definition,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, *steps[2:]]},
    }


def _splits_digits_first(steps: Sequence[Mapping[str, Any]]) -> bool:
    splits = [step for step in steps[:2] if step.get("type") == "Split"]
    return (
        len(splits) == 2
        and splits[0].get("pattern") == {"Regex": _DIGITS}
        and "Regex" in (splits[1].get("pattern") or {})
        and all(split.get("behavior") == "Isolated" and not split.get("invert") for split in splits)
    )
