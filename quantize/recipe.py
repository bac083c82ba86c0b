"""Names the precision of each weight. What varies is a row of the table RECIPES.

A recipe is also a JSON object: see `read_recipe`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tinyaya.quantize.errors import RecipeError
from tinyaya.quantize.precision import Precision
from tinyaya.quantize.roles import PROJECTIONS, TABLES, LayerKind, Place, Role

KV_TYPES = ("fp32", "int8")
BITS = (4, 8)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Precision of weights by the names of places (see `Place.keys`); where none is, float32.

    weights: for example {"projections": 4 bits, "global.value": 8 bits, "17.down": 8 bits}; the
    most specific name counts. A tied table is the head's. kv: how caches hold keys and values, a
    row of KV_TYPES by layer kind.
    activation_planes: engines multiply 8-bit activations; with two planes a matrix takes
    x = high + low, each rounded to 8 bits, which is exact to about 16 bits at twice the arithmetic.
    head_planes: the same for the head, which multiplies only the last position of a step.
    calibrated: whether codes are fitted to what the weights multiply (`gptq`), or to the
    weights alone.
    """

    name: str
    weights: Mapping[str, Precision | None] = field(default_factory=dict)
    activation_planes: int = 1
    head_planes: int = 2
    kv: Mapping[str, str] = field(default_factory=lambda: _kv("fp32"))
    calibrated: bool = False

    def precision(self, place: Place) -> Precision | None:
        """Precision of the weight at `place`; norms always stay float32."""
        if place.role is Role.NORM:
            return None
        keys = place.keys
        if place.role is Role.EMBEDDING and "head" in self.weights:
            keys = ("embedding", "head", "tables")
        return next((self.weights[key] for key in keys if key in self.weights), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `parse_recipe` reads."""
        return asdict(self)


def _kv(kind: str) -> dict[str, str]:
    return dict.fromkeys(map(str, LayerKind), kind)


_INT8 = Precision(bits=8)
_INT8_CACHES = _kv("int8")


def _int4(name: str, group_size: int, finer: Mapping[str, Precision]) -> Recipe:
    return Recipe(
        name=name,
        weights={"projections": _four(group_size), "tables": _INT8, **finer},
        kv=_INT8_CACHES,
        calibrated=True,
    )


def _four(group_size: int) -> Precision:
    return Precision(bits=4, group_size=group_size)


# Where bits count most and least, by what single weights lose: docs/decisions.md.
_INT8_WINDOW = {"window.key": _INT8, "window.value": _INT8}
_INT8_FIRST_LAYER = {f"0.{role}": _INT8 for role in PROJECTIONS}
_SMALL_PLACES = {"0.key": _INT8, "0.value": _INT8, "0.down": _four(32)} | dict.fromkeys(
    ("output", "global.query", "global.key", "global.value"), _four(256)
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="fp32"),
        Recipe(name="int8", weights={"projections": _INT8, "tables": _INT8}, activation_planes=2),
        _int4("int4-small", 128, _SMALL_PLACES),
        _int4("int4", 64, _INT8_WINDOW | dict.fromkeys(("query", "output", "down"), _four(32))),
        _int4("int4-quality", 32, _INT8_WINDOW | _INT8_FIRST_LAYER),
    )
}


def find_recipe(name: str, kv: str | None = None) -> Recipe:
    """Recipe of that name, or in the JSON file of that name, with caches of type `kv`.

    kv: None takes the recipe's own. Raises RecipeError, which lists the known names.
    """
    if name.endswith(".json"):
        recipe = read_recipe(Path(name))
    elif name in RECIPES:
        recipe = RECIPES[name]
    else:
        known = ", ".join(RECIPES)
        raise RecipeError(f"no recipe is called {name!r}; known: {known}, or a file x.json")
    return recipe if kv is None else parse_recipe({**recipe.as_json(), "kv": kv})


def read_recipe(path: Path) -> Recipe:
    """The recipe in a JSON file, as `write_recipe` writes it; raises RecipeError."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: cannot read: {error}; expected a recipe in JSON") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: expected a JSON object, found {type(raw).__name__}")
    return parse_recipe({"name": path.stem, **raw})


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write `recipe` as JSON."""
    path.write_text(json.dumps(recipe.as_json(), indent=1) + "\n", encoding="utf-8")


def parse_recipe(raw: Mapping[str, Any]) -> Recipe:
    """The recipe that plain values describe; raises RecipeError with what is wrong."""
    known = {field.name for field in fields(Recipe)}
    if unknown := sorted(raw.keys() - known):
        raise RecipeError(f"a recipe has no {unknown[0]!r}; known: {', '.join(sorted(known))}")
    planes, calibrated = raw.get("activation_planes", 1), raw.get("calibrated", False)
    head_planes = raw.get("head_planes", 2)
    if not {planes, head_planes} <= {1, 2} or not isinstance(calibrated, bool):
        raise RecipeError(
            f"activation_planes is {planes!r}, head_planes {head_planes!r} and calibrated "
            f"{calibrated!r}; expected 1 or 2, and true or false"
        )
    weights = raw.get("weights", {})
    if not isinstance(weights, dict):
        raise RecipeError(f"weights is {weights!r}; expected an object of places")
    return Recipe(
        name=str(raw.get("name", "recipe")),
        weights={_place_name(key): _precision(key, value) for key, value in weights.items()},
        activation_planes=planes,
        head_planes=head_planes,
        kv=_parse_kv(raw.get("kv", "fp32")),
        calibrated=calibrated,
    )


def _place_name(name: str) -> str:
    """`name`, if `Place.keys` can give it."""
    *prefix, role = name.split(".")
    in_layer = {*map(str, PROJECTIONS), "projections"}
    if not prefix and role in in_layer | {*map(str, TABLES), "tables"}:
        return name
    layer = len(prefix) == 1 and role in in_layer and prefix[0]
    if layer and (layer in map(str, LayerKind) or (layer.isdigit() and role != "projections")):
        return name
    raise RecipeError(
        f"a recipe knows no place {name!r}; known: {', '.join(map(str, (*PROJECTIONS, *TABLES)))}, "
        "projections, tables, and in layers window.query, global.projections, 17.down and so on"
    )


def _precision(name: str, raw: Any) -> Precision | None:
    if raw is None:
        return None
    if not isinstance(raw, dict) or raw.keys() - {"bits", "group_size"} or "bits" not in raw:
        raise RecipeError(f"{name} is {raw!r}; expected null or bits and group_size")
    bits, group = raw["bits"], raw.get("group_size")
    if bits not in BITS or not (group is None or (isinstance(group, int) and group > 0)):
        raise RecipeError(
            f"{name} has bits {bits!r}, group_size {group!r}; expected 4 or 8 bits and a number of "
            "weights that share a scale (null: the whole row)"
        )
    if (bits == 4) != (group is not None):
        raise RecipeError(f"{name}: 4 bits need a group_size, 8 bits take whole rows only")
    return Precision(bits=bits, group_size=group)


def _parse_kv(raw: Any) -> dict[str, str]:
    kinds = _kv(raw) if isinstance(raw, str) else raw
    if not isinstance(kinds, dict) or kinds.keys() != _kv("").keys():
        raise RecipeError(f"kv is {raw!r}; expected a type, or one for window and one for global")
    for kind in kinds.values():
        if kind not in KV_TYPES:
            raise RecipeError(f"no cache type is called {kind!r}; known: {', '.join(KV_TYPES)}")
    return kinds
