"""Resolves the options of an export for one checkpoint, once for all who ask."""

from dataclasses import dataclass

from tinyaya.export.bundle.preamble import find_preamble, longest_preamble
from tinyaya.export.options import CalibrationOptions, ExportOptions, Limits
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ResolvedExport:
    """What an export does with a checkpoint, its vocabulary trimmed already.

    preamble: ids that prompts begin with. calibration: what calibrated weights are fitted to.
    """

    checkpoint: Checkpoint
    recipe: Recipe
    limits: Limits
    preamble: tuple[int, ...]
    calibration: CalibrationOptions
    verify: bool


def resolve_export(checkpoint: Checkpoint, options: ExportOptions) -> ResolvedExport:
    """Raises RecipeError or OptionError where the options do not fit the checkpoint."""
    config = checkpoint.config
    recipe, limits = options.find_recipe(), options.limits(config.max_context)
    longest = longest_preamble(config.window, limits)
    return ResolvedExport(
        checkpoint=checkpoint,
        recipe=recipe,
        limits=limits,
        preamble=find_preamble(checkpoint.tokenizer, options.preamble, longest),
        calibration=options.fitted_to(),
        verify=options.verify,
    )
