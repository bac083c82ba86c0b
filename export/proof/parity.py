"""Measures whether a program computes what its quantized model computes.

Shape suffixes: N positions, V vocabulary rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.decoder.reference import Rounder, reference_logits
from tinyaya.export.proof.kl import kl
from tinyaya.export.proof.probe import SINGLE_STEPS, Check, step_logits
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.export.source.weights import StoredTensor
from tinyaya.quantize.quantizer import QuantizedModel, Weight
from tinyaya.quantize.recipe import RECIPES
from tinyaya.runtime import Logits, Session

# A program may differ from its own quantized model by this share of what quantization changed.
MAX_KL_SHARE = 0.15
_KL_FLOOR = 1e-6  # float32 arithmetic in another order


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Mean figures of one program over the last positions of a sequence; KL in nats.

    kl_to_quantized: from the eager quantized model. kl_of_recipe: of that model from the
    unquantized one. kl_to_fp32: of the program from the unquantized one.
    """

    positions: int
    past_window: bool
    kl_to_quantized: float
    kl_of_recipe: float
    kl_to_fp32: float
    top1_agreement: float

    @property
    def check(self) -> Check:
        """Whether program and quantized model agree."""
        ok = self.kl_to_quantized <= kl_bound(self.kl_of_recipe)
        return Check(name="program equals quantized model", ok=ok, figure=self.kl_to_quantized)


def kl_bound(kl_of_recipe: float) -> float:
    """How far a program may be from its quantized model."""
    return max(MAX_KL_SHARE * kl_of_recipe, _KL_FLOOR)


class _LazyWeights(Mapping[str, Weight]):
    """A checkpoint's tensors in float32, read when asked for."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def __getitem__(self, name: str) -> Tensor:
        return self.checkpoint.read(name)

    def table(self, name: str) -> StoredTensor:
        return self.checkpoint.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.checkpoint.names)

    def __len__(self) -> int:
        return len(self.checkpoint.names)


def float_model(checkpoint: Checkpoint) -> QuantizedModel[DecoderConfig]:
    """The unquantized model; its weights stay on disk between uses."""
    weights = _LazyWeights(checkpoint)
    return QuantizedModel(
        config=checkpoint.config,
        recipe=RECIPES["fp32"],
        weights=weights,
        report={},
        cache_scales=[None] * len(checkpoint.kinds),
    )


def tail_logits(
    model: QuantizedModel[DecoderConfig], ids: Sequence[int], rounder: Rounder | None = None
) -> Logits:
    """Eager logits_NV of the positions that `step_logits` returns."""
    count = min(SINGLE_STEPS + 1, len(ids))
    logits_BTV = reference_logits(model, torch.tensor([list(ids)]), rounder, last=count)
    logits_NV: Logits = logits_BTV[0].numpy()
    return logits_NV


def measure(
    session: Session, ids: Sequence[int], quantized_NV: Logits, float_NV: Logits
) -> tuple[Parity, Logits]:
    """Figures of a session over `ids`, and its logits_NV.

    quantized_NV, float_NV: `tail_logits` of the model that it was made from, rounded as its engine
    does, and of the unquantized one. They come as values, so that no model lies in memory beside
    the session.
    """
    program_NV = step_logits(session, ids)
    quantized_NV, float_NV = quantized_NV.copy(), float_NV.copy()
    for low, high in session.manifest.tokens.unused:  # sessions never sample them
        quantized_NV[:, low:high] = float_NV[:, low:high] = -float("inf")
    window = session.manifest.model.window
    parity = Parity(
        positions=len(program_NV),
        past_window=window is not None and len(ids) > window,
        kl_to_quantized=float(kl(quantized_NV, program_NV).mean()),
        kl_of_recipe=float(kl(float_NV, quantized_NV).mean()),
        kl_to_fp32=float(kl(float_NV, program_NV).mean()),
        top1_agreement=float((float_NV.argmax(-1) == program_NV.argmax(-1)).mean()),
    )
    return parity, program_NV
