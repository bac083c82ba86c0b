"""Describes one export of a sweep in plain values, for another process or machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyaya.export.options import CalibrationOptions, ExportOptions, VocabularyOptions


@dataclass(frozen=True, kw_only=True)
class Task:
    """One export.

    variant, language_set: names of the sweep file; languages: codes, empty for all of the
    vocabulary. export, evaluate: options that the file gives; evaluate is None where nothing is
    judged. key: a hash of all that the result rests on. peak_bytes: of memory, by the plan.
    """

    name: str
    variant: str
    source: str
    recipe: str
    backend: str
    language_set: str
    languages: tuple[str, ...]
    export: Mapping[str, Any]
    evaluate: Mapping[str, Any] | None
    key: str = ""
    peak_bytes: int = 0

    @property
    def group(self) -> str:
        """Tasks of one group fit the same weights to the same text."""
        return self.name.removesuffix(f"-{self.backend}")

    def options(self, work: Path | None = None) -> ExportOptions:
        """Of the export; work: where calibrated layers are kept. Raises OptionError."""
        chosen = dict(self.export)
        keep, tokens = chosen.pop("keep", "safe"), chosen.pop("calibration_tokens", None)
        calibration = CalibrationOptions(work=work)
        if tokens is not None:
            calibration = CalibrationOptions(work=work, tokens=tokens)
        vocabulary = (
            VocabularyOptions(languages=self.languages, keep=keep) if self.languages else None
        )
        return ExportOptions(
            backend=self.backend,
            recipe=self.recipe,
            vocabulary=vocabulary,
            calibration=calibration,
            force=True,
            **chosen,
        )


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Where results go, and the tasks in the order of the file."""

    out: Path
    tasks: Sequence[Task]
