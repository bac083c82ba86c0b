"""Exports a checkpoint to bundles, on one screen; all backends share one quantized model."""

import gc
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tinyaya.export.backends import BACKENDS, find_backend
from tinyaya.export.backends.base import Backend
from tinyaya.export.backends.trace import trace_model
from tinyaya.export.bundle.preamble import ship_preamble
from tinyaya.export.bundle.resolve import ResolvedExport, resolve_export
from tinyaya.export.bundle.staging import check_target, scratch_in, staged, writes_explained
from tinyaya.export.bundle.tokenizer_proof import Golden, golden_tokens, prove_tokenizer
from tinyaya.export.bundle.write import (
    BundleContent,
    write_draft,
    write_json,
    write_manifest,
    write_reports,
    write_tokenizer,
)
from tinyaya.export.calibration.quantized_model import build_quantized
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.errors import ParityError
from tinyaya.export.options import ExportOptions
from tinyaya.export.plan.verdict import check_fits, judge_export
from tinyaya.export.proof.parity import MAX_KL_SHARE, Parity, float_model, measure, tail_logits
from tinyaya.export.proof.probe import PROBE_FILE, probe_ids, record_probe, replay_preamble
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.export.system.allocator import map_large_blocks, rare_collections
from tinyaya.export.system.out_of_memory import memory_explained
from tinyaya.export.vocabulary.choose import open_for_export
from tinyaya.quantize.quantizer import QuantizedModel
from tinyaya.runtime import Logits, Session, open_bundle
from tinyaya.runtime.hub.ids import origin
from tinyaya.runtime.progress import NamedProgress, Progress, Silent


