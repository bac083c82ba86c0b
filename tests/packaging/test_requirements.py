"""Each version is said once: a range in pyproject.toml, the exact one in constraints.txt."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.conftest import CONSTRAINTS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
EXACT = {"torch", "executorch", "torchao", "mergekit"}  # whose private parts are used


def required(*extras: str) -> list[Requirement]:
    """What the base install and these extras require, our own extras left out."""
    rows = [*PROJECT["dependencies"], *(row for extra in extras for row in EXTRAS[extra])]
    wanted = map(Requirement, rows)
    return [one for one in wanted if one.name != PROJECT["name"]]


def lowest(*extras: str) -> list[str]:
    """The lower bounds of `required`, as requirements."""
    found = []
    for one in required(*extras):
        (bound,) = (part for part in one.specifier if part.operator in (">=", "=="))
        found.append(f"{one.name}=={bound.version}")
    return found


def test_ranges_have_one_exact_version_within_them() -> None:
    text = CONSTRAINTS.read_text(encoding="utf-8")
    rows = [Requirement(row) for row in text.splitlines() if not row.startswith("#")]
    exact = {canonicalize_name(row.name): str(row.specifier) for row in rows}
    assert len(exact) == len(rows)
    ranges = {
        canonicalize_name(one.name): one.specifier
        for one in required(*EXTRAS)
        if one.name not in EXACT
    }
    assert exact.keys() == ranges.keys()
    for name, specifier in ranges.items():
        assert exact[name].removeprefix("==") in specifier, name


def test_users_have_ranges_with_a_lower_bound() -> None:
    users = required(*(extra for extra in EXTRAS if extra != "dev"))
    assert {one.name for one in users if str(one.specifier).startswith("==")} == EXACT
    assert len(lowest(*(extra for extra in EXTRAS if extra != "dev"))) == len(users)


@pytest.mark.parametrize(
    "page", ["Makefile", "README.md", "docs/export.md", "docs/troubleshooting.md"]
)
def test_one_version_of_torch_is_named_everywhere(page: str) -> None:
    named = re.findall(r"torch==([\d.]*\d)", (ROOT / page).read_text(encoding="utf-8"))
    assert named
    assert {f"torch=={version}" for version in named} <= set(EXTRAS["export"])
