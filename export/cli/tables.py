"""Prints figures as tables in a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tinyaya.export.languages.table import LANGUAGES
from tinyaya.quantize.roles import PROJECTIONS
from tinyaya.runtime import Bundle

if TYPE_CHECKING:
    from tinyaya.export.demo import DemoResult
    from tinyaya.export.languages.variants import Variant
    from tinyaya.export.proof.probe import Check
    from tinyaya.export.quality.figures import Quality
    from tinyaya.export.quality.sensitivity import Sensitivity
    from tinyaya.quantize.precision import Precision
    from tinyaya.quantize.recipe import Recipe


def print_checks(checks: "Iterable[Check]") -> None:
    """Verdicts, one a line."""
    for check in checks:
        figure = f"{check.figure:.2e}" if isinstance(check.figure, float) else check.figure
        print(f"{'ok    ' if check.ok else 'FAILED'}  {check.name}: {figure}")


def print_manifest(bundle: Bundle) -> None:
    """A bundle's facts as two columns."""
    manifest = bundle.manifest
    model, size = manifest.model, sum(file.bytes for file in manifest.files.values())
    window = f", window {model.window}" if model.window else ""
    parity = manifest.parity or {}
    rows = {
        "engine": manifest.engine,
        "model": f"{model.model_type}, {model.parameters:,} parameters, {model.layers} layers"
        + window,
        "adapters": ", ".join(row.name for row in manifest.adapters) or "none",
        "checkpoint": "{id} at {revision}".format(**manifest.source) if manifest.source else None,
        "vocabulary": _vocabulary(manifest.vocabulary, model.vocab_size),
        "recipe": f"{manifest.recipe['name']}, caches in "
        + "/".join(dict.fromkeys(shape.dtype for shape in manifest.cache)),
        "context": f"{manifest.limits.context} tokens, in chunks of {manifest.limits.chunk}",
        "preamble": f"{len(manifest.preamble.ids)} tokens" if manifest.preamble else "none",
        "size": f"{size / 1e6:.1f} MB in {len(manifest.files)} files",
        "stop ids": ", ".join(map(str, manifest.tokens.stop)),
        "KL to fp32": f"{parity['kl_to_fp32']:.2e} nats over {parity['positions']} positions"
        if "kl_to_fp32" in parity
        else "not verified",
        "by language": _by_language(manifest.quality),
        "made with": ", ".join(f"{name} {text}" for name, text in manifest.versions.items()),
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in rows.items():
        if text:
            table.add_row(f"[bold]{name}", text)
    Console().print(table)


def _vocabulary(trim: Mapping[str, Any] | None, rows: int) -> str:
    """How many rows the table has, and what of a larger one they are."""
    if not trim:
        return f"{rows:,} rows"
    return f"{rows:,} of {trim['rows']:,} rows for {', '.join(trim['languages'])} ({trim['keep']})"


def _by_language(quality: Mapping[str, Any] | None) -> str:
    """The short form of a report that `evaluate` left."""
    if not quality:
        return "not evaluated"
    return (
        f"mean KL {quality['mean_kl']:.2e} over {quality['languages']} languages, "
        f"worst {quality['worst_language']} {quality['worst_kl']:.2e}, "
        f"{quality['top1_agreement']:.1%} same top-1"
    )


def print_quality(quality: "Quality") -> None:
    """Means, groups, and the languages that lose most; KL in thousandths of a nat."""
    console, report = Console(), quality.as_json()
    for name in ("regions", "resources"):
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column(name)
        _add_columns(table)
        for group, row in report[name].items():
            table.add_row(group, *_figures(row))
        console.print(table)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("language")
    _add_columns(table)
    table.add_column("collapse", justify="right")
    for code, row in sorted(report["languages"].items(), key=lambda item: -item[1]["mean_kl"]):
        collapse = row["collapse_rate"]
        name = f"{code} {LANGUAGES[code].name}" if code in LANGUAGES else code
        table.add_row(name, *_figures(row), "" if collapse is None else f"{collapse:.0%}")
    console.print(table)
    recall = quality.recall_past_window
    console.print(
        f"mean KL {quality.mean_kl * 1000:.3f} mnat, p99 {quality.p99_kl * 1000:.2f}, "
        f"{quality.top1_agreement:.1%} same top-1; worst language {quality.worst}, "
        f"{quality.worst_to_median:.2f} times the median's; recall past the window "
        + ("not available" if recall is None else f"{recall:.0%}"),
        highlight=False,
    )


def print_sensitivity(report: "Sensitivity") -> None:
    """Losses by role and layer kind at every precision; KL in thousandths of a nat."""
    console = Console()
    options = list(dict.fromkeys(row.option for row in report.losses))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title="KL of one weight alone, mnat")
    table.add_column("weight")
    for option in options:
        table.add_column(option.replace(", ", "\n"), justify="right")
    groups: dict[str, dict[str, list[float]]] = {}
    for row in report.losses:
        group = groups.setdefault(f"{row.kind} {row.role}", {})
        group.setdefault(row.option, []).append(row.kl)
    for name, group in sorted(groups.items()):
        table.add_row(name, *(f"{fmean(group[option]) * 1000:.4f}" for option in options))
    console.print(table)
    recall = report.recall_past_window
    ratio = report.global_to_window
    lost = (
        f"a global layer loses {ratio:.2f} times what the window layers beside it lose"
        if ratio is not None
        else "no global layer lies beside a window layer"
    )
    console.print(
        f"{lost} ({report.languages} languages, {report.tokens} tokens each); losses past the "
        "window not available: the model recalls "
        + ("no facts that could be asked" if recall is None else f"{recall:.0%} of facts"),
        highlight=False,
    )


