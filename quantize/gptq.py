"""Fits codes to the inputs that weights multiply, so that products err least.

GPTQ (Frantar et al., 2022, arXiv 2210.17323) rounds the inputs of a row one after the other and
lets those that follow take up each error; least squares then fit the scales to the codes, and
coordinate descent the codes to the scales (QuantEase, arXiv 2309.01885). What is made small is
|y - codes * x|^2, summed over the calibration tokens.
Shape suffixes: O output rows, I inputs, J inputs too, G groups in a row.
"""

import torch
from torch import Tensor

from tinyaya.quantize.errors import SingularGramError
from tinyaya.quantize.groupwise import QuantizedWeight, best_scales, check_groups, round_to
from tinyaya.quantize.precision import Precision

_BLOCK_COLUMNS = 128  # between two updates of all that follow
DAMPING_SHARES = (0.03, 0.1, 1.0)  # of the mean diagonal; the first that factorizes
_RIDGE_SHARE = 1e-3  # how much fitted scales are held to what they were
_REFINING_ROUNDS = 2  # of fitting scales, then codes


def quantize_calibrated(
    weight_OI: Tensor, gram_II: Tensor, precision: Precision, pull_OI: Tensor | None = None
) -> QuantizedWeight:
    """Codes for rows that multiply inputs x with the sums of products `gram_II`.

    gram_II: sum of x xT over tokens, float32. pull_OI: sum of (y - weight x) xT, where the rows
    should give y rather than weight x; None: they should not. Raises GroupSizeError, and
    SingularGramError if the gram cannot be factorized.
    """
    check_groups(weight_OI.shape[1], precision)
    gram_II = gram_II.float().clone()
    unused_I = gram_II.diagonal() <= 0
    gram_II.diagonal()[unused_I] = gram_II.diagonal().mean().clamp_min(1e-6)
    factor_II = _factorize(gram_II)
    target_OI = weight_OI.float()
    if pull_OI is not None:
        target_OI = target_OI + torch.cholesky_solve(pull_OI.T, factor_II).T
    scales_OG = best_scales(target_OI, precision, gram_II.diagonal())
    codes_OI = _compensate(target_OI, gram_II, factor_II, scales_OG, precision.bits)
    for _ in range(_REFINING_ROUNDS):
        scales_OG = _fit_scales(target_OI, gram_II, codes_OI, scales_OG)
        codes_OI = _descend(target_OI, gram_II, codes_OI, scales_OG, precision.bits)
    return QuantizedWeight(
        codes_OI=codes_OI.to(torch.int8).contiguous(),
        scales_OG=scales_OG.contiguous(),
        bits=precision.bits,
    )


def _factorize(gram_II: Tensor) -> Tensor:
    """Damp `gram_II` in place until it has a Cholesky factor, and return that (lower)."""
    mean = gram_II.diagonal().mean()
    damped = 0.0
    for share in DAMPING_SHARES:
        gram_II.diagonal().add_(mean * (share - damped))
        damped = share
        factor_II: Tensor
        factor_II, info = torch.linalg.cholesky_ex(gram_II)
        if not info.item() and factor_II.isfinite().all():
            return factor_II
    raise SingularGramError(
        f"the products of {len(gram_II)} inputs cannot be factorized, even damped by {damped}; "
        "calibrate with more text"
    )


def _spread(scales_OG: Tensor, inputs: int) -> Tensor:
    """Each input's scale: view_OI."""
    return scales_OG.repeat_interleave(inputs // scales_OG.shape[1], 1)


def _compensate(
    target_OI: Tensor, gram_II: Tensor, factor_II: Tensor, scales_OG: Tensor, bits: int
) -> Tensor:
    """GPTQ, inputs of large products first; codes_OI as float32."""
    inputs = target_OI.shape[1]
    order_I = gram_II.diagonal().argsort(descending=True, stable=True)
    back_I = order_I.argsort()
    inverse_II = torch.cholesky_inverse(factor_II)[order_I][:, order_I]
    upper_II = torch.linalg.cholesky(inverse_II, upper=True)
    left_OI = target_OI[:, order_I].clone()
    scale_OI = _spread(scales_OG, inputs)[:, order_I]
    codes_OI = torch.empty_like(left_OI)
    for start in range(0, inputs, _BLOCK_COLUMNS):
        end = min(start + _BLOCK_COLUMNS, inputs)
        block_OI, errors_OI = left_OI[:, start:end], torch.empty_like(left_OI[:, start:end])
        for at in range(end - start):
            j = start + at
            codes_OI[:, j] = round_to(block_OI[:, at], scale_OI[:, j], bits)
            error_O = block_OI[:, at] - codes_OI[:, j] * scale_OI[:, j]
            errors_OI[:, at] = error_O / upper_II[j, j]
            block_OI[:, at:] -= errors_OI[:, at, None] * upper_II[j, j:end]
        left_OI[:, end:] -= errors_OI @ upper_II[start:end, end:]
    return codes_OI[:, back_I]


def _fit_scales(target_OI: Tensor, gram_II: Tensor, codes_OI: Tensor, scales_OG: Tensor) -> Tensor:
    """Scales that err least with these codes, near the old ones where the codes do not say."""
    rows, groups = scales_OG.shape
    size = target_OI.shape[1] // groups
    products_OGG = torch.empty(rows, groups, groups)
    wanted_OG = torch.empty(rows, groups)
    for group in range(groups):
        part = slice(group * size, (group + 1) * size)
        seen_OI = codes_OI[:, part] @ gram_II[part]
        products_OGG[:, group] = (seen_OI * codes_OI).unflatten(1, (groups, size)).sum(-1)
        wanted_OG[:, group] = (seen_OI * target_OI).sum(1)
    ridge_O = _RIDGE_SHARE * products_OGG.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
    products_OGG.diagonal(dim1=1, dim2=2).add_(ridge_O[:, None])
    fitted_OG, _ = torch.linalg.solve_ex(products_OGG, wanted_OG + ridge_O[:, None] * scales_OG)
    fitted_OG = fitted_OG.bfloat16().float()
    near = (fitted_OG > 0.5 * scales_OG) & (fitted_OG < 2 * scales_OG)
    return torch.where(near, fitted_OG, scales_OG)


def _descend(
    target_OI: Tensor, gram_II: Tensor, codes_OI: Tensor, scales_OG: Tensor, bits: int
) -> Tensor:
    """One pass over all inputs: each takes the code that is best for the others' codes."""
    inputs = target_OI.shape[1]
    scale_OI = _spread(scales_OG, inputs)
    codes_OI = codes_OI.clone()
    slope_OI = (target_OI - codes_OI * scale_OI) @ gram_II
    for start in range(0, inputs, _BLOCK_COLUMNS):
        end = min(start + _BLOCK_COLUMNS, inputs)
        block_OI, moves_OI = slope_OI[:, start:end], torch.empty_like(slope_OI[:, start:end])
        for at in range(end - start):
            j = start + at
            old_O = codes_OI[:, j] * scale_OI[:, j]
            best_O = old_O + block_OI[:, at] / gram_II[j, j]
            codes_OI[:, j] = round_to(best_O, scale_OI[:, j], bits)
            moves_OI[:, at] = codes_OI[:, j] * scale_OI[:, j] - old_O
            block_OI -= moves_OI[:, at, None] * gram_II[j, start:end]
        slope_OI[:, end:] -= moves_OI @ gram_II[start:end, end:]
    return codes_OI
