"""Runs `plan`: tells what a bundle will take, and how fast a device would run it."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinyaya.export.cli.languages import Keep, Languages, VocabularyTexts, vocabulary_options
from tinyaya.export.cli.options import (
    Adapters,
    BackendName,
    Calibrate,
    CalibrationTokens,
    Chunk,
    Context,
    Json,
    KvName,
    Preamble,
    RecipeName,
    Source,
    Verify,
    preamble_text,
    print_json,
)
from tinyaya.export.options import CalibrationOptions, ExportOptions
from tinyaya.runtime.manifest import MANIFEST_FILE

if TYPE_CHECKING:
    from tinyaya.export.plan.devices import Device
    from tinyaya.export.plan.needs import Needs

DeviceName = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME|FILE", help="pi5 ..., or what bench wrote: predict."),
]


def plan_bundle(bundle: Path, device: str | None, *, as_json: bool) -> None:
    """Print what a written bundle takes, and on a device."""
    from tinyaya.export.plan.needs import bundle_needs
    from tinyaya.runtime import read_manifest

    manifest = read_manifest(bundle)
    needs = bundle_needs(manifest)
    files_bytes = sum(entry.bytes for entry in manifest.files.values())
    sizes = {"bundle_bytes": files_bytes, "device_peak_bytes": needs.memory_bytes}
    if as_json:
        print_json(sizes | prediction_json(device, needs))
        return
    print(f"{manifest.engine}, {manifest.recipe['name']}, context {manifest.limits.context}:")
    print_sizes(sizes)
    print_prediction(device, needs)


def print_sizes(sizes: Mapping[str, int]) -> None:
    """Print bytes by name, in MB."""
    for key, count in sizes.items():
        print(f"  {key.removesuffix('_bytes').replace('_', ' '):<14} {count / 1e6:>10.1f} MB")


def prediction_json(device: str | None, needs: "Needs") -> dict[str, Any]:
    """As JSON has it; nothing where no device was asked for."""
    from tinyaya.export.plan.devices import predict

    return {"prediction": asdict(predict(_find(device), needs))} if device else {}


def print_prediction(device: str | None, needs: "Needs") -> None:
    """Print what is predicted; nothing where no device was asked for."""
    from tinyaya.export.plan.devices import describe, predict

    if device:
        found = _find(device)
        print(*describe(predict(found, needs), found), sep="\n")


def _find(device: str) -> "Device":
    """A row of the table of devices, or the machine of a results file."""
    from tinyaya.export.plan.devices import find_device, measured_device

    if not device.endswith(".json"):
        return find_device(device)
    from tinyaya.benchmarks.speed.any_file import read_results

    file = read_results(Path(device))
    return measured_device(file.name, file.title, file.machine, file.rows)


def plan(
    source: Source,
    backend: BackendName = "onnx",
    recipe: RecipeName = "int4",
    kv: KvName = None,
    adapters: Adapters = [],  # noqa: B006
    context: Context = None,
    chunk: Chunk = 128,
    preamble: Preamble = None,
    languages: Languages = None,
    keep: Keep = None,
    texts: VocabularyTexts = None,
    calibrate: Calibrate = True,
    calibration_tokens: CalibrationTokens = 65536,
    verify: Verify = True,
    device: DeviceName = None,
    as_json: Json = False,
) -> None:
    """Estimate bytes on disk, on the device and of the export; SRC may be a bundle.

    Example: tinyaya-export plan tiny-aya-global --recipe int4 --context 4096 --device pi5
    """
    from tinyaya.export.source.hub import sizes_alone
    from tinyaya.export.system.progress_bar import shown_progress

    with ExitStack() as stack:
        with shown_progress() as progress:
            folder = stack.enter_context(sizes_alone(source, progress))
        if (folder / MANIFEST_FILE).exists():
            return plan_bundle(folder, device, as_json=as_json)
        options = ExportOptions(
            backend=backend,
            recipe=recipe,
            kv=kv,
            adapters=tuple(adapters),
            context=context,
            chunk=chunk,
            preamble=preamble_text(preamble),
            vocabulary=vocabulary_options(languages, keep, texts),
            calibrate=calibrate,
            calibration=CalibrationOptions(tokens=calibration_tokens),
            verify=verify,
        )
        return _plan_checkpoint(folder, options, device, as_json=as_json)


def _plan_checkpoint(
    folder: Path, options: ExportOptions, device: str | None, *, as_json: bool
) -> None:
    from tinyaya.export.backends import BACKENDS, find_backend
    from tinyaya.export.bundle.resolve import resolve_export
    from tinyaya.export.plan.estimate import device_needs, plan_export
    from tinyaya.export.plan.verdict import export_seconds, judge_export
    from tinyaya.export.system.progress_bar import shown_progress
    from tinyaya.export.vocabulary.choose import open_for_export

    with shown_progress() as progress:
        checkpoint = open_for_export(folder, options, progress)
    planned = resolve_export(checkpoint, options)
    limits, backend = planned.limits, options.backend
    names = list(BACKENDS) if backend == "both" else [backend]
    backends = {name: find_backend(name) for name in names}
    plans = {name: plan_export(planned, backend) for name, backend in backends.items()}
    needs = {name: device_needs(plan, planned) for name, plan in plans.items()}
    verdict, seconds = (
        judge_export(planned, backends, Path("aya")),
        export_seconds(planned, backends),
    )
    if as_json:
        found = {name: asdict(plans[name]) | prediction_json(device, needs[name]) for name in names}
        said = {"fits": verdict.fits, "seconds": seconds, **asdict(verdict)}
        return print_json((found if backend == "both" else found[backend]) | {"verdict": said})
    print(verdict.told(seconds))
    for name, plan in plans.items():
        print(f"{name}, {options.recipe}, context {limits.context}, chunk {limits.chunk}:")
        print_sizes(asdict(plan))
        print_prediction(device, needs[name])
    return None
