"""Recipes: places by name, the most specific first, and JSON that says what is wrong with it."""

import json
from pathlib import Path

import pytest

from tinyaya.quantize.errors import RecipeError
from tinyaya.quantize.precision import Precision
from tinyaya.quantize.recipe import (
    RECIPES,
    Recipe,
    find_recipe,
    parse_recipe,
    read_recipe,
    write_recipe,
)
from tinyaya.quantize.roles import LayerKind, Place, Role, place_of

KINDS = (LayerKind.WINDOW, LayerKind.WINDOW, LayerKind.WINDOW, LayerKind.GLOBAL)
FOUR, COARSE, EIGHT = (
    Precision(bits=4, group_size=32),
    Precision(bits=4, group_size=128),
    Precision(bits=8),
)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("model.embed_tokens.weight", Place(role=Role.EMBEDDING)),
        ("lm_head.weight", Place(role=Role.HEAD)),
        ("model.norm.weight", Place(role=Role.NORM)),
        (
            "model.layers.0.self_attn.q_proj.weight",
            Place(role=Role.QUERY, layer=0, kind=LayerKind.WINDOW),
        ),
        (
            "model.layers.3.mlp.down_proj.weight",
            Place(role=Role.DOWN, layer=3, kind=LayerKind.GLOBAL),
        ),
        (
            "model.layers.1.input_layernorm.weight",
            Place(role=Role.NORM, layer=1, kind=LayerKind.WINDOW),
        ),
    ],
)
def test_place_of_a_name(name: str, place: Place) -> None:
    assert place_of(name, KINDS) == place


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"projections": FOUR}, FOUR),
        ({"projections": FOUR, "window.projections": EIGHT}, FOUR),
        ({"projections": FOUR, "global.projections": EIGHT}, EIGHT),
        ({"projections": FOUR, "global.projections": EIGHT, "down": COARSE}, EIGHT),
        ({"global.projections": EIGHT, "global.down": COARSE}, COARSE),
        ({"global.down": COARSE, "3.down": EIGHT}, EIGHT),
        ({"3.down": None, "projections": FOUR}, None),
        ({"7.down": EIGHT, "tables": EIGHT}, None),
    ],
)
def test_the_most_specific_name_counts(
    weights: dict[str, Precision | None], expected: Precision | None
) -> None:
    place = Place(role=Role.DOWN, layer=3, kind=LayerKind.GLOBAL)
    assert Recipe(name="x", weights=weights).precision(place) == expected


def test_a_tied_table_is_the_heads_and_norms_stay_whole() -> None:
    recipe = Recipe(name="x", weights={"tables": FOUR, "head": EIGHT, "projections": FOUR})
    assert recipe.precision(Place(role=Role.EMBEDDING)) == EIGHT
    assert recipe.precision(Place(role=Role.NORM, layer=0, kind=LayerKind.WINDOW)) is None


@pytest.mark.parametrize("name", RECIPES)
def test_json_gives_the_same_recipe_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.json"
    write_recipe(path, RECIPES[name])
    assert read_recipe(path) == RECIPES[name] == find_recipe(str(path)) == find_recipe(name)


def test_cache_types_by_kind_or_for_both() -> None:
    assert find_recipe("int4", "fp32").kv == {"window": "fp32", "global": "fp32"}
    assert parse_recipe({"kv": {"window": "int8", "global": "fp32"}}).kv["window"] == "int8"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"bits": 4}, ("'bits'", "weights")),
        ({"weights": {"projection": {"bits": 8}}}, ("'projection'", "projections", "17.down")),
        ({"weights": {"3.projections": {"bits": 8}}}, ("'3.projections'",)),
        ({"weights": {"window.head": {"bits": 8}}}, ("'window.head'",)),
        ({"weights": {"down": {"bits": 3, "group_size": 32}}}, ("3", "4 or 8")),
        ({"weights": {"down": {"bits": 4}}}, ("down", "group_size")),
        ({"weights": {"down": {"bits": 8, "group_size": 32}}}, ("whole rows",)),
        ({"weights": {"down": 4}}, ("down", "bits and group_size")),
        ({"weights": []}, ("object",)),
        ({"kv": "int3"}, ("'int3'", "fp32, int8")),
        ({"kv": {"window": "int8"}}, ("window", "global")),
        ({"activation_planes": 3}, ("3", "1 or 2")),
        ({"calibrated": "yes"}, ("'yes'", "true or false")),
    ],
)
def test_wrong_recipes_say_what_is_wrong(raw: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(raw)
    assert all(word in str(caught.value) for word in words), caught.value


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    with pytest.raises(RecipeError, match="cannot read"):
        find_recipe(str(path))
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(RecipeError, match="expected a JSON object"):
        find_recipe(str(path))
    path.write_text(json.dumps({"weights": {"down": {"bits": 8}}}), encoding="utf-8")
    assert find_recipe(str(path)).name == "mine"


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(RecipeError) as caught:
        find_recipe("int5")
    assert all(word in str(caught.value) for word in ("'int5'", *RECIPES, ".json"))
