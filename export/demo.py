"""Shows what a small checkpoint becomes: bundles of both engines, figures by language, answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from time import perf_counter

from tinyaya.export.backends import BACKENDS, find_backend
from tinyaya.export.bundle.staging import check_target
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.languages.texts import evaluation_texts
from tinyaya.export.options import CalibrationOptions, ExportOptions
from tinyaya.export.pipeline import export_bundle
from tinyaya.export.proof.parity import MAX_KL_SHARE, Parity, float_model, measure, tail_logits
from tinyaya.export.proof.probe import SINGLE_STEPS, Check
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.quantize.quantizer import QuantizedModel
from tinyaya.runtime import Bundle, Logits, Sampler, Session, complete, open_bundle
from tinyaya.runtime.progress import Progress

RECIPES_SHOWN = ("int4", "int8")
PROMPT = "All human beings are born"
MAX_BACKEND_GAP = 0.15  # the engines' KL to fp32 may differ by this share
_ANSWER_TOKENS = 24
_CALIBRATION_TOKENS = 16384  # a quarter of an export's own, to save time
_SPEED_TOKENS = 64


@dataclass(frozen=True, kw_only=True)
class DemoRow:
    """One bundle; KL in nats, means over the languages.

    program_share: KL of the program to its quantized model, as a share of the recipe's own KL.
    """

    recipe: str
    engine: str
    bundle_bytes: int
    kl_of_recipe: float
    program_share: float
    kl_to_fp32: float
    top1_agreement: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    answer: str


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """All rows, and whether they are what a release needs."""

    model: str
    languages: int
    prompt: str
    rows: tuple[DemoRow, ...]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class _Text:
    ids: list[int]
    float_NV: Logits


def run_demo(source: Path, texts: Path | None, out: Path, progress: Progress) -> DemoResult:
    """Export `source` at each recipe to both engines below `out` and measure them.

    texts: see `evaluation_texts`. Raises ExportError.
    """
    for recipe, backend in product(RECIPES_SHOWN, BACKENDS):
        check_target(out / recipe / backend, force=True)
    models, rows = {}, []
    for recipe in RECIPES_SHOWN:
        options = ExportOptions(
            backend="both",
            recipe=recipe,
            calibration=CalibrationOptions(tokens=_CALIBRATION_TOKENS),
            force=True,
        )
        models[recipe] = export_bundle(source, out / recipe, options, progress)[0].model
    progress.stage("fp32 by language")
    checkpoint = open_checkpoint(source)
    judged = _judged_texts(checkpoint, texts, open_bundle(out / RECIPES_SHOWN[0] / "onnx"))
    for recipe, model in models.items():
        for engine in BACKENDS:
            progress.stage(f"{recipe} {engine} by language")
            rows.append(_row(recipe, out / recipe / engine, model, judged))
    return DemoResult(
        model=str(source),
        languages=len(judged),
        prompt=PROMPT,
        rows=tuple(rows),
        checks=tuple(_checks(rows)),
    )


def _judged_texts(checkpoint: Checkpoint, texts: Path | None, bundle: Bundle) -> list[_Text]:
    """A stretch of each language, past the window, with the unquantized model's logits."""
    length = min(
        (checkpoint.config.window or 0) + SINGLE_STEPS + 16, bundle.manifest.limits.context
    )
    judged = []
    for text in evaluation_texts(texts).values():
        ids = bundle.tokenizer.encode(text)[:length]
        judged.append(_Text(ids=ids, float_NV=tail_logits(float_model(checkpoint), ids)))
    return judged


def _row(
    recipe: str, folder: Path, model: QuantizedModel[DecoderConfig], judged: Sequence[_Text]
) -> DemoRow:
    bundle = open_bundle(folder)
    session, engine = bundle.session(), bundle.manifest.engine
    backend = find_backend(engine)
    figures = []
    for text in judged:
        quantized_NV = tail_logits(model, text.ids, backend.rounder)
        figures.append(measure(session, text.ids, quantized_NV, text.float_NV)[0])
    prefill, decode = _speed(session, judged)
    session.reset()
    greedy = Sampler(temperature=0.0)
    answer = complete(session, PROMPT, max_tokens=_ANSWER_TOKENS, sampler=greedy).text
    kl_of_recipe = _mean(figures, "kl_of_recipe")
    return DemoRow(
        recipe=recipe,
        engine=engine,
        bundle_bytes=sum(file.bytes for file in bundle.manifest.files.values()),
        kl_of_recipe=kl_of_recipe,
        program_share=_mean(figures, "kl_to_quantized") / kl_of_recipe,
        kl_to_fp32=_mean(figures, "kl_to_fp32"),
        top1_agreement=_mean(figures, "top1_agreement"),
        prefill_tokens_per_s=prefill,
        decode_tokens_per_s=decode,
        answer=answer,
    )


def _mean(figures: Sequence[Parity], name: str) -> float:
    return fmean(getattr(parity, name) for parity in figures)


def _speed(session: Session, judged: Sequence[_Text]) -> tuple[float, float]:
    """Tokens a second of a prompt and of single steps, once each: an impression, no benchmark."""
    session.reset()
    prompt = [token for text in judged for token in text.ids][: session.room - _SPEED_TOKENS]
    started = perf_counter()
    session.prefill(prompt)
    middle = perf_counter()
    for token in prompt[:_SPEED_TOKENS]:
        session.step(token)
    return len(prompt) / (middle - started), _SPEED_TOKENS / (perf_counter() - middle)


def _checks(rows: Sequence[DemoRow]) -> list[Check]:
    checks = [
        Check(
            name=f"{row.recipe} {row.engine}: KL to the quantized model / recipe's own KL",
            ok=row.program_share <= MAX_KL_SHARE,
            figure=round(row.program_share, 5),
        )
        for row in rows
    ]
    for recipe in RECIPES_SHOWN:
        figures = [row.kl_to_fp32 for row in rows if row.recipe == recipe]
        gap = max(figures) / min(figures) - 1
        name = f"{recipe}: gap between the engines' KL to fp32"
        checks.append(Check(name=name, ok=gap < MAX_BACKEND_GAP, figure=round(gap, 5)))
    return checks
