"""What counts as a sentence that lost its way."""

import pytest

from tinyaya.export.quality.collapse import collapsed, copies, loops, script_of

FINE = list(range(24))


@pytest.mark.parametrize("period", [1, 2, 3, 5, 6])
def test_a_repeating_end_is_a_loop(period: int) -> None:
    assert loops([90, 91, *(list(range(period)) * 24)[:24]])


@pytest.mark.parametrize("ids", [FINE, [1, 2] * 5, [*([1] * 20), *range(2, 9)], []])
def test_other_ends_are_none(ids: list[int]) -> None:
    assert not loops(ids)


def test_eight_tokens_in_a_row_are_a_copy() -> None:
    assert copies(range(100), [7, *range(30, 38), 9])
    assert not copies(range(100), [7, *range(30, 37), 9])
    assert not copies([], FINE)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Habari ya asubuhi", "LATIN"),
        ("Все люди рождаются", "CYRILLIC"),
        ("すべての人間は、生れながら", "CJK"),
        ("سبھی انسان آزاد", "ARABIC"),
        ("12345, ...!", None),
        ("abc", None),
    ],
)
def test_script_of_a_text(text: str, script: str | None) -> None:
    assert script_of(text) == script


def test_only_what_the_reference_does_not_do_counts() -> None:
    loop, same = [1] * 24, ("Habari ya asubuhi", "Habari ya jioni leo")
    assert collapsed([5], FINE, loop, same)
    assert not collapsed([5], loop, loop, same)
    assert collapsed(FINE, [99] + [0, 1] * 3 + [5, 9, 2], FINE, same)
    assert not collapsed(FINE, FINE, FINE, same)
    assert collapsed([5], FINE, FINE, ("Habari ya asubuhi", "Все люди рождаются"))
    assert not collapsed([5], FINE, FINE, ("Habari ya asubuhi", "12"))
