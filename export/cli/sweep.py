"""Runs `sweep`: makes many exports."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyaya.export.cli.options import Json, print_json

if TYPE_CHECKING:
    from tinyaya.export.sweep.task import Task


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="See docs/sweep.md.")],
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of a Ray cluster: auto, or host:port."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="At once, here.", show_default="one for four cores")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make all bundles that FILE.toml names, but finished ones, and a page that compares them.

    Example: tinyaya-export sweep sweep.toml
    """
    from tinyaya.export.sweep.run import run_sweep
    from tinyaya.export.sweep.sweep_file import read_sweep

    planned = read_sweep(file)

    def tell(task: "Task", what: str) -> None:
        if not as_json:
            print(f"{task.name}: {what}", flush=True)

    result = run_sweep(planned, ray=ray, jobs=jobs, tell=tell)
    if as_json:
        rows = [{"task": vars(row.task), "state": row.state, **row.result} for row in result.rows]
        print_json({"page": str(result.page), "failed": dict(result.failed), "tasks": rows})
    else:
        done = sum(bool(row.result) for row in result.rows)
        print(f"{done} of {len(result.rows)} bundles are there; compare them: {result.page}")
    if result.failed:
        raise typer.Exit(1)
