"""Runs the command `tinyaya-export`: each command parses, calls one function, prints its result.

Exit codes: 0 good, 1 a check failed, 2 wrong use or bad input.
"""

import logging
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

import typer

from tinyaya.export.cli.bench import bench
from tinyaya.export.cli.bundles import demo, inspect, push, verify
from tinyaya.export.cli.chat import chat
from tinyaya.export.cli.doctor import doctor
from tinyaya.export.cli.export import export, merge
from tinyaya.export.cli.languages import variants
from tinyaya.export.cli.plan import plan
from tinyaya.export.cli.quality import evaluate, sensitivity, show_recipe
from tinyaya.export.cli.run import run
from tinyaya.export.cli.serve import serve
from tinyaya.export.cli.sweep import sweep
from tinyaya.export.errors import ParityError
from tinyaya.export.system.out_of_memory import is_out_of_memory
from tinyaya.export.system.standard_streams import abandon_output, prepare_streams
from tinyaya.runtime.errors import TinyAyaError

_EXTRA_PACKAGES = (
    "torch",
    "executorch",
    "torchao",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "safetensors",
    "langcodes",
    "language_data",
    "fontTools",
    "matplotlib",
)
_EXTRA_OF = {"mergekit": "merge", "yaml": "merge"} | dict.fromkeys(_EXTRA_PACKAGES, "export")

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 100},
    help="Export Cohere2 models such as Tiny Aya to verified bundles for phones and boards, and run"
    " them. With --debug, errors show where they come from.",
)


_COMMANDS: tuple[Callable[..., None], ...] = (
    export, run, chat, serve, doctor, inspect, verify, plan, demo, evaluate, sensitivity,
    show_recipe, variants, bench, sweep, push, merge,
)  # fmt: skip
for _command in _COMMANDS:
    app.command("recipe" if _command is show_recipe else None)(_command)


def _fail(message: object, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


def main() -> None:
    """Run the command line; errors of the project become one line."""
    prepare_streams()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # torch and executorch log their own deprecations
    arguments = sys.argv[1:]
    if "--debug" in arguments:
        arguments.remove("--debug")
        app(arguments)
    else:
        _run_quietly(arguments)


def _run_quietly(arguments: list[str]) -> None:
    try:
        try:
            app(arguments)
        finally:  # not at Python's end, which knows no exit code of ours
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has left
        abandon_output()
        raise SystemExit(1) from None
    except TinyAyaError as error:
        _fail(error, 1 if isinstance(error, ParityError) else 2)
    except Exception as error:
        if reason := _reason(error):
            _fail(reason, 2)
        raise


def _reason(error: Exception) -> str | None:
    """What a user can do something about; None for a mistake of ours."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.split(".")[0]
        if extra := _EXTRA_OF.get(package):
            install = f"pip install 'tinyaya-export[{extra}]'"
            return f"this command needs the package {package}; {install}"
    elif is_out_of_memory(error):  # an export says more: at which stage, and what it planned
        return "memory ran out; close programs or use a larger machine"
    elif isinstance(error, OSError):
        abandon_output()
        what = f"{error.filename} cannot be read or" if error.filename else "the output cannot be"
        return f"{what} written: {error.strerror or error}"
    return None


if __name__ == "__main__":
    main()
