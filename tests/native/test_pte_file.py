"""Attention reads 8-bit caches as they are only where nothing else reads them widened."""

from pathlib import Path

import pytest

from tinyaya.runtime.engines.pte_file import _Call, _Flow, attention_may_read_codes

CODES, FLOATS = 1, 6
K, V, K_SLICE, V_SLICE, K_WIDE, V_WIDE, Q, Y, ROWS, TOKEN, OTHER = range(11)
TYPES = [CODES] * 4 + [FLOATS] * 4 + [CODES, None, FLOATS]


def update(cache: int) -> _Call:
    return _Call("llama::update_cache.out", (ROWS, cache, TOKEN, OTHER))


def sliced(cache: int, out: int) -> _Call:
    args = (cache, TOKEN, TOKEN, TOKEN, TOKEN, out, out)
    return _Call("aten::slice_copy.Tensor_out", args)


def widened(codes: int, out: int) -> _Call:
    return _Call("aten::_to_copy.out", (codes, TOKEN, TOKEN, out, out))


def attention(keys: int, values: int) -> _Call:
    return _Call("llama::custom_sdpa.out", (Q, keys, values, *[TOKEN] * 5, Y, Y))


LAYER = [
    update(K),
    update(V),
    sliced(K, K_SLICE),
    widened(K_SLICE, K_WIDE),
    sliced(V, V_SLICE),
    widened(V_SLICE, V_WIDE),
    attention(K_WIDE, V_WIDE),
]
RING = [update(K), update(V), widened(K, K_WIDE), widened(V, V_WIDE), attention(K_WIDE, V_WIDE)]
OF_FLOATS = [update(Q), update(Y), attention(Q, Y)]
NOT_ALONE = {
    "something else reads what was widened": [*LAYER, _Call("aten::add.out", (K_WIDE, Q, Y, Y))],
    "a delegate reads what was widened": [*RING, _Call("", (V_WIDE,))],
    "something else reads the slice": [*LAYER, _Call("aten::add.out", (K_SLICE, Q, Y, Y))],
    "something else reads the cache": [*RING, _Call("aten::add.out", (K, Q, Y, Y))],
    "the cache is written in between": [*LAYER[:4], update(K), *LAYER[4:]],
    "keys alone are codes": [*RING[:3], RING[3], attention(K_WIDE, Q)],
    "keys and values change places": [*RING[:4], attention(V_WIDE, V_WIDE)],
    "attention comes first": [*RING[:2], RING[4], *RING[2:4]],
    "values are floats": [update(K), widened(K, K_WIDE), attention(K_WIDE, Q)],
    "another operator reads both": [*RING[:4], _Call("aten::add.out", (Q, K_WIDE, V_WIDE, Y))],
    "another operator than a copy": [
        *RING[:2],
        *(_Call("aten::neg.out", call.args) for call in RING[2:4]),
        RING[4],
    ],
    "there are no codes": OF_FLOATS,
}


@pytest.mark.parametrize("calls", [LAYER, RING], ids=["slices", "a ring"])
def test_what_goes_to_attention_alone_is_found(calls: list[_Call]) -> None:
    assert _Flow(calls, TYPES).is_for_attention_alone()


@pytest.mark.parametrize("calls", NOT_ALONE.values(), ids=NOT_ALONE.keys())
def test_what_goes_elsewhere_is_found(calls: list[_Call]) -> None:
    assert not _Flow(calls, TYPES).is_for_attention_alone()


@pytest.mark.parametrize("data", [b"", b"abc", b"\xff" * 500, bytes(500), b"\x08" * 100])
def test_a_file_that_is_no_program_is_left_to_the_engine(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pte").write_bytes(data)
    assert attention_may_read_codes(tmp_path / "x.pte") is False
