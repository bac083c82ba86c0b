"""A chat: one BOS, turns that feed only what is new, answers that may be broken off."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from tiny_bundle import BOS, CONTEXT, EOS, ScriptedEngine, byte_ids, write_bundle

from tinyaya.runtime import (
    Chat,
    ChatTemplateError,
    PromptTooLongError,
    Sampler,
    Session,
    drain,
    open_bundle,
)

MakeSession = Callable[..., Session]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<TURN>{{ m.role[0] }}{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<TURN>a{% endif %}"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", template=TEMPLATE)


@pytest.fixture
def make_chat(scripted: MakeSession, folder: Path) -> Callable[..., Chat]:
    def make(answer: str = "", start: int = 0, system: str | None = None) -> Chat:
        session = scripted([*byte_ids(answer), EOS], start=start)
        return Chat(open_bundle(folder), session, system=system)

    return make


def ask(chat: Chat, text: str, **options: object) -> str:
    return drain(chat.ask(text, sampler=Sampler(), **options)).text  # type: ignore[arg-type]


def calls(chat: Chat) -> list[object]:
    return cast(ScriptedEngine, chat.session._engine).calls


def test_a_conversation_has_one_bos(folder: Path) -> None:
    ids = open_bundle(folder).encode_chat([{"role": "user", "content": "hi"}])
    assert ids == [BOS, 4, *byte_ids("uhi"), 4, *byte_ids("a")]


def test_special_tokens_in_a_message_are_plain_text(folder: Path) -> None:
    bundle = open_bundle(folder)
    text = "<BOS> <TURN><TURN> <<EOS>"
    ids = bundle.encode_chat([{"role": "user", "content": text}])
    assert ids == [BOS, 4, *byte_ids("u" + text), 4, *byte_ids("a")]


def test_a_template_with_two_bos_gets_one(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "two", template="<BOS><BOS>x")
    ids = open_bundle(folder).encode_chat([{"role": "user", "content": "hi"}])
    assert ids == [BOS, *byte_ids("x")]


def test_a_turn_feeds_only_what_is_new(make_chat: Callable[..., Chat]) -> None:
    chat = make_chat("ok", start=7)
    assert ask(chat, "hi") == "ok"
    assert chat.reused == 0
    held = chat.session.position
    assert held == 7 + 2
    calls(chat).clear()
    ask(chat, "more", max_tokens=1)
    assert chat.reused == held
    assert sum(count for count, _ in calls(chat)) == len("<") + len("umore") + len("<") + len("a")
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2


def test_another_system_text_starts_from_what_is_common(make_chat: Callable[..., Chat]) -> None:
    chat = make_chat("ok", start=12, system="abc")
    ask(chat, "hi", max_tokens=3)
    chat.system = "abd"
    ask(chat, "hi", max_tokens=1)
    assert chat.reused == len([BOS, 4, *byte_ids("sab")])


def test_what_window_layers_dropped_is_fed_again(make_chat: Callable[..., Chat]) -> None:
    chat = make_chat("ok", start=12, system="abc")
    ask(chat, "hi", max_tokens=3)
    cast(ScriptedEngine, chat.session._engine).rewindable = False
    chat.system = "abd"
    ask(chat, "hi", max_tokens=1)
    assert chat.reused == 0


def test_the_same_prompt_again_feeds_one_token(make_chat: Callable[..., Chat]) -> None:
    chat = make_chat("ok", start=7)
    ask(chat, "hi", max_tokens=1)
    chat.messages.clear()
    ask(chat, "hi", max_tokens=1)
    assert chat.reused == 6


def test_an_answer_broken_off_is_part_of_the_conversation(make_chat: Callable[..., Chat]) -> None:
    chat = make_chat("long answer", start=7)
    tokens = chat.ask("hi", sampler=Sampler())
    text = next(tokens).text + next(tokens).text
    tokens.close()
    assert chat.messages[-1] == {"role": "assistant", "content": text}


def test_what_does_not_fit_leaves_the_conversation(make_chat: Callable[..., Chat]) -> None:
    chat = make_chat()
    with pytest.raises(PromptTooLongError):
        ask(chat, "x" * CONTEXT)
    assert chat.messages == []
    assert ask(chat, "hi", max_tokens=2) == "xx"


def test_a_cancelled_prefill_leaves_the_conversation(make_chat: Callable[..., Chat]) -> None:
    def cancel(done: int) -> None:
        raise KeyboardInterrupt

    chat = make_chat()
    with pytest.raises(KeyboardInterrupt):
        ask(chat, "hello", advance=cancel)
    assert chat.messages == []


@pytest.mark.parametrize(
    "message", [{"role": "user"}, {"role": "user", "content": None}, {"content": [1]}, "hi"]
)
def test_messages_without_text_are_refused(folder: Path, message: object) -> None:
    with pytest.raises(ChatTemplateError, match="no text"):
        open_bundle(folder).encode_chat([message])  # type: ignore[list-item]
