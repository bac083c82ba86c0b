"""Compares two bundles of one model: what the second gained for the languages it is for.

KL is in nats, the mean over languages that both were judged in.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from tinyaya.export.quality.figures import Quality
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.manifest import read_manifest


def read_languages(path: Path) -> dict[str, float]:
    """Mean KL by language of what `evaluate --json` printed; raises OptionError."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["languages"]
        return {str(code): float(row["mean_kl"]) for code, row in rows.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise OptionError(
            f"{path}: cannot read figures: {error!r}; expected what `evaluate --json` prints"
        ) from error


def changes(
    quality: Quality, before: Mapping[str, float], bundle: Path
) -> dict[str, dict[str, float]]:
    """`chosen` and `others` -> mean KL before and now; chosen: what `bundle` was calibrated for."""
    chosen, groups = read_manifest(bundle).calibrated_for, {}
    for name, wanted in (("chosen", True), ("others", False)):
        codes = [
            code for code in quality.languages if code in before and (code in chosen) == wanted
        ]
        if codes:
            groups[name] = {
                "languages": len(codes),
                "before": fmean(before[code] for code in codes),
                "now": fmean(quality.languages[code].mean_kl for code in codes),
            }
    return groups
