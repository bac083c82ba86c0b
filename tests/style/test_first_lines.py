"""A module opens with a verb, which says what it does."""

from pathlib import Path

from tests.style.rules import first_word, sources

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmarks", "export", "quantize", "runtime")
# A new one may be added, if it is what the module does.
VERBS = """
Adds Answers Asks Attends Brings Builds Chooses Compares Computes Continues Counts Cuts Defines
Describes Does Draws Estimates Evaluates Examines Exports Feeds Fills Finds Fits Generates Gives
Grows Hides Holds Interpolates Judges Keeps Knows Lists Loads Lowers Makes Measures Merges Names
Observes Opens Predicts Prints Proves Publishes Quantizes Reads Records Renders Replaces Reports
Resolves Rotates Rounds Runs Saves Says Serves Sets Shows Steps Sums Tells Times Traces Trims
Turns Verifies Watches Writes
"""


def test_modules_open_with_a_verb() -> None:
    places = [path for path in sources(ROOT) if path.relative_to(ROOT).parts[0] in PACKAGES]
    modules = [path for path in places if path.suffix == ".py"]
    words = {path: first_word(path.read_text(encoding="utf-8")) for path in modules}
    assert {
        str(path.relative_to(ROOT)): w for path, w in words.items() if w not in VERBS.split()
    } == {}
    assert len(modules) > 150


def test_another_word_is_found() -> None:
    assert first_word('"""Reads a file."""') in VERBS.split()
    assert first_word('"""Quantizes, packs."""') in VERBS.split()
    for docstring in ("A file in, tokens out.", "file -> tokens: reads it.", "Options of all."):
        assert first_word(f'"""{docstring}"""') not in VERBS.split()
    assert first_word("x = 1") == ""
