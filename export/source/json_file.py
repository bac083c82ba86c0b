"""Reads an object from a JSON file, or says what is wrong with the file."""

import json
from pathlib import Path
from typing import Any

from tinyaya.export.errors import CheckpointError


def read_object(path: Path, error_kind: type[CheckpointError] = CheckpointError) -> dict[str, Any]:
    """The file's object, whose texts UTF-8 can write; raises `error_kind`."""
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:  # of which a lone one cannot be written again
            json.dumps(value, ensure_ascii=False).encode()
    except (OSError, ValueError, RecursionError) as error:
        raise error_kind(f"{path}: cannot read: {error}; download it again") from error
    if not isinstance(value, dict):
        raise error_kind(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
