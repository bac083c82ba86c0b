"""What a distribution holds: all that the code reads, nothing else, under one name."""

import tarfile
import zipfile
from pathlib import Path

from tests.packaging.conftest import ROOT

PARTS = ("benchmarks", "export", "quantize", "runtime")
REGISTER = "export/optimum_register/register_tinyaya.py"
RESULTS = {"RESULTS.md", "quality.png", "speed.png"}  # pages of the repository


def of_source() -> set[str]:
    """Every file of the four parts, where an installation has it."""
    files = {
        str(path.relative_to(ROOT))
        for part in PARTS
        for path in (ROOT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    register = "optimum/commands/register/register_tinyaya.py"
    moved = files - {REGISTER} - {f"benchmarks/{name}" for name in RESULTS}
    return {f"tinyaya/{name}" for name in moved} | {register}


def test_the_wheel_is_the_four_parts_and_no_more(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == of_source()
    assert any(name.endswith("licenses/LICENSE") for name in about)


def test_each_part_is_typed(wheel: Path) -> None:
    typed = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/py.typed")}
    assert typed == {f"tinyaya/{part}/py.typed" for part in PARTS}


def test_the_source_distribution_has_what_it_is_built_by(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "constraints.txt", "pyproject.toml"} <= names
    assert not any(name.startswith(("tests/", "tinyaya/")) for name in names)


def test_make_dist_is_what_is_tested() -> None:
    assert "/python -m build --outdir dist\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
