"""Says where sources break the rules of the house: circles, layers, sizes, first words."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCES = ("android_demo", "benchmarks", "examples", "export", "quantize", "runtime", "tests")
NOT_OURS = {"build", "namespace", "__pycache__"}  # what is built, links of mypy
SUFFIXES = {".c", ".cpp", ".css", ".h", ".html", ".kt", ".kts", ".py", ".sh"}
MOST_MODULES, MOST_LINES, MOST_FUNCTION_LINES = 15, 400, 40
# A name of ours as a whole string, or as what a command runs.
NAME = re.compile(r"(?:.*-m )?(tinyaya(?:\.\w+)+)$")

Graph = Mapping[str, Iterable[str]]


def sources(root: Path) -> list[Path]:
    """All files of ours below `root`."""
    found = (path for folder in SOURCES for path in (root / folder).rglob("*"))
    return sorted(
        path
        for path in found
        if path.suffix in SUFFIXES and not NOT_OURS & set(path.relative_to(root).parts)
    )


def circle(graph: Graph) -> list[str]:
    """Modules of a circle of imports, the first one again at its end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]
    return []


def named_modules(source: str, known: Iterable[str]) -> set[str]:
    """Modules and packages that strings name, such as those in tables of what is imported late."""
    tree, known = ast.parse(source), set(known)
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, described) and node.body and isinstance(node.body[0], ast.Expr)
    }
    texts = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    )
    found = (NAME.match(text) for text in texts)
    return {match[1] for match in found if match} & known


def layer_of(module: str, rows: Iterable[str]) -> tuple[int, str] | None:
    """A module's layer: how far from the top, and its name in that row, which may have several."""
    places = {name: (row, name) for row, names in enumerate(rows) for name in names.split(" | ")}
    while module and module not in places:
        module = module.rpartition(".")[0]
    return places.get(module)


def upward(named: Graph, rows: Iterable[str]) -> Iterator[str]:
    """Names in strings that lead to a layer above the module's own, or to one beside it."""
    rows = list(rows)
    for module, others in named.items():
        for other in others:
            here, there = layer_of(module, rows), layer_of(other, rows)
            if here and there and there != here and there[0] <= here[0]:
                yield f"{module} names {other}, which is not below it"


def long_functions(source: str, options: int) -> Iterator[str]:
    """Functions of too many lines; the signature does not count where it lists options.

    options: a function that takes more arguments lists options, such as a command's.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = node.args
        taken = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
        first = node.body[0].lineno if taken > options else node.lineno
        lines = (node.end_lineno or first) - first + 1
        if lines > MOST_FUNCTION_LINES:
            yield f"{node.name} has {lines} lines, at most {MOST_FUNCTION_LINES} are allowed"


def full_folders(files: Iterable[Path]) -> Iterator[str]:
    """Folders with too many modules side by side."""
    counts: dict[Path, int] = {}
    for path in files:
        if path.suffix == ".py" and path.name != "__init__.py":
            counts[path.parent] = counts.get(path.parent, 0) + 1
    for folder, count in counts.items():
        if count > MOST_MODULES:
            yield f"{folder} has {count} modules, at most {MOST_MODULES} are allowed"


def long_files(files: Iterable[Path]) -> Iterator[str]:
    """Files of too many lines."""
    for path in files:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            yield f"{path} has {lines} lines, at most {MOST_LINES} are allowed"


def first_word(source: str) -> str:
    """The word that a module's docstring opens with; empty where there is none."""
    words = (ast.get_docstring(ast.parse(source)) or "").split()
    return words[0].rstrip(",:;") if words else ""
