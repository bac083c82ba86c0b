"""Measures what calibrating for some languages gives them and costs the others.

The same recipe is fitted to text in which the chosen languages have a growing share, and judged on
texts that nothing was fitted to. Usage:
python -m tinyaya.benchmarks.regional SRC --languages sw,en [--tokens 16384] [--share 0.5]
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import torch
import typer

from tinyaya.export.calibration.fit import fit_layers
from tinyaya.export.calibration.quantized_model import calibration_length
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.decoder.reference import reference_logits
from tinyaya.export.languages.texts import (
    calibration_texts,
    evaluation_texts,
    sequences_of,
    weights_of,
)
from tinyaya.export.languages.variants import resolve_languages
from tinyaya.export.proof.kl import kl
from tinyaya.export.proof.parity import float_model
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.quantize.quantizer import QuantizedModel, quantize_model
from tinyaya.quantize.recipe import find_recipe

JUDGED_TOKENS = 192


def judge_shares(
    checkpoint: Checkpoint, recipe: str, languages: str, tokens: int, shares: list[float]
) -> list[dict[str, float]]:
    """Mean KL in nats of the chosen languages and of the others, by the chosen ones' share."""
    chosen = [row.code for row in resolve_languages(languages)]
    encode, bos = checkpoint.tokenizer.encoder(), checkpoint.tokenizer.bos
    fitting = {code: encode(text) for code, text in calibration_texts(None).items()}
    judged = {code: encode(text) for code, text in evaluation_texts(None).items()}
    calibrated = replace(find_recipe(recipe), calibrated=True)
    rows = []
    for share in shares:
        weights = weights_of(chosen, fitting, share) if share else {}
        length = calibration_length(checkpoint)
        sequences = sequences_of(fitting, bos, length, tokens, weights)
        fitted = fit_layers(checkpoint, calibrated, sequences)
        model = quantize_model(checkpoint, calibrated, fitted=fitted)
        kls = _kl_by_language(checkpoint, model, judged)
        own = fmean(kls[code] for code in chosen if code in kls)
        others = fmean(value for code, value in kls.items() if code not in chosen)
        rows.append({"share": share, "chosen": own, "others": others})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _kl_by_language(
    checkpoint: Checkpoint, model: QuantizedModel[DecoderConfig], texts: Mapping[str, list[int]]
) -> dict[str, float]:
    found = {}
    for code, ids in texts.items():
        row = torch.tensor([[checkpoint.tokenizer.bos, *ids[:JUDGED_TOKENS]]])
        whole, own = (
            reference_logits(each, row)[0].numpy() for each in (float_model(checkpoint), model)
        )
        found[code] = float(np.mean(kl(whole, own)))
    return found


def main(
    source: Annotated[Path, typer.Argument(metavar="SRC")],
    languages: Annotated[str, typer.Option(help="Codes or names.")],
    recipe: Annotated[str, typer.Option(help="Fitted, whatever it says.")] = "int4",
    tokens: Annotated[int, typer.Option(help="Of calibration text.")] = 16384,
    share: Annotated[list[float] | None, typer.Option(help="Of the chosen languages.")] = None,
) -> None:
    """Print the mean KL of chosen and other languages for each share; 0 weighs all alike."""
    checkpoint = open_checkpoint(source)
    judge_shares(checkpoint, recipe, languages, tokens, share or [0.0, 0.25, 0.5, 0.75, 0.9])


if __name__ == "__main__":
    typer.run(main)
