"""Compares how fast both engines for a .pte decode, in turns.

python -m tinyaya.benchmarks.pte_engines DIR --context 128 --context 4000

Both engines hold the program, so it takes twice the memory of one.
"""

import time
from statistics import median
from typing import Annotated

import numpy as np
import typer

from tinyaya.benchmarks.speed.runner import BundleRunner
from tinyaya.runtime import open_bundle
from tinyaya.runtime.engines import load_engine
from tinyaya.runtime.engines.base import EngineState, Mark
from tinyaya.runtime.engines.interface import PTE_CACHE_PARTS
from tinyaya.runtime.manifest import Manifest

ENGINES = ("torch", "native")


def _steps_ms(runner: BundleRunner, manifest: Manifest, context: int, tokens: int) -> float:
    """Mean of `tokens` steps that begin at `context`."""
    most = manifest.model.vocab_size // 2
    ids = np.random.default_rng(context).integers(300, most, context + tokens)
    runner.jump(ids[:context].tolist())
    before = time.perf_counter()
    for position in range(context, context + tokens):
        runner.feed([int(ids[position])], position)
    return (time.perf_counter() - before) * 1e3 / tokens


def _filled(manifest: Manifest) -> EngineState:
    """All slots of all caches hold something: pages that nothing was written to are no memory."""
    chance = np.random.default_rng(0)
    caches = (
        chance.integers(-9, 10, (shape.slots, shape.kv_heads, shape.head_dim)).astype(shape.dtype)
        for shape in manifest.cache
        for _ in PTE_CACHE_PARTS
    )
    mark = Mark(written=manifest.limits.context, restoring=False)
    return EngineState(mark=mark, caches=tuple(caches))


def main(
    bundle: str,
    context: Annotated[list[int], typer.Option(help="Tokens before the steps; may repeat.")],
    threads: int = 2,
    tokens: int = 8,
    rounds: int = 5,
) -> None:
    """Print the median, least and most of the rounds, ms a token."""
    opened = open_bundle(bundle, check_hashes=False)
    manifest = opened.manifest
    runners: dict[str, BundleRunner] = {}
    for name in ENGINES:
        engine = load_engine(manifest.engine, name)(opened.folder, manifest, threads)
        engine.put(_filled(manifest))
        runners[name] = BundleRunner(engine, manifest)
    print("| context | engine | ms a token | range |\n|---|---|---|---|")
    for depth in context:
        times: dict[str, list[float]] = {name: [] for name in ENGINES}
        for _ in range(rounds + 1):
            for name, runner in runners.items():
                times[name].append(_steps_ms(runner, manifest, depth, tokens))
        for name, taken in times.items():
            kept = taken[1:]  # the first one warms up
            print(f"| {depth} | {name} | {median(kept):.1f} | {min(kept):.1f} to {max(kept):.1f} |")


if __name__ == "__main__":
    typer.run(main)
