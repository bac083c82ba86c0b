"""Holds what a user chooses for an export, and refuses what does not fit together."""

from dataclasses import dataclass, replace
from pathlib import Path

from tinyaya.quantize.recipe import Recipe, find_recipe
from tinyaya.runtime.errors import OptionError

DEFAULT_CONTEXT = 8192


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes that the program is built for.

    context: positions a session may hold. chunk: tokens a single step may take; a longer prompt
    is fed in chunks.
    """

    context: int
    chunk: int = 128

    def __post_init__(self) -> None:
        """Refuse limits that fit no model."""
        if self.chunk < 1:
            raise OptionError(f"chunk is {self.chunk}; expected at least 1")
        if self.context < self.chunk:
            raise OptionError(
                f"context {self.context} is below the chunk {self.chunk}; "
                "raise --context or lower --chunk"
            )


KEEP_CHOICES = ("safe", "tight", "all")


@dataclass(frozen=True, kw_only=True)
class VocabularyOptions:
    """Which tokens a bundle has.

    languages: codes. keep: `safe` keeps what their scripts need, `tight` of that only what their
    texts need, `all` everything. texts: a folder of <language>.txt beside the shipped ones, for
    `tight`.
    """

    languages: tuple[str, ...]
    keep: str = "safe"
    texts: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what nothing can be chosen for."""
        if not self.languages:
            raise OptionError("no language is named; expected codes such as sw, en")
        if self.keep not in KEEP_CHOICES:
            raise OptionError(f"keep is {self.keep!r}; known: {', '.join(KEEP_CHOICES)}")


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """What calibrated recipes are fitted to.

    texts: a folder of <language>.txt, None takes what is shipped for it. tokens: in all, evenly by
    language. languages: codes of those that have half of the tokens; empty weighs all alike. work:
    a folder that keeps finished layers, so that a killed calibration goes on; None keeps nothing.
    """

    texts: Path | None = None
    tokens: int = 65536
    languages: tuple[str, ...] = ()
    work: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what nothing can be fitted to."""
        if self.tokens < 1:
            raise OptionError(f"calibration tokens is {self.tokens}; expected at least 1")


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """One export: a backend's name, a recipe or its name, limits, and what to do with the target.

    context: None takes what the checkpoint was made for, up to DEFAULT_CONTEXT. kv: None takes the
    recipe's own type of cache. adapters: LoRA adapters to merge in, in order. preamble:
    text that prompts begin with; None takes what the chat template always writes, "" is none.
    vocabulary: None keeps every token. calibrate: False fits calibrated recipes to the weights
    alone, in minutes.
    """

    backend: str = "onnx"
    recipe: str | Recipe = "int4"
    kv: str | None = None
    context: int | None = None
    chunk: int = 128
    adapters: tuple[Path | str, ...] = ()
    preamble: str | None = None
    vocabulary: VocabularyOptions | None = None
    calibrate: bool = True
    calibration: CalibrationOptions = CalibrationOptions()
    verify: bool = True
    force: bool = False

    def find_recipe(self) -> Recipe:
        """The recipe by its name, as the other options change it; raises RecipeError."""
        recipe = self.recipe
        if isinstance(recipe, str):
            recipe = find_recipe(recipe, self.kv)
        return replace(recipe, calibrated=recipe.calibrated and self.calibrate)

    def fitted_to(self) -> CalibrationOptions:
        """What calibration takes; the vocabulary's languages weigh in it unless others do."""
        named = self.calibration.languages
        chosen = self.vocabulary.languages if self.vocabulary else ()
        return replace(self.calibration, languages=named or chosen)

    def limits(self, max_context: int) -> Limits:
        """Limits for a checkpoint made for `max_context` positions; raises OptionError."""
        if self.context is None:
            context = min(max_context, DEFAULT_CONTEXT)
            return Limits(context=context, chunk=min(self.chunk, context))
        if self.context > max_context:
            raise OptionError(
                f"context {self.context} is above the checkpoint's max_position_embeddings "
                f"{max_context}; use --context {max_context} or less"
            )
        return Limits(context=self.context, chunk=self.chunk)
