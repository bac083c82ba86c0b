"""The command `tinyaya-export`: a command parses, calls one function, prints its result.

Exit codes: 0 good, 1 a check failed, 2 wrong use or bad input.
"""

import logging
import os
import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from export.cli_bench import bench
from export.cli_chat import chat
from export.cli_devices import (
    DeviceName,
    plan_bundle,
    prediction_json,
    print_prediction,
    print_sizes,
)
from export.cli_doctor import doctor
from export.cli_languages import Keep, Languages, VocabularyTexts, variants, vocabulary_options
from export.cli_options import EngineName
from export.cli_quality import (
    Budget,
    BundleFolder,
    Json,
    Losses,
    RecipeName,
    Source,
    Texts,
    evaluate,
    print_json,
    sensitivity,
    show_recipe,
    within,
)
from export.cli_run import run
from export.cli_serve import serve
from export.cli_sweep import sweep
from export.errors import ExportError, MissingExtraError, OptionsError, ParityError
from export.memory import is_out_of_memory
from export.options import CalibrationOptions, ExportOptions
from export.progress import Silent
from quantize.errors import QuantizeError
from runtime import RunError

if TYPE_CHECKING:
    from export.parity import Parity

_EXTRA = (
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

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 100},
    help="Export Cohere2 models such as Tiny Aya to verified bundles for phones and boards, and run"
    " them. With --debug, errors show where they come from.",
)

BackendName = Annotated[str, typer.Option("--backend", help="onnx, executorch or both.")]
KvName = Annotated[
    str | None,
    typer.Option("--kv", help="Caches: fp32 or int8.", show_default="int8 at int4, else fp32"),
]
Context = Annotated[
    int | None,
    typer.Option(help="Positions a session may hold.", show_default="the model's, up to 8192"),
]
Chunk = Annotated[int, typer.Option(help="Tokens a step may take; longer prompts are cut.")]
Verify = Annotated[bool, typer.Option(help="Check the program against the model.")]
Calibrate = Annotated[
    bool, typer.Option(help="Fit weights to text where the recipe says so; hours at full size.")
]
CalibrationTexts = Annotated[
    Path | None,
    typer.Option(
        "--calibration", metavar="DIR", help="One text a language.", show_default="shipped texts"
    ),
]
CalibrationTokens = Annotated[int, typer.Option(help="Of calibration text, in all.")]
Work = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep calibrated layers there; a killed export goes on."),
]
Preamble = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT|@FILE|none",
        help="What prompts begin with; sessions start from it at once.",
        show_default="the chat template's own",
    ),
]


