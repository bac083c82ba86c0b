"""Finds what loads a contender of a kind; a row of the table is imported when it is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from tinyaya.benchmarks.speed.runner import Loading, Runner
from tinyaya.runtime import EngineMissingError


@dataclass(frozen=True, kw_only=True)
class RunnerSource:
    """Where a `Prepare` is."""

    module: str
    name: str


Prepare = Callable[[Loading], Callable[[], Runner]]

RUNNERS: Mapping[str, RunnerSource] = {
    "bundle": RunnerSource(module="tinyaya.benchmarks.speed.runner", name="prepare_bundle"),
    "llama.cpp": RunnerSource(module="tinyaya.benchmarks.peers.llama_cpp", name="prepare_llama"),
}


def find_prepare(kind: str) -> Prepare:
    """Import a function of the table; given a Loading, it returns one that loads.

    Raises EngineMissingError if its package is not installed.
    """
    source = RUNNERS[kind]
    try:
        prepare: Prepare = getattr(import_module(source.module), source.name)
    except ModuleNotFoundError as error:
        raise EngineMissingError(
            f"{kind} is not installed ({error}); pip install 'tinyaya-export[bench]'"
        ) from error
    return prepare
