"""The arithmetic of groups: the best scale of each, codes that pack, and what they stand for."""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from tinyaya.quantize import groupwise
from tinyaya.quantize.errors import GroupSizeError
from tinyaya.quantize.groupwise import QuantizedWeight, dequantize, pack, quantize, unpack
from tinyaya.quantize.precision import Precision

BITS = pytest.mark.parametrize("bits", [4, 8])
ORT_DTYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.uint8): TensorProto.UINT8}


def heavy_tailed(rows: int, inputs: int, seed: int = 0) -> Tensor:
    """Weights with outliers, rows of different sizes, a row of zeros and one that is constant."""
    generator = torch.Generator().manual_seed(seed)
    weight_OI = torch.randn(rows, inputs, generator=generator) ** 3
    weight_OI *= torch.logspace(-4, 1, rows)[:, None]
    weight_OI[1], weight_OI[2] = 0, -0.25
    return weight_OI


def groups_of(weight_OI: Tensor, quantized: QuantizedWeight) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(weights, codes, scale) of each group."""
    size = quantized.group_size
    return list(
        zip(
            weight_OI.reshape(-1, size),
            quantized.codes_OI.reshape(-1, size),
            quantized.scales_OG.flatten(),
            strict=True,
        )
    )


def naive_codes(group: Tensor, scale: float, bits: int) -> list[int]:
    """Round half to even, clip to the range of the codes; one weight at a time."""
    top = 2 ** (bits - 1)
    ratios = [np.float32(weight) / np.float32(scale) for weight in group.tolist()]
    return [max(-top, min(top - 1, round(float(ratio)))) for ratio in ratios]


def naive_scales(group: Tensor, bits: int) -> dict[float, float]:
    """Candidate scale -> squared error in float64, in the order they are tried."""
    full = group.abs().max().clamp_min(2.0**-100) / (2 ** (bits - 1) - 0.5)
    errors = {}
    for factor in groupwise._SCALE_CANDIDATES[bits]:
        scale = (full * factor).bfloat16().item()
        codes = naive_codes(group, scale, bits)
        pairs = zip(codes, group.tolist(), strict=True)
        errors[scale] = sum((code * scale - weight) ** 2 for code, weight in pairs)
    return errors


@pytest.mark.parametrize(
    "precision", [Precision(bits=4, group_size=32), Precision(bits=8)], ids=str
)
def test_equals_a_loop_over_groups(precision: Precision) -> None:
    weight_OI = heavy_tailed(24, 96)
    quantized = quantize(weight_OI, precision)
    ties = 0
    groups = groups_of(weight_OI, quantized)
    for group, codes, scale in groups:
        assert codes.tolist() == naive_codes(group, scale.item(), precision.bits)
        errors = naive_scales(group, precision.bits)
        best = min(errors, key=errors.__getitem__)
        if scale.item() != best:  # only where float32 cannot tell the two errors apart
            assert errors[scale.item()] == pytest.approx(errors[best], rel=1e-5)
            ties += 1
    assert ties <= len(groups) // 50


def test_blocks_of_rows_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    weight_OI = heavy_tailed(37, 64)
    whole = quantize(weight_OI, Precision(bits=4, group_size=16))
    monkeypatch.setattr(groupwise, "CHUNK_VALUES", 5 * 64)
    pieces = quantize(weight_OI, Precision(bits=4, group_size=16))
    assert torch.equal(whole.codes_OI, pieces.codes_OI)
    assert torch.equal(whole.scales_OG, pieces.scales_OG)


FLOATS = st.floats(-8192, 8192, width=32) | st.floats(-(2.0**-10), 2.0**-10, width=32)
MATRICES = arrays.arrays(np.float32, (3, 16), elements=FLOATS).map(torch.from_numpy)


@BITS
@settings(deadline=None)
@given(MATRICES)
def test_error_is_half_a_scale_inside_the_clip_range(bits: int, weight_OI: Tensor) -> None:
    quantized = quantize(weight_OI, Precision(bits=bits, group_size=8))
    top = 2 ** (bits - 1)
    assert quantized.scales_OG.min() > 0
    for (group, codes, scale), restored in zip(
        groups_of(weight_OI, quantized), dequantize(quantized).reshape(-1, 8), strict=True
    ):
        assert torch.equal(restored, codes.float() * scale)
        inside = (group >= -(top + 0.5) * scale) & (group <= (top - 0.5) * scale)
        assert ((restored - group).abs()[inside] <= 0.50001 * scale).all()
        assert (codes[~inside] == torch.where(group > 0, top - 1, -top)[~inside]).all()


@BITS
@settings(deadline=None)
@given(MATRICES)
def test_scales_are_bfloat16(bits: int, weight_OI: Tensor) -> None:
    scales_OG = quantize(weight_OI, Precision(bits=bits)).scales_OG
    assert torch.equal(scales_OG.bfloat16().float(), scales_OG)


@BITS
@pytest.mark.parametrize("size", [1e-45, 1e-30, 1e25, 3e38])
def test_extreme_sizes_have_bfloat16_scales_too(bits: int, size: float) -> None:
    quantized = quantize(torch.linspace(-1, 1, 32)[None] * size, Precision(bits=bits))
    assert torch.isfinite(dequantize(quantized)).all()
    assert (quantized.scales_OG > 0).all()
    assert torch.equal(quantized.scales_OG.bfloat16().float(), quantized.scales_OG)


@BITS
def test_zeros_stay_zeros(bits: int) -> None:
    quantized = quantize(torch.zeros(4, 64), Precision(bits=bits, group_size=32))
    assert not quantized.codes_OI.any()
    assert not dequantize(quantized).any()


def plain(group: Tensor, bits: int) -> Tensor:
    """Max-abs scaling over the whole range of codes, its scale in bfloat16 as well."""
    top = 2 ** (bits - 1)
    scale = (group.abs().max().clamp_min(2.0**-100) / (top - 0.5)).bfloat16().float()
    return (group / scale).round().clamp(-top, top - 1) * scale


@BITS
def test_no_group_is_worse_than_with_plain_scaling(bits: int) -> None:
    weight_OI = heavy_tailed(40, 128)
    quantized = quantize(weight_OI, Precision(bits=bits, group_size=32))
    searched = plain_sum = 0.0
    for group, codes, scale in groups_of(weight_OI, quantized):
        error = (codes * scale - group).square().sum().item()
        plain_error = (plain(group, bits) - group).square().sum().item()
        assert error <= plain_error * (1 + 1e-6)
        searched, plain_sum = searched + error, plain_sum + plain_error
    assert searched <= {4: 0.9, 8: 1.0}[bits] * plain_sum


@pytest.mark.parametrize(("inputs", "group"), [(96, 64), (30, 32), (64, 65)])
def test_group_size_must_divide_a_row(inputs: int, group: int) -> None:
    with pytest.raises(GroupSizeError, match=rf"size {group} .* row of {inputs} .* divisor of"):
        quantize(torch.ones(2, inputs), Precision(bits=4, group_size=group))


@pytest.mark.parametrize(("inputs", "group"), [(9, 3), (12, 3), (3, None), (1, None)])
def test_odd_groups_are_refused_at_4_bits(inputs: int, group: int | None) -> None:
    with pytest.raises(GroupSizeError, match=r"packed in pairs; choose an even"):
        quantize(torch.ones(2, inputs), Precision(bits=4, group_size=group))


def test_odd_groups_work_at_8_bits() -> None:
    quantized = quantize(torch.randn(2, 9), Precision(bits=8, group_size=3))
    assert torch.equal(unpack(pack(quantized), quantized.scales_OG, 8).codes_OI, quantized.codes_OI)


@BITS
@given(st.data())
def test_pack_round_trip(bits: int, data: st.DataObject) -> None:
    top = 2 ** (bits - 1)
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 9).map(lambda n: 2 * n)))
    codes = data.draw(arrays.arrays(np.int8, shape, elements=st.integers(-top, top - 1)))
    weight = QuantizedWeight(
        codes_OI=torch.from_numpy(codes), scales_OG=torch.ones(shape[0], 1), bits=bits
    )
    packed = pack(weight)
    assert packed.dtype == torch.uint8
    assert packed.shape == (shape[0], shape[1] * bits // 8)
    restored = unpack(packed, weight.scales_OG, bits)
    assert restored.codes_OI.dtype == torch.int8
    assert torch.equal(restored.codes_OI, weight.codes_OI)


def test_packed_bytes() -> None:
    codes_OI = torch.tensor([[-8, 7, 0, 1]], dtype=torch.int8)
    four = QuantizedWeight(codes_OI=codes_OI, scales_OG=torch.ones(1, 1), bits=4)
    eight = QuantizedWeight(codes_OI=codes_OI, scales_OG=torch.ones(1, 1), bits=8)
    assert pack(four).tolist() == [[0xF0, 0x98]]
    assert pack(eight).tolist() == [[120, 135, 128, 129]]


def matmul_nbits(x: np.ndarray, weight: QuantizedWeight) -> np.ndarray:
    """What onnxruntime computes of the packed codes, in float32 and with its default zero point."""
    rows, inputs = weight.codes_OI.shape
    size, bits = weight.group_size, weight.bits
    initializers = {
        "codes": pack(weight).numpy().reshape(rows, inputs // size, size * bits // 8),
        "scales": weight.scales_OG.numpy().reshape(rows, -1),
    }
    node = helper.make_node(
        "MatMulNBits",
        ["x", *initializers],
        ["y"],
        domain="com.microsoft",
        K=inputs,
        N=rows,
        bits=bits,
        block_size=size,
    )
    graph = helper.make_graph(
        [node],
        "one_node",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (x.shape[0], rows))],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})[0]


@BITS
@pytest.mark.parametrize("size", [16, 32, 128])
def test_onnxruntime_reads_the_same_weights(bits: int, size: int) -> None:
    weight = quantize(heavy_tailed(24, 256), Precision(bits=bits, group_size=size))
    x = torch.randn(5, 256, generator=torch.Generator().manual_seed(1))
    expected = (x.double() @ dequantize(weight).double().T).float()
    y = torch.from_numpy(matmul_nbits(x.numpy(), weight))
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())
