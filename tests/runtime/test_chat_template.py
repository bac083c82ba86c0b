"""Messages to a prompt: rendered as transformers does, with one BOS, in a sandbox."""

from pathlib import Path

import pytest
from tiny_bundle import BOS, TURN, byte_ids, write_bundle
from transformers.utils.chat_template_utils import render_jinja_template

from tinyaya.runtime import ChatTemplate, ChatTemplateError, open_bundle

SOURCE = """{{ bos_token }}
{%- for message in messages %}
    {%- if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}
    {{- message['content'] }}<TURN>
{%- endfor %}
{%- if add_generation_prompt %}A:{% endif %}"""
CONFIG = {"bos_token": "<BOS>", "eos_token": "<EOS>"}
CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes\n"}]
IN_BLOCK = "{% generation %}{{ message.content }}{% endgeneration %}"
USER = {"role": "user", "content": "hi"}


def test_a_rendered_prompt_has_one_bos(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "chat", template=SOURCE))
    text = bundle.template.render([USER])
    assert text == "<BOS>hi<TURN>A:"
    assert bundle.tokenizer.encode(text) == [BOS, *byte_ids("hi"), TURN, *byte_ids("A:")]
    assert bundle.template.render([USER], add_generation_prompt=False) == "<BOS>hi<TURN>"


def test_a_bundle_without_template(folder: Path) -> None:
    with pytest.raises(ChatTemplateError, match="has no chat template"):
        _ = open_bundle(folder).template


def test_a_template_that_is_not_text(tmp_path: Path) -> None:
    from tiny_bundle import manifest, write_manifest

    from tinyaya.runtime import BundleError

    bundle = write_bundle(tmp_path / "chat", template="")
    (bundle / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(BundleError, match="cannot be read"):
        _ = open_bundle(write_manifest(bundle, manifest())).template


def test_the_reason_of_a_refusal_is_told() -> None:
    with pytest.raises(ChatTemplateError, match="no system role"):
        ChatTemplate(SOURCE, CONFIG).render([{"role": "system", "content": "x"}])


def test_no_messages() -> None:
    with pytest.raises(ChatTemplateError, match="no messages"):
        ChatTemplate(SOURCE, CONFIG).render([])


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(ChatTemplateError, match="line 2"):
        ChatTemplate("a\n{% if %}", CONFIG)


@pytest.mark.parametrize(
    "source",
    ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.append(1) }}", "{{ 1 // 0 }}",
     "{{ range(10 ** 9) | list }}"],
)  # fmt: skip
def test_a_hostile_template_is_stopped(source: str) -> None:
    with pytest.raises(ChatTemplateError, match="refuses the messages"):
        ChatTemplate(source, CONFIG).render([USER])


def test_what_transformers_templates_rely_on() -> None:
    source = (
        "{%- for m in messages %}\n    {% if loop.index > 1 %}{% break %}{% endif %}\n"
        "{{ m | tojson }}{% endfor %}{{ eos_token }}{{ strftime_now('%%') }}"
    )
    rendered = ChatTemplate(source, CONFIG).render([{"role": "user", "content": "<é>"}, USER])
    assert rendered == '{"role": "user", "content": "<é>"}<EOS>%'


@pytest.mark.parametrize(
    "inner",
    [
        IN_BLOCK,
        "  {%- generation -%}\n  {{ message.content }}\n  {%- endgeneration -%}\n",
        "{% if message.role == 'assistant' %}" + IN_BLOCK + "{% else %}U{% endif %}",
        "{% set x = 'a' %}{% generation %}{% set x = 'b' %}{{ x }}{% endgeneration %}{{ x }}",
        "{% generation %}{% if message.role == 'user' %}{{ message.role }}{% endif %}\n"
        "{% endgeneration %}\n",
    ],
)
def test_it_writes_what_transformers_writes(inner: str) -> None:
    source = "<B>{% for message in messages %}" + inner + "{% endfor %}"
    (expected,), _ = render_jinja_template([CHAT], chat_template=source)
    assert ChatTemplate(source, {}).render(CHAT, add_generation_prompt=False) == expected


def test_a_block_that_does_not_end_is_told() -> None:
    with pytest.raises(ChatTemplateError, match="line 1"):
        ChatTemplate("{% generation %}", {})


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 10**10 }}", "{{ 10**(10**7) }}", "{{ 'x' | center(10**9) }}",
        "{{ 'x'.ljust(10**9) }}", "{{ messages | tojson(indent=10**9) }}", "{{ lipsum(10**9) }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(999) %}{% for j in range(999) %}{{ 'x' * 99 }}{% endfor %}{% endfor %}",
        "{% set n=namespace(s='a') %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n=namespace(s=9) %}{% for i in range(99) %}{% set n.s = n.s * n.s %}{% endfor %}",
    ],
)  # fmt: skip
def test_huge_texts_and_numbers_are_refused(text: str) -> None:
    with pytest.raises(ChatTemplateError, match=r"more than 10000000 characters|Range too big"):
        ChatTemplate(text, CONFIG).render([USER])


def test_sums_and_products_are_what_they_are() -> None:
    text = "{{ 2**10 }} {{ 'ab' * 3 }} {{ 3 * [1] }} {{ 6 * 7 }} {{ 1.5 * 2 }} {{ 'a' + 'b' }}"
    rendered = ChatTemplate(text, CONFIG).render([USER])
    assert rendered == "1024 ababab [1, 1, 1] 42 3.0 ab"