@app.command()
def export(
    source: Source,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the bundle goes.")],
    backend: BackendName = "onnx",
    recipe: RecipeName = "int4",
    budget: Budget = None,
    losses: Losses = None,
    kv: KvName = None,
    context: Context = None,
    chunk: Chunk = 128,
    preamble: Preamble = None,
    languages: Languages = None,
    keep: Keep = None,
    texts: VocabularyTexts = None,
    calibrate: Calibrate = True,
    calibration: CalibrationTexts = None,
    calibration_tokens: CalibrationTokens = 65536,
    work: Work = None,
    verify: Verify = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Quantize, trace and lower SRC; write and verify a bundle.

    Example: tinyaya-export export tiny-aya-global --out aya --backend both
    """
    from export.checkpoint import open_checkpoint
    from export.pipeline import export_bundle
    from export.terminal import shown_progress
    from export.vocabulary import trimmed

    options = ExportOptions(
        backend=backend,
        recipe=recipe,
        kv=kv,
        context=context,
        chunk=chunk,
        preamble=_preamble_text(preamble),
        vocabulary=vocabulary_options(languages, keep, texts),
        calibrate=calibrate,
        calibration=CalibrationOptions(texts=calibration, tokens=calibration_tokens, work=work),
        verify=verify,
        force=force,
    )
    if budget:
        checkpoint = trimmed(open_checkpoint(source), options, Silent())
        chosen = within(budget, checkpoint, recipe, losses, options.fitted_to())
        options = replace(options, recipe=chosen)
    with shown_progress() as progress:
        bundles = export_bundle(source, out, options, progress)
    if as_json:
        print_json(
            [
                {
                    "backend": bundle.backend,
                    "path": str(bundle.path),
                    "parity": asdict(bundle.parity) if bundle.parity else None,
                }
                for bundle in bundles
            ]
        )
        return
    for bundle in bundles:
        print(f"{bundle.path}: {bundle.backend}, {recipe}, {_verdict(bundle.parity)}")


app.command()(run)
app.command()(chat)
app.command()(serve)
app.command()(doctor)


@app.command()
def inspect(bundle: BundleFolder, as_json: Json = False) -> None:
    """Show what is in a bundle.

    Example: tinyaya-export inspect aya/onnx
    """
    from export.terminal import print_manifest
    from runtime import open_bundle

    opened = open_bundle(bundle, check_hashes=False)
    if as_json:
        print((opened.folder / "manifest.json").read_text(encoding="utf-8"), end="")
    else:
        print_manifest(opened)


@app.command()
def verify(
    bundle: BundleFolder,
    against: Annotated[
        Path | None, typer.Option(metavar="SRC", help="Checkpoint that it was made from.")
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(help="With --against: judge the end of a text of so many tokens, too."),
    ] = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Check hashes, tokenizer and program; with --against, against the model itself.

    Example: tinyaya-export verify aya/onnx --against tiny-aya-global
    """
    from export.terminal import print_checks
    from export.verify import verify_bundle

    checks = verify_bundle(bundle, against, tokens, engine=engine)
    ok = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        print_checks(checks)
    if not ok:
        raise typer.Exit(1)


@app.command()
def plan(
    source: Source,
    backend: BackendName = "onnx",
    recipe: RecipeName = "int4",
    kv: KvName = None,
    context: Context = None,
    chunk: Chunk = 128,
    preamble: Preamble = None,
    languages: Languages = None,
    keep: Keep = None,
    texts: VocabularyTexts = None,
    verify: Verify = True,
    device: DeviceName = None,
    as_json: Json = False,
) -> None:
    """Estimate bytes on disk, on the device and of the export; SRC may be a bundle.

    Example: tinyaya-export plan tiny-aya-global --recipe int4 --context 4096 --device pi5
    """
    if (source / "manifest.json").exists():
        return plan_bundle(source, device, as_json=as_json)
    from export.backends import BACKENDS, find_backend
    from export.checkpoint import open_checkpoint
    from export.plan import device_needs, plan_export
    from export.terminal import shown_progress
    from export.vocabulary import trimmed

    options = ExportOptions(
        backend=backend,
        recipe=recipe,
        kv=kv,
        context=context,
        chunk=chunk,
        preamble=_preamble_text(preamble),
        vocabulary=vocabulary_options(languages, keep, texts),
        verify=verify,
    )
    with shown_progress() as progress:
        checkpoint = trimmed(open_checkpoint(source), options, progress)
    limits = options.limits(checkpoint.config.max_context)
    names = list(BACKENDS) if backend == "both" else [backend]
    plans = {name: plan_export(checkpoint, options, find_backend(name)) for name in names}
    needs = {name: device_needs(plan, checkpoint, options) for name, plan in plans.items()}
    if as_json:
        found = {name: asdict(plans[name]) | prediction_json(device, needs[name]) for name in names}
        return print_json(found if backend == "both" else found[backend])
    for name, plan in plans.items():
        print(f"{name}, {recipe}, context {limits.context}, chunk {limits.chunk}:")
        print_sizes(asdict(plan))
        print_prediction(device, needs[name])
    return None


@app.command()
def demo(
    source: Annotated[Path, typer.Argument(metavar="[SRC]", help="Checkpoint.")] = Path(
        "tests/assets/nano"
    ),
    texts: Texts = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the bundles go.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Export a small model to both engines, prove both by language, and let both speak.

    Example: tinyaya-export demo
    """
    from export.demo import run_demo
    from export.terminal import print_demo, shown_progress

    with shown_progress() as progress:
        result = run_demo(source, texts, out, progress)
    if as_json:
        print_json(asdict(result))
    else:
        print_demo(result)
    if not result.ok:
        raise typer.Exit(1)


app.command()(evaluate)
app.command()(sensitivity)
app.command("recipe")(show_recipe)
app.command()(variants)
app.command()(bench)
app.command()(sweep)


def _preamble_text(value: str | None) -> str | None:
    """As `ExportOptions.preamble`: `none` is no text, `@FILE` what the file holds."""
    if value is None or not value.startswith("@"):
        return "" if value == "none" else value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsError(
            f"the preamble {value[1:]} cannot be read: {error}; expected a file of UTF-8 text"
        ) from error


def _verdict(parity: "Parity | None") -> str:
    if parity is None:
        return "not verified"
    return f"verified: KL to fp32 {parity.kl_to_fp32:.2e}, {parity.top1_agreement:.0%} same top-1"


def _fail(message: object, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


def main() -> None:
    """Run the command line; errors of the project become one line."""
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
        app(arguments)
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except ParityError as error:
        _fail(error, 1)
    except (ExportError, QuantizeError, RunError) as error:
        _fail(error, 2)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in _EXTRA:
            missing = MissingExtraError(
                f"this command needs the package {error.name}; pip install 'tinyaya-export[export]'"
            )
            _fail(missing, 2)
        raise
    except Exception as error:
        if is_out_of_memory(error):  # an export says more: at which stage, and what it planned
            _fail("memory ran out; close programs or use a larger machine", 2)
        raise


if __name__ == "__main__":
    main()
