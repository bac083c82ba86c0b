"""What can go wrong in the stage model -> quantized model.

QuantizeError
├── GroupSizeError    a group size does not divide a row
└── RecipeError       no recipe of that name
"""


class QuantizeError(Exception):
    """Base of all errors of this stage; the message says what was found and the way out."""


class GroupSizeError(QuantizeError):
    """A group size does not divide a row."""


class RecipeError(QuantizeError):
    """No recipe of that name."""
