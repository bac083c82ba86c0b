"""Runs `chat`: a conversation at the terminal."""

from typing import Annotated

import typer

from tinyaya.export.cli.options import (
    BundleSource,
    EngineName,
    MaxTokens,
    MinP,
    Repetition,
    Seed,
    Speculate,
    Stop,
    Temperature,
    Threads,
    TopK,
    TopP,
    find_shown,
    make_options,
    make_penalties,
    make_sampler,
)


def chat(
    bundle: BundleSource,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the model is told before all else.")
    ] = None,
    max_tokens: MaxTokens = 1024,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = 0.0,
    repetition_penalty: Repetition = 1.0,
    seed: Seed = 0,
    stop: Stop = [],  # noqa: B006
    speculate: Speculate = 0,
    threads: Threads = None,
    engine: EngineName = None,
) -> None:
    """Talk with the bundle in DIR; /help lists what else a line can say.

    Example: tinyaya-export chat aya/onnx --system "Answer in Swahili."
    """
    from tinyaya.export.cli.conversation import Terminal
    from tinyaya.runtime import Chat, open_bundle

    opened = open_bundle(find_shown(bundle))
    opened.template  # noqa: B018  a bundle without one is refused before its program loads
    chosen = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    penalties = make_penalties(repetition_penalty, 0.0, 0.0, [])
    sampler = make_sampler(opened, chosen, penalties, min_p=min_p, seed=seed)
    options = make_options(stop, speculate=speculate)
    session = opened.session(threads=threads, engine=engine)
    conversation = Chat(opened, session, system=system)
    Terminal(conversation, sampler, options, max_tokens=max_tokens).run()
