"""Defines the options that several commands have, and makes what they choose."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from errno import EACCES
from pathlib import Path
from typing import Annotated, Any

import typer

from tinyaya.runtime import AnswerOptions, Bundle, Constraint, Penalties, Sampler
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.hub.download import find_bundle
from tinyaya.runtime.manifest import MANIFEST_FILE

Source = Annotated[
    str, typer.Argument(metavar="SRC", help="Checkpoint: a folder, or ORG/NAME[@REVISION].")
]
BundleFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Bundle folder.")]
BundleSource = Annotated[
    str, typer.Argument(metavar="DIR", help="Bundle folder, or ORG/NAME[@REVISION][:FOLDER].")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Texts = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="One text a language.", show_default="shipped texts"),
]
RecipeName = Annotated[
    str, typer.Option("--recipe", metavar="NAME|FILE.json", help="fp32, int8, int4, int4-small ...")
]
Budget = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="2.0GB: choose bits weight by weight, to lose least."),
]
Losses = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help="With --budget: what `sensitivity` measured."),
]

BackendName = Annotated[str, typer.Option("--backend", help="onnx, executorch or both.")]
KvName = Annotated[
    str | None,
    typer.Option("--kv", help="Caches: fp32 or int8.", show_default="int8 at int4, else fp32"),
]
Adapters = Annotated[
    list[str],
    typer.Option("--adapter", metavar="DIR|ID", help="LoRA adapter to merge into SRC; may repeat."),
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

_SAMPLING_PANEL = "Sampling"
_FORM_PANEL = "Form of the answer"


def _number(help_text: str, shown: str) -> Any:
    return typer.Option(help=help_text, show_default=shown, rich_help_panel=_SAMPLING_PANEL)


MaxTokens = Annotated[int, typer.Option(help="Tokens to generate at most.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads.", show_default="one a core")]
EngineName = Annotated[
    str | None,
    typer.Option("--engine", help="For an ExecuTorch bundle.", show_default="torch; or: native"),
]
Speculate = Annotated[
    int, typer.Option(metavar="N", help="Guess N tokens ahead from the text so far; 0: off.")
]
Temperature = Annotated[float | None, _number("0 takes the likeliest.", "the bundle's")]
TopK = Annotated[int | None, _number("Likeliest ids; 0: all.", "the bundle's")]
TopP = Annotated[float | None, _number("Likeliest mass.", "the bundle's")]
MinP = Annotated[float, _number("Least share of the likeliest's probability.", "off")]
Repetition = Annotated[float, _number("Makes rarer what was said.", "1: off")]
Frequency = Annotated[float, _number("... for each time in the answer.", "off")]
Presence = Annotated[float, _number("... once.", "off")]
Bias = Annotated[
    list[str],
    typer.Option(
        metavar="ID=X", help="Add X to a logit; may repeat.", rich_help_panel=_SAMPLING_PANEL
    ),
]
Seed = Annotated[int, typer.Option(help="Same seed, same text.", rich_help_panel=_SAMPLING_PANEL)]
Stop = Annotated[
    list[str],
    typer.Option(metavar="TEXT", help="Ends the answer; may repeat.", rich_help_panel=_FORM_PANEL),
]
Alternatives = Annotated[
    int,
    typer.Option(
        metavar="N", help="With --json: N likeliest ids of each token.", rich_help_panel=_FORM_PANEL
    ),
]
JsonSchema = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Answer in JSON.", rich_help_panel=_FORM_PANEL)
]
Regex = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Answer to match.", rich_help_panel=_FORM_PANEL)
]
Grammar = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Answer in a Lark grammar.", rich_help_panel=_FORM_PANEL),
]


def find_shown(source: str) -> Path:
    """As `find_bundle`, with a bar for what is downloaded."""
    if (folder := Path(source)).joinpath(MANIFEST_FILE).exists():
        return folder
    from tinyaya.export.system.progress_bar import shown_progress

    with shown_progress() as progress:
        return find_bundle(source, progress)


def make_sampler(
    bundle: Bundle,
    chosen: Mapping[str, float | None],
    penalties: Penalties,
    *,
    min_p: float,
    seed: int,
) -> Sampler:
    """The bundle's own sampling, but for what was chosen (None: not)."""
    sampling = asdict(bundle.manifest.sampling)
    sampling |= {name: value for name, value in chosen.items() if value is not None}
    return Sampler(**sampling, min_p=min_p, penalties=penalties, seed=seed)


def make_penalties(
    repetition: float, frequency: float, presence: float, bias: Sequence[str]
) -> Penalties:
    """Penalties as options give them; raises OptionError for a bias that is not ID=X."""
    return Penalties(
        repetition=repetition,
        frequency=frequency,
        presence=presence,
        bias=dict(map(_bias, bias)),
    )


def _bias(text: str) -> tuple[int, float]:
    name, _, value = text.partition("=")
    try:
        return int(name), float(value)
    except ValueError as error:
        raise OptionError(
            f"--logit-bias {text!r} cannot be read; expected ID=NUMBER, such as 17=-5"
        ) from error


def make_constraint(
    bundle: Bundle, json_schema: Path | None, regex: str | None, grammar: Path | None
) -> Constraint | None:
    """The one form that was asked for; raises OptionError for several."""
    asked = {"json_schema": json_schema, "regex": regex, "grammar": grammar}
    given = {kind: value for kind, value in asked.items() if value is not None}
    if len(given) > 1:
        raise OptionError(
            "--json-schema, --regex and --grammar exclude each other; leave out all but one"
        )
    for kind, value in given.items():
        text = read_text(value) if isinstance(value, Path) else value
        return bundle.grammars.constraint(kind, text)
    return None


def make_options(
    stop: Sequence[str],
    constraint: Constraint | None = None,
    *,
    alternatives: int = 0,
    speculate: int = 0,
) -> AnswerOptions:
    """As AnswerOptions, of what a command line gives."""
    return AnswerOptions(
        stop=tuple(stop), constraint=constraint, alternatives=alternatives, speculate=speculate
    )


def read_text(path: Path) -> str:
    """The UTF-8 text of a file that an option names; raises OptionError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"{path} cannot be read: {error}; expected a file of UTF-8 text"
        ) from error


def check_files(*paths: Path | None) -> None:
    """Refuse, before hours of work, files that could not be written; raises OptionError."""
    for path in filter(None, paths):
        place = path.resolve()  # where a link leads
        if path.is_dir():
            raise OptionError(f"{path} is a folder; expected the name of a file")
        if not place.parent.is_dir():
            raise OptionError(f"{place.parent} is no folder; expected one for {path.name}")
        try:
            if not path.exists():
                place.touch()
                place.unlink()
            elif not os.access(place, os.W_OK):
                raise PermissionError(EACCES, os.strerror(EACCES))
        except OSError as error:
            raise OptionError(
                f"{path} cannot be written: {error.strerror}; choose another place"
            ) from error


def print_json(value: Any) -> None:
    """Print `value` for programs to read, in whatever encoding."""
    unicode = str(sys.stdout.encoding).lower().startswith("utf")
    print(json.dumps(value, ensure_ascii=not unicode, indent=1))


def preamble_text(value: str | None) -> str | None:
    """As `ExportOptions.preamble`: `none` is no text, `@FILE` what the file holds."""
    if value is None or not value.startswith("@"):
        return "" if value == "none" else value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"the preamble {value[1:]} cannot be read: {error}; expected a file of UTF-8 text"
        ) from error
