"""What the checkpoint that tests break is made of."""

import json
from pathlib import Path
from typing import Any

NANO = Path(__file__).parents[1] / "assets" / "nano"
CONFIG = {
    **json.loads((NANO / "config.json").read_text(encoding="utf-8")),
    "hidden_size": 8,
    "head_dim": 4,
    "intermediate_size": 6,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 4,
    "layer_types": [*["sliding_attention"] * 3, "full_attention"],
}


class _Absent:
    """The same name in every process."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


def write_index(folder: Path, index: Any) -> None:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index), encoding="utf-8")
