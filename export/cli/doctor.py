"""Runs `doctor`: tells what this machine has, and what will be fast on it."""

from dataclasses import asdict

from tinyaya.export.cli.options import Json, print_json


def doctor(as_json: Json = False) -> None:
    """Report versions, processor and memory, and what will be fast here.

    Example: tinyaya-export doctor
    """
    from tinyaya.export.system.doctor import examine

    found = examine()
    if as_json:
        print_json(asdict(found))
        return
    for name, text in found.rows():
        print(f"{name:<14} {text}")
    for line in found.advice:
        print(f"- {line}")
