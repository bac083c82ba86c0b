"""checkpoint -> bundle, readable on one screen; several backends share one quantized model."""

import gc
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tinyaya.export.backends import BACKENDS, find_backend
from tinyaya.export.backends.base import Backend
from tinyaya.export.backends.trace import trace_model
from tinyaya.export.bundle.preamble import find_preamble, longest_preamble, ship_preamble
from tinyaya.export.bundle.staging import check_target, staged, writes_explained
from tinyaya.export.bundle.tokenizer_proof import Golden, golden_tokens, prove_tokenizer
from tinyaya.export.bundle.write import BundleContent, write_files, write_json, write_manifest
from tinyaya.export.calibration.quantized_model import build_quantized
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.errors import ParityError
from tinyaya.export.options import ExportOptions, Limits
from tinyaya.export.plan.estimate import check_resources
from tinyaya.export.proof.kl import Logits
from tinyaya.export.proof.parity import KL_SHARE, Parity, float_model, measure, tail_logits
from tinyaya.export.proof.probe import PROBE_FILE, probe_ids, record_probe, replay_preamble
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.export.system.allocator import map_large_blocks
from tinyaya.export.system.out_of_memory import memory_explained
from tinyaya.export.vocabulary.choose import trimmed
from tinyaya.quantize.quantizer import QuantizedModel
from tinyaya.runtime import Session, open_bundle
from tinyaya.runtime.progress import NamedProgress, Progress, Silent


@dataclass(frozen=True, kw_only=True)
class ExportedBundle:
    """A bundle at its target; parity is None where it was not verified."""

    backend: str
    path: Path
    parity: Parity | None


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What all backends of one export share."""

    checkpoint: Checkpoint
    model: QuantizedModel[DecoderConfig]
    limits: Limits
    golden: Golden
    preamble: tuple[int, ...]
    probe: list[int]
    float_NV: Logits | None
    calibrated_for: tuple[str, ...]


def export_bundle(
    source: Path, target: Path, options: ExportOptions, progress: Progress | None = None
) -> list[ExportedBundle]:
    """Export `source` to a bundle at `target`, or to one a backend below it.

    Raises ExportError or QuantizeError; the target is then as it was before.
    """
    map_large_blocks()
    named = NamedProgress(progress or Silent())
    targets = _targets(target, options.backend)
    for path in targets.values():
        check_target(path, force=options.force)
    backends = {name: find_backend(name) for name in targets}
    checkpoint = trimmed(open_checkpoint(source), options, named)
    needed_bytes = check_resources(checkpoint, options, list(backends.values()), target)
    parities: dict[str, Parity | None] = {}
    with memory_explained(named, options, needed_bytes), ExitStack() as stack:
        shared = _prepare(checkpoint, options, named)
        folders = {  # all bundles are proved before the first is published
            name: stack.enter_context(staged(path, force=options.force))
            for name, path in targets.items()
        }
        for name, backend in backends.items():
            with writes_explained(folders[name], targets[name]):
                parities[name] = _write(folders[name], shared, backend, named)
    return [
        ExportedBundle(backend=name, path=targets[name], parity=parities[name]) for name in targets
    ]


def _targets(target: Path, backend: str) -> dict[str, Path]:
    if backend == "both":
        return {name: target / name for name in BACKENDS}
    return {backend: target}


def _prepare(checkpoint: Checkpoint, options: ExportOptions, progress: Progress) -> _Source:
    """All that is read of the checkpoint, which must not change until then."""
    recipe = options.find_recipe()
    limits = options.limits(checkpoint.config.max_context)
    longest = longest_preamble(checkpoint.config.window, limits)
    preamble = find_preamble(checkpoint.tokenizer, options.preamble, longest)
    checkpoint.check_unchanged()
    golden = golden_tokens(checkpoint.folder / "tokenizer.json")
    bos, window = checkpoint.tokenizer.bos, checkpoint.config.window
    probe = probe_ids(golden, bos, limits, window, checkpoint.languages)
    float_NV = None
    if options.verify:
        progress.stage("fp32 reference")
        float_NV = tail_logits(float_model(checkpoint), probe)
    model = build_quantized(checkpoint, recipe, golden, options.fitted_to(), progress)
    checkpoint.check_unchanged()
    return _Source(
        checkpoint=checkpoint,
        model=model,
        limits=limits,
        golden=golden,
        preamble=preamble,
        probe=probe,
        float_NV=float_NV,
        calibrated_for=options.fitted_to().languages if recipe.calibrated else (),
    )


def _write(folder: Path, shared: _Source, backend: Backend, progress: Progress) -> Parity | None:
    """Make and prove one bundle in its staging folder."""
    content = BundleContent(
        engine=backend.name,
        program=_write_program(folder, shared, backend, progress),
        model=shared.model,
        limits=shared.limits,
        tokenizer=shared.checkpoint.tokenizer,
        golden=shared.golden,
        trim=shared.checkpoint.trim,
        calibrated_for=shared.calibrated_for,
    )
    write_files(folder, content)
    with TemporaryDirectory(dir=folder.parent) as scratch:
        clients = prove_tokenizer(shared.golden, folder, Path(scratch))
    content = ship_preamble(folder, content, backend, shared.preamble)
    write_manifest(folder, content, {"tokenizer": clients})
    if shared.float_NV is None:
        return None
    progress.stage(f"{backend.name}: verify")
    quantized_NV = tail_logits(shared.model, shared.probe, backend.rounder)
    session = open_bundle(folder, check_hashes=False).session()  # they were just computed
    parity, logits_NV = measure(session, shared.probe, quantized_NV, shared.float_NV)
    if not parity.check.ok:
        raise ParityError(
            f"the {backend.name} program differs from the quantized model by KL "
            f"{parity.kl_to_quantized:.2e}, more than {KL_SHARE} of the recipe's own "
            f"{parity.kl_of_recipe:.2e}; nothing was written"
        )
    bound = max(2 * KL_SHARE * parity.kl_of_recipe, 1e-5)
    if content.preamble:
        _prove_preamble(session, shared.probe, bound)
    write_json(folder / PROBE_FILE, record_probe(shared.probe, logits_NV, bound))
    write_manifest(folder, content, {"tokenizer": clients, **asdict(parity)})
    return parity


def _prove_preamble(session: Session, probe: Sequence[int], bound: float) -> None:
    check = replay_preamble(session, probe, bound)
    if not check.ok:
        raise ParityError(
            f"after its preamble the program differs by KL {check.figure:.2e} from one that was "
            f"fed the same tokens, more than {bound:.2e}; nothing was written"
        )


def _write_program(folder: Path, shared: _Source, backend: Backend, progress: Progress) -> str:
    """Trace, lower and write; the graphs are gone from memory when this returns."""
    progress.stage(f"{backend.name}: trace")
    traced = trace_model(shared.model, shared.limits, backend, len(shared.preamble))
    progress.stage(f"{backend.name}: lower")
    program = backend.lower(traced, shared.checkpoint.tokenizer)
    progress.stage(f"{backend.name}: write")
    program.write(folder)
    file = program.file
    del traced, program
    gc.collect()  # graphs and their weights are tied in cycles
    return file
