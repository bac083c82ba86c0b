"""Which ids are a preamble, and how a .pte is given what it is to hold."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import NANO, UDHR
from tinyaya.export.backends.executorch.placeholders import fill_placeholders, placeholder
from tinyaya.export.bundle.preamble import find_preamble, longest_preamble
from tinyaya.export.options import Limits
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime import ChatTemplate, Tokenizer
from tinyaya.runtime.errors import OptionError

BOS = 2


@pytest.fixture(scope="module")
def encoder() -> Tokenizer:
    return Tokenizer(NANO / "tokenizer.json", BOS)


def test_every_chat_begins_with_the_preamble(nano: Checkpoint, encoder: Tokenizer) -> None:
    ids = find_preamble(nano.tokenizer, None, 128)
    assert ids.count(BOS) == 1 and ids[0] == BOS and len(ids) > 60
    template = ChatTemplate(nano.tokenizer.chat_template or "", nano.tokenizer.config)
    for path in UDHR.glob("*.txt"):
        for start in (0, 1, 17, 200):
            content = path.read_text(encoding="utf-8")[start : start + 30]
            prompt = encoder.encode(template.render([{"role": "user", "content": content}]))
            assert tuple(prompt[: len(ids)]) == ids
    own = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert tuple(encoder.encode(template.render(own))[: len(ids)]) != ids


def test_the_templates_preamble_is_cut_to_what_fits(nano: Checkpoint) -> None:
    whole = find_preamble(nano.tokenizer, None, 128)
    assert find_preamble(nano.tokenizer, None, 20) == whole[:20]
    assert longest_preamble(128, Limits(context=1024, chunk=64)) == 128
    assert longest_preamble(128, Limits(context=100, chunk=64)) == 99
    assert longest_preamble(None, Limits(context=100, chunk=64)) == 99


@pytest.mark.parametrize("text", ["All human beings are born fr", "<BOS_TOKEN>Haki za binadamu: "])
def test_a_text_is_cut_back_to_where_tokens_do_not_merge(
    nano: Checkpoint, encoder: Tokenizer, text: str
) -> None:
    ids = find_preamble(nano.tokenizer, text, 128)
    assert ids[0] == BOS and ids.count(BOS) == 1
    assert 3 <= len(ids) < len(encoder.encode(text))
    for more in ("a", "ee", " and", "e and equal", "1", "\n", "न"):
        assert tuple(encoder.encode(text + more)[: len(ids)]) == ids


def test_no_preamble(nano: Checkpoint) -> None:
    assert find_preamble(nano.tokenizer, "", 128) == ()
    assert find_preamble(nano.tokenizer, "a", 128) == ()  # not worth its place
    assert find_preamble(replace(nano.tokenizer, chat_template=None), None, 128) == ()


def test_a_text_that_is_too_long(nano: Checkpoint) -> None:
    with pytest.raises(OptionError, match="expected at most 20: it must not be longer"):
        find_preamble(nano.tokenizer, "All human beings are born free. " * 9, 20)


def test_a_template_that_refuses_users(nano: Checkpoint) -> None:
    strict = replace(nano.tokenizer, chat_template="{{ raise_exception('never') }}")
    with pytest.raises(OptionError, match="never; add --preamble none"):
        find_preamble(strict, None, 128)
    assert find_preamble(strict, "", 128) == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_placeholders_are_found_and_filled(tmp_path: Path, dtype: torch.dtype) -> None:
    names, shape, path = [f"layer.{i}" for i in range(6)], (1, 3, 2, 16), tmp_path / "program"
    held = {name: placeholder(name, shape, dtype) for name in names}
    assert len({tensor.numpy().tobytes() for tensor in held.values()}) == len(names)
    pieces = [held[name].numpy().tobytes() for name in reversed(names)]
    path.write_bytes(b"head" + b"-".join(pieces) + b"tail")
    values = {name: torch.full(shape, index, dtype=dtype) for index, name in enumerate(names)}
    fill_placeholders(path, values)
    filled = [values[name].numpy().tobytes() for name in reversed(names)]
    assert path.read_bytes() == b"head" + b"-".join(filled) + b"tail"
    with pytest.raises(AssertionError, match="6 of 6 placeholders are not in"):
        fill_placeholders(path, values)