def print_choice(recipe: "Recipe") -> None:
    """Bits and groups of each weight that a budget chose, layers by roles."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=recipe.name)
    table.add_column("layer", justify="right")
    for role in PROJECTIONS:
        table.add_column(str(role), justify="right")
    layers = sorted({int(name.split(".")[0]) for name in recipe.weights if name[0].isdigit()})
    for layer in layers:
        chosen = (recipe.weights[f"{layer}.{role}"] for role in PROJECTIONS)
        table.add_row(str(layer), *(_bits(precision) for precision in chosen))
    Console().print(table)


def _bits(precision: "Precision | None") -> str:
    if precision is None:
        return "32"
    return f"{precision.bits}/{precision.group_size}" if precision.group_size else "8"


def _add_columns(table: Table) -> None:
    for column in ("KL, mnat", "p99, mnat", "same top-1", "nats a token"):
        table.add_column(column, justify="right")


def _figures(row: Mapping[str, float]) -> tuple[str, ...]:
    return (
        f"{row['mean_kl'] * 1000:.3f}",
        f"{row['p99_kl'] * 1000:.2f}",
        f"{row['top1_agreement']:.1%}",
        f"{row['nats_per_token']:.3f}",
    )


def print_demo(result: "DemoResult") -> None:
    """Print the table of the demo and what each bundle says; KL in thousandths of a nat."""
    console = Console()
    table = Table(
        title=f"{result.model}, {result.languages} languages, KL in mnat",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("recipe", "engine"):
        table.add_column(column)
    for column in ("MB", "recipe\nmnat", "program\nshare", "fp32\nmnat", "same\ntop-1"):
        table.add_column(column, justify="right")
    for column in ("prefill\ntok/s", "decode\ntok/s"):
        table.add_column(column, justify="right")
    for row in result.rows:
        table.add_row(
            row.recipe,
            row.engine,
            f"{row.bundle_bytes / 1e6:.1f}",
            f"{row.kl_of_recipe * 1000:.3f}",
            f"{row.program_share:.4f}",
            f"{row.kl_to_fp32 * 1000:.3f}",
            f"{row.top1_agreement:.1%}",
            f"{row.prefill_tokens_per_s:.0f}",
            f"{row.decode_tokens_per_s:.0f}",
        )
    console.print(table)
    for check in result.checks:
        console.print(f"{'ok    ' if check.ok else 'FAILED'}  {check.name}: {check.figure}")
    for row in result.rows:
        console.print(f"\n[bold]{row.recipe} {row.engine}:[/] [dim]{result.prompt}[/]", end="")
        console.print(row.answer, markup=False, highlight=False)


def print_variants(variants: "Iterable[Variant]") -> None:
    """The models, with what each is for."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("variant", "languages", "regions", ""):
        table.add_column(column)
    for row in variants:
        count = str(len(row.languages) or "")
        table.add_row(f"tiny-aya-{row.name}", count, ", ".join(row.regions), row.purpose)
    Console().print(table)


def print_languages(rows: Sequence[Mapping[str, str]]) -> None:
    """Languages by region, with the variant for each."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("code", "name", "own name", "region", "variant"):
        table.add_column(column)
    for row in rows:
        table.add_row(row["code"], row["name"], row["own_name"], row["region"], row["variant"])
    Console().print(table)


def print_trim(quality: "Quality") -> None:
    """What a trimmed vocabulary costs by language; nothing where it is whole."""
    if not quality.trim:
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("trimmed vocabulary")
    for column in ("tokens before", "tokens", "growth", "dropped mass", "KL on kept, mnat"):
        table.add_column(column, justify="right")
    for code, row in quality.trim.items():
        table.add_row(
            f"{code} {LANGUAGES[code].name}" if code in LANGUAGES else code,
            str(row.tokens_before),
            str(row.tokens),
            f"{row.growth:.2%}",
            f"{row.dropped_mass:.2%}",
            f"{quality.languages[code].mean_kl * 1000:.3f}",
        )
    Console().print(table)


def print_changes(changes: Mapping[str, Mapping[str, float]]) -> None:
    """What calibration for some languages gave them and cost the others; KL in mnat."""
    for name, row in changes.items():
        before, now = row["before"] * 1000, row["now"] * 1000
        Console().print(
            f"{name}, {row['languages']:.0f} languages: mean KL {before:.3f} -> {now:.3f} mnat "
            f"({now / before - 1:+.0%})",
            highlight=False,
        )
