"""Names what can go wrong where a model is quantized.

QuantizeError
├── BudgetError        a size below the smallest possible
├── GroupSizeError     a group size does not divide a row
├── RecipeError        no recipe of that name, or one that says what cannot be
└── SingularGramError  calibration saw too little to say how inputs go together
"""

from tinyaya.runtime.errors import TinyAyaError


class QuantizeError(TinyAyaError):
    """Base of all errors of this stage."""


class BudgetError(QuantizeError):
    """A size below the smallest possible."""


class GroupSizeError(QuantizeError):
    """A group size does not divide a row."""


class RecipeError(QuantizeError):
    """No recipe of that name."""


class SingularGramError(QuantizeError):
    """The inputs' products cannot be factorized; more calibration text is needed."""
