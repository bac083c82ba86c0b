"""Trimmed views of the small trained model."""

from collections.abc import Callable

import pytest

from tinyaya.export.options import VocabularyOptions
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.export.vocabulary.choose import choose_ids
from tinyaya.export.vocabulary.trim import trim_checkpoint

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
