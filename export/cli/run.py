"""Runs `run`: lets a bundle continue a text."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tinyaya.export.cli.options import (
    Alternatives,
    Bias,
    BundleSource,
    EngineName,
    Frequency,
    Grammar,
    Json,
    JsonSchema,
    MaxTokens,
    MinP,
    Presence,
    Regex,
    Repetition,
    Seed,
    Speculate,
    Stop,
    Temperature,
    Threads,
    TopK,
    TopP,
    find_shown,
    make_constraint,
    make_options,
    make_penalties,
    make_sampler,
    print_json,
)
from tinyaya.runtime import (
    Bundle,
    EmptyPromptError,
    Session,
    Token,
    drain,
    generate,
    open_bundle,
    require_complete,
)


def run(
    bundle: BundleSource,
    prompt: Annotated[str, typer.Option(help="Text to continue.")],
    chat: Annotated[bool, typer.Option("--chat", help="Ask in the chat template.")] = False,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = 0.0,
    repetition_penalty: Repetition = 1.0,
    frequency_penalty: Frequency = 0.0,
    presence_penalty: Presence = 0.0,
    logit_bias: Bias = [],  # noqa: B006  typer copies it
    seed: Seed = 0,
    stop: Stop = [],  # noqa: B006
    json_schema: JsonSchema = None,
    regex: Regex = None,
    grammar: Grammar = None,
    alternatives: Alternatives = 0,
    speculate: Speculate = 0,
    load: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Go on from a saved session.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the session afterwards.")
    ] = None,
    threads: Threads = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Let the bundle in DIR continue a text, or answer with --chat.

    Example: tinyaya-export run aya/onnx --prompt "Habari ya" --max-tokens 40
    """
    if not prompt:
        raise EmptyPromptError("the prompt is empty; expected some text to continue")
    opened = open_bundle(find_shown(bundle))
    chosen = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    penalties = make_penalties(repetition_penalty, frequency_penalty, presence_penalty, logit_bias)
    sampler = make_sampler(opened, chosen, penalties, min_p=min_p, seed=seed)
    constraint = make_constraint(opened, json_schema, regex, grammar)
    options = make_options(stop, constraint, alternatives=alternatives, speculate=speculate)
    session = opened.session(threads=threads, engine=engine)
    if load:
        session.load(load)
    prompt_ids = _prompt_ids(opened, session, prompt, chat=chat)
    tokens = generate(session, prompt_ids, max_tokens=max_tokens, sampler=sampler, options=options)
    shown: list[Token] = []
    result = drain(tokens, shown.append if as_json else _print_token)
    if save:
        session.save(save)
    if as_json:
        scores = {"tokens": [asdict(token) for token in shown]} if alternatives else {}
        print_json({"prompt_ids": prompt_ids, **asdict(result), **scores})
    else:
        print()
    require_complete(result)


def _prompt_ids(bundle: Bundle, session: Session, prompt: str, *, chat: bool) -> list[int]:
    if chat:
        ids = bundle.encode_chat([{"role": "user", "content": prompt}])
        return session.keep_prefix(ids)
    return bundle.tokenizer.encode(prompt, add_bos=session.position == 0)


def _print_token(token: Token) -> None:
    print(token.text, end="", flush=True)
