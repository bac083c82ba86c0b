"""The command `variants`."""

from tests.cli.conftest import Command
from tinyaya.export.languages.table import LANGUAGES


def test_all_variants_and_languages_are_listed(command: Command) -> None:
    result = command("variants")
    assert result.code == 0
    for word in ("tiny-aya-base", "tiny-aya-water", "Kiswahili", "South Asia"):
        assert word in result.out
    found = command("variants", "--json").json
    assert len(found["variants"]) == 5
    assert {row["code"] for row in found["languages"]} == set(LANGUAGES)
    assert found["recommended"] is None


def test_a_variant_is_recommended(command: Command) -> None:
    assert "take tiny-aya-earth" in command("variants", "--language", "Kiswahili").out
    found = command("variants", "--language", "sw,hi", "--json").json
    assert found["recommended"] == "global"
    assert [row["variant"] for row in found["languages"]] == ["earth", "fire"]


def test_an_unknown_language_is_one_line(command: Command) -> None:
    result = command("variants", "--language", "Swahilli")
    assert result.code == 2
    assert "Swahili (sw)" in result.err and len(result.err.strip().splitlines()) == 1
