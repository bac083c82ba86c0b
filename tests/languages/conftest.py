"""Trimmed views of the small trained model."""

from collections.abc import Callable

import pytest

from export.checkpoint import Checkpoint
from export.options import VocabularyOptions
from export.trimmed_checkpoint import trim_checkpoint
from export.vocabulary import choose_ids

SOUTH_ASIA = ("te", "mr", "bn", "ta", "hi", "pa", "gu", "ur", "ne", "en")
Trimmed = Callable[..., Checkpoint]


@pytest.fixture(scope="session")
def trimmed_nano(nano: Checkpoint) -> Trimmed:
    """Languages and `keep` -> the checkpoint trimmed to them."""
    made: dict[tuple[object, ...], Checkpoint] = {}

    def trim(*languages: str, keep: str = "safe") -> Checkpoint:
        key = (*languages, keep)
        if key not in made:
            options = VocabularyOptions(languages=languages, keep=keep)
            made[key] = trim_checkpoint(nano, choose_ids(nano, options), languages, keep)
        return made[key]

    return trim
