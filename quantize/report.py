"""Reports what quantization did to the weights, summed by role."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RoleReport:
    """Figures of all weights of one role.

    relative_error: norm of the change over norm of the weights (0 where they stay float32).
    not_fitted: names of those that a calibrated recipe could only round, because the calibration
    text says too little of what they multiply.
    """

    parameters: int
    stored_bytes: int
    relative_error: float
    not_fitted: tuple[str, ...] = ()