@dataclass(frozen=True, kw_only=True)
class ExportedBundle:
    """A bundle at its target; parity is None where it was not verified.

    model: what its weights were taken from, shared by all bundles of an export.
    """

    backend: str
    path: Path
    parity: Parity | None
    model: QuantizedModel[DecoderConfig] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What all backends of one export share; float_NV: None without verification."""

    export: ResolvedExport
    model: QuantizedModel[DecoderConfig]
    golden: Golden
    probe: list[int]
    float_NV: Logits | None


def export_bundle(
    source: Path | str, target: Path, options: ExportOptions, progress: Progress | None = None
) -> list[ExportedBundle]:
    """Export `source`, a folder or a Hub id, to a bundle at `target`, or to one a backend below it.

    Raises ExportError, QuantizeError, HubError or OptionError; the target is then as it was before.
    """
    map_large_blocks()
    named = NamedProgress(progress or Silent())
    targets = _targets(target, options.backend)
    for path in targets.values():
        check_target(path, force=options.force)
    backends = {name: find_backend(name) for name in targets}
    export = resolve_export(open_for_export(source, options, named), options)
    verdict = judge_export(export, backends, target)
    check_fits(verdict, target)
    needed_bytes = verdict.memory_bytes
    parities: dict[str, Parity | None] = {}
    with memory_explained(named, options, needed_bytes), rare_collections(), ExitStack() as stack:
        for note in export.checkpoint.tokenizer.notes:
            named.note(note)
        folders = {  # all bundles are proved before the first is published
            name: stack.enter_context(staged(path, force=options.force))
            for name, path in targets.items()
        }
        golden = golden_tokens(export.checkpoint.tokenizer.encoder())
        clients = {}
        for name, folder in folders.items():  # before hours of work for what nobody could read
            with writes_explained(folder, targets[name]):
                clients[name] = _prove_tokenizer(folder, export.checkpoint, golden, name)
        prepared = _prepare(export, golden, named)
        for name, backend in backends.items():
            with writes_explained(folders[name], targets[name]):
                parities[name] = _write(folders[name], prepared, backend, clients[name], named)
    return [
        ExportedBundle(
            backend=name, path=targets[name], parity=parities[name], model=prepared.model
        )
        for name in targets
    ]


def _targets(target: Path, backend: str) -> dict[str, Path]:
    if backend == "both":
        return {name: target / name for name in BACKENDS}
    return {backend: target}


def _prove_tokenizer(
    folder: Path, checkpoint: Checkpoint, golden: Golden, engine: str
) -> Mapping[str, str]:
    write_tokenizer(folder, checkpoint.tokenizer, engine)
    with scratch_in(folder) as scratch:
        return prove_tokenizer(golden, folder, scratch, engine)


def _prepare(export: ResolvedExport, golden: Golden, progress: Progress) -> _Prepared:
    """All that is read of the checkpoint, which must not change until then."""
    checkpoint = export.checkpoint
    checkpoint.check_unchanged()
    bos, window = checkpoint.tokenizer.bos, checkpoint.config.window
    probe = probe_ids(golden, bos, export.limits, window, checkpoint.languages)
    float_NV = None
    if export.verify:
        progress.stage("fp32 reference")
        float_NV = tail_logits(float_model(checkpoint), probe)
    model = build_quantized(checkpoint, export.recipe, golden, export.calibration, progress)
    checkpoint.check_unchanged()
    return _Prepared(export=export, model=model, golden=golden, probe=probe, float_NV=float_NV)


def _write(
    folder: Path,
    prepared: _Prepared,
    backend: Backend,
    clients: Mapping[str, str],
    progress: Progress,
) -> Parity | None:
    """Make and prove one bundle in its staging folder."""
    export = prepared.export
    content = BundleContent(
        engine=backend.name,
        program=_write_program(folder, prepared, backend, progress),
        model=prepared.model,
        limits=export.limits,
        tokenizer=export.checkpoint.tokenizer,
        golden=prepared.golden,
        trim=export.checkpoint.trim,
        source=origin(export.checkpoint.folder),
        calibrated_for=export.calibration.languages if export.recipe.calibrated else (),
        adapters=export.checkpoint.adapters,
    )
    write_reports(folder, content)
    content = ship_preamble(folder, content, backend, export.preamble)
    parity = None
    if prepared.float_NV is not None:
        write_draft(folder, content)
        progress.stage(f"{backend.name}: verify")
        parity = _prove_program(folder, prepared, backend, prepared.float_NV)
    figures = asdict(parity) if parity else {}
    write_manifest(folder, content, {"tokenizer": clients, **figures})
    return parity


def _prove_program(folder: Path, prepared: _Prepared, backend: Backend, float_NV: Logits) -> Parity:
    """Compare the program with its model, and keep what it said; raises ParityError."""
    quantized_NV = tail_logits(prepared.model, prepared.probe, backend.rounder)
    session = open_bundle(folder, check_hashes=False).session()
    parity, logits_NV = measure(session, prepared.probe, quantized_NV, float_NV)
    if not parity.check.ok:
        raise ParityError(
            f"the {backend.name} program differs from the quantized model by KL "
            f"{parity.kl_to_quantized:.2e}, more than {MAX_KL_SHARE} of the recipe's own "
            f"{parity.kl_of_recipe:.2e}; nothing was written"
        )
    bound = max(2 * MAX_KL_SHARE * parity.kl_of_recipe, 1e-5)
    if session.manifest.preamble:
        _prove_preamble(session, prepared.probe, bound)
    write_json(folder / PROBE_FILE, record_probe(prepared.probe, logits_NV, bound))
    return parity


def _prove_preamble(session: Session, probe: Sequence[int], bound: float) -> None:
    check = replay_preamble(session, probe, bound)
    if not check.ok:
        raise ParityError(
            f"after its preamble the program differs by KL {check.figure:.2e} from one that was "
            f"fed the same tokens, more than {bound:.2e}; nothing was written"
        )


def _write_program(folder: Path, prepared: _Prepared, backend: Backend, progress: Progress) -> str:
    """Trace, lower and write; the graphs are gone from memory when this returns."""
    export = prepared.export
    progress.stage(f"{backend.name}: trace")
    traced = trace_model(prepared.model, export.limits, backend, len(export.preamble))
    progress.stage(f"{backend.name}: lower")
    with scratch_in(folder):
        program = backend.lower(traced, export.checkpoint.tokenizer)
    progress.stage(f"{backend.name}: write")
    program.write(folder)
    file = program.file
    del traced, program
    gc.collect()  # graphs and their weights are tied in cycles
    return file
