"""Templates with the block `generation`, against transformers."""

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from tinyaya.runtime import ChatTemplate, ChatTemplateError

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes\n"}]
IN_BLOCK = "{% generation %}{{ message.content }}{% endgeneration %}"


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
