"""Made-up measurements, to compute with."""

from collections.abc import Mapping

from tinyaya.benchmarks.speed.conditions.machine import Bandwidth, Machine
from tinyaya.benchmarks.speed.conditions.memory import Memory
from tinyaya.benchmarks.speed.contender import Sample
from tinyaya.runtime.facts import Facts, KvLayer

FACTS = Facts(
    engine="onnx",
    label="onnx int4",
    model_bytes=1000,
    parameters=2000,
    vocab_size=10,
    context=8192,
    weights_read_bytes=900,
    layers=(KvLayer(window=8, position_bytes=4), KvLayer(window=None, position_bytes=4)),
)
MACHINE = Machine(
    cpu="test",
    cores=2,
    memory_bytes=1,
    system="test",
    versions={"python": "3"},
    bandwidths=(
        Bandwidth(threads=1, read_bytes_per_s=1e6),
        Bandwidth(threads=2, read_bytes_per_s=2e6),
    ),
)


def sample(
    path: str,
    rates: Mapping[str, float],
    rss: int = 7,
    threads: int = 2,
    facts: Facts = FACTS,
) -> Sample:
    """A round of one contender."""
    memory = Memory(rss_bytes=rss, pss_bytes=6, private_dirty_bytes=5)
    return Sample(
        path=path,
        threads=threads,
        facts=facts,
        load_ms=1.0,
        ttft_ms=2.0,
        memory=memory,
        memory_before=memory,
        rates=rates,
        skipped={},
    )
