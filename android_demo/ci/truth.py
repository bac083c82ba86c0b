"""Bundles and texts in; out: what the Python runtime says of them, for the Kotlin tests to compare.

Usage: python android_demo/ci/truth.py BUNDLES TEXTS OUT [GREEDY]: two folders, and one to write to.
With GREEDY, the greedy ids alone go to that file of OUT.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinyaya.runtime import Bundle, ChatTemplate, ChatTemplateError, Sampler, complete, open_bundle

_PROMPT_TOKENS, _STEPS = 100, 360  # the window of the small model is 128, its rings have 255 slots
_SNIPPETS = (
    "'s", "'S", "'\u017f", "'LL", "'t", "don't", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000",
    "\u0085", "\u200d", "\u200c", "1", "12345", "1234567", "\u0661\u0662\u0663\u0664",
    "\u06f1\u06f2\u06f3\u200c", "\u0967\u0968\u0969\u096a", "\u00bd", "\u2168", "\U0001d7d9",
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e7\U0001f1f7", "e\u0301",
    "\u0301", "\u212a", "\ufb06", "\u01c5", "<BOS_TOKEN>", "<|END_RESPONSE|>", "<|END", "<PAD>",
    "_", "a_1", "HTTPServer", "camelCase", "//", "...", "\ufffd", "\ue000", "\U00030000", "\x00",
    "\x1c",
)  # fmt: skip
_MESSAGES: tuple[list[dict[str, str]], ...] = (
    [{"role": "user", "content": "Habari ya asubuhi?"}],
    [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "1 < 2 & 'x'"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "\u0628"},
        {"role": "user", "content": "\U0001f600"},
    ],
    [{"role": "assistant", "content": "only me"}],
)


def main(bundles: Path, texts: Path, out: Path, greedy: str = "") -> None:
    """Write one JSON file a subject to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    opened = {path.name: open_bundle(path) for path in sorted(bundles.iterdir()) if path.is_dir()}
    _write(
        out / (greedy or "greedy.json"), {name: _greedy(bundle) for name, bundle in opened.items()}
    )
    if greedy:
        return
    first = next(iter(opened.values()))
    _write(out / "tokens.json", _tokens(first, texts))
    _write(out / "templates.json", _templates(first))


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="ascii")


def _greedy(bundle: Bundle) -> dict[str, Any]:
    """Greedy ids past the window, whatever stop token comes; how near the second was."""
    ids = bundle.tokenizer.encode(_long_text(bundle))[:_PROMPT_TOKENS]
    session = bundle.session(threads=1)
    steps = []
    logits_V = session.prefill(ids)
    for _ in range(_STEPS):
        second, best = np.argsort(logits_V, kind="stable")[-2:].tolist()
        best = int(np.argmax(logits_V))
        steps.append(
            {"id": best, "second": second, "margin": float(logits_V[best] - logits_V[second])}
        )
        logits_V = session.step(best)
    session.reset()
    prompt = bundle.template.render(_MESSAGES[0])
    answer = complete(session, prompt, max_tokens=60, sampler=Sampler())
    return {"prompt": ids, "steps": steps, "chat": prompt, "answer": answer.text}


def _long_text(bundle: Bundle) -> str:
    path = bundle.folder / "golden_tokens.json"
    golden = json.loads(path.read_text(encoding="utf-8"))
    present = [language for language in ("sw", "en", "fr", "tr") if language in golden]
    return " ".join(golden[language]["text"] for language in present * 2)


def _tokens(bundle: Bundle, texts: Path) -> dict[str, Any]:
    """Ids of the texts as they are, of random mixtures, and the text of random ids."""
    tokenizer, chance = bundle.tokenizer, random.Random(0)
    whole = {path.stem: path.read_text(encoding="utf-8") for path in sorted(texts.glob("*.txt"))}
    words = [word for text in whole.values() for word in text.split()] + list(_SNIPPETS) * 200
    mixed = [
        "".join(chance.choices([*words, *_SNIPPETS], k=chance.randint(1, 12))) for _ in range(4000)
    ]
    mixed += [
        "".join(chr(_character(chance)) for _ in range(chance.randint(1, 20))) for _ in range(2000)
    ]
    mixed += ["1" * 500, "x" * 5000, "\u0e01" * 3000, " " * 1000, "!" * 3000]
    size = bundle.manifest.model.vocab_size
    lists = [[chance.randrange(size) for _ in range(chance.randint(1, 12))] for _ in range(1000)]
    return {
        "texts": {name: tokenizer.encode(text, add_bos=False) for name, text in whole.items()},
        "mixed": [{"text": text, "ids": tokenizer.encode(text)} for text in mixed],
        "decoded": [{"ids": ids, "text": tokenizer.decode(ids)} for ids in lists],
    }


def _character(chance: random.Random) -> int:
    code = chance.choice(
        [chance.randrange(0x250), chance.randrange(0x3000), chance.randrange(0x110000)]
    )
    return 0x20 if 0xD800 <= code < 0xE000 else code


def _templates(bundle: Bundle) -> list[dict[str, Any]]:
    """What jinja2 makes of the bundle's own template and of those beside this file."""
    config = json.loads((bundle.folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    sources = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted((Path(__file__).parent / "templates").iterdir())
    }
    sources["bundle"] = (bundle.folder / "chat_template.jinja").read_text(encoding="utf-8")
    return [
        {
            "name": name,
            "source": source,
            "messages": messages,
            "text": _rendered(source, config, messages),
        }
        for name, source in sources.items()
        for messages in _MESSAGES
    ]


def _rendered(source: str, config: dict[str, Any], messages: list[dict[str, str]]) -> str | None:
    """None where the template refuses."""
    try:
        return ChatTemplate(source, config).render(messages)
    except ChatTemplateError:
        return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
