"""Recipes: which precision each role gets. What varies is a row of the table RECIPES."""

from dataclasses import dataclass, replace

from quantize.errors import RecipeError
from quantize.groupwise import Precision
from quantize.roles import TABLES, Role


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Precision of the projections and of the vocabulary tables; `None` keeps float32.

    activation_planes: engines multiply 8-bit activations; with two planes a matrix takes
    x = high + low, each rounded to 8 bits, which is exact to about 16 bits at twice the arithmetic.
    kv: how caches hold keys and values, a row of KV_TYPES.
    """

    name: str
    projections: Precision | None
    tables: Precision | None
    activation_planes: int = 1
    kv: str = "fp32"

    def precision(self, role: Role) -> Precision | None:
        """Precision of the weights that play `role`; norms always stay float32."""
        if role is Role.NORM:
            return None
        return self.tables if role in TABLES else self.projections


_ROW8 = Precision(bits=8)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="fp32", projections=None, tables=None),
        Recipe(name="int8", projections=_ROW8, tables=_ROW8, activation_planes=2),
        Recipe(name="int4", projections=Precision(bits=4, group_size=32), tables=_ROW8, kv="int8"),
    )
}


KV_TYPES = ("fp32", "int8")


def find_recipe(name: str, kv: str | None = None) -> Recipe:
    """Recipe of that name, with caches of type `kv`; None takes the recipe's own.

    Raises RecipeError, which lists the known names.
    """
    if name not in RECIPES:
        raise RecipeError(f"no recipe is called {name!r}; known: {', '.join(RECIPES)}")
    kv = kv or RECIPES[name].kv
    if kv not in KV_TYPES:
        raise RecipeError(f"no cache type is called {kv!r}; known: {', '.join(KV_TYPES)}")
    return replace(RECIPES[name], kv=kv)
