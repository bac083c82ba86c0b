"""Stop strings are found wherever pieces of text are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyaya.runtime import OptionError
from tinyaya.runtime.tokenizer import StopStrings

_texts = st.text("ab\u0301日", max_size=12)


@given(
    pieces=st.lists(_texts, max_size=8),
    stops=st.lists(st.text("ab\u0301日", min_size=1, max_size=4), max_size=3),
)
def test_pieces_give_what_the_whole_text_gives(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    ends = [text.find(stop) for stop in stops if stop in text]
    found, seen = StopStrings(stops), ""
    for piece in pieces:
        seen += found.add(piece)
        assert not any(stop in seen for stop in stops)
        if found.found:
            break
    first = (
        min((text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text)
        if ends
        else None
    )
    assert found.found == bool(ends)
    if first is None:
        assert seen + found.flush() == text
    else:
        assert text.startswith(seen) and len(seen) <= first[1]


def test_text_is_held_back_only_while_a_stop_string_may_come() -> None:
    stops = StopStrings(["END"])
    assert [stops.add(piece) for piece in ("a", "E", "N", "x", "EN", "D!")] == [
        "a", "", "", "ENx", "", "",
    ]  # fmt: skip
    assert stops.found


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(OptionError, match="empty"):
        StopStrings(["a", ""])
