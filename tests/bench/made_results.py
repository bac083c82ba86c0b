"""Results files as boards would write them; every figure in them is made up."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tinyaya.benchmarks.speed.conditions.machine import Bandwidth, Machine
from tinyaya.benchmarks.speed.conditions.memory import Memory
from tinyaya.benchmarks.speed.conditions.topology import Cluster
from tinyaya.benchmarks.speed.conditions.watch import Conditions, LogRow
from tinyaya.benchmarks.speed.contender import Sample
from tinyaya.benchmarks.speed.options import SpeedOptions
from tinyaya.benchmarks.speed.run_file import Measured, save
from tinyaya.runtime.facts import Density, Facts, KvLayer

FACTS = Facts(
    engine="onnx",
    label="onnx int4 kv int8",
    model_bytes=2_100_000_000,
    parameters=3_349_227_520,
    vocab_size=262144,
    context=8192,
    weights_read_bytes=2_100_000_000,
    layers=(KvLayer(window=4096, position_bytes=1024), KvLayer(window=None, position_bytes=1024)),
    model_type="cohere2 3.35B int4",
    chunk=128,
    kv_type="int8",
)
DENSITIES = tuple(
    Density(code=code, name=name, characters_per_token=per, tokens_to_english=tokens)
    for code, name, per, tokens in (
        ("en", "English", 4.4, 1.0),
        ("sw", "Swahili", 3.3, 1.35),
        ("hi", "Hindi", 2.9, 1.3),
        ("ja", "Japanese", 1.5, 1.1),
        ("my", "Burmese", 1.1, 5.0),
    )
)


def machine(name: str, part: str, cores: int, gigabytes: float) -> Machine:
    """A board whose cores are all alike."""
    cluster = Cluster(cpus=tuple(range(cores)), cores=cores, part=part, max_hz=2.4e9, capacity=1024)
    return Machine(
        cpu=f"{cores} x {part}",
        cores=cores,
        memory_bytes=8_000_000_000,
        system="Linux",
        versions={"tinyaya-export": "0.1.0"},
        bandwidths=(Bandwidth(threads=cores, read_bytes_per_s=gigabytes * 1e9),),
        name=name,
        clusters=(cluster,),
        sensors=("frequency: cpu0",),
        idle_celsius=45.0,
    )


def conditions(top: float, reasons: Sequence[str], joules: float | None) -> Conditions:
    """A minute in which the processor grows hot; it slows down where there are reasons."""
    slow = 1.6e9 if reasons else 2.4e9
    log = tuple(
        LogRow(
            at_s=float(second),
            hz=2.4e9 if second < 40 else slow,
            celsius=45 + (top - 45) * min(1.0, second / 40),
            watts=None if joules is None else 4 + 5 * min(1.0, second / 5),
        )
        for second in range(0, 60, 2)
    )
    return Conditions(
        seconds=58.0,
        start_celsius=45.0,
        top_celsius=top,
        share_of_max_hz=slow / 2.4e9,
        throttled=bool(reasons),
        reasons=tuple(reasons),
        energy=None if joules is None else "ina3221 VDD_IN",
        joules_per_token={} if joules is None else {"tg64": joules},
        log=log,
    )


def write_board(
    path: Path, board: Machine, rates: tuple[float, float, float], state: Conditions
) -> None:
    """rates: of reading 512 tokens, of writing from nothing and after 2000; five rounds."""
    threads = board.cores
    options = SpeedOptions(
        bundles=(Path("aya/onnx"),),
        peers=(),
        prompts=(512,),
        contexts=(0, 2000),
        threads=(threads,),
        rounds=5,
        long_rounds=5,
        tokens=64,
        seed=0,
        cpus=tuple(range(threads)),
    )
    memory = Memory(rss_bytes=2_900_000_000, pss_bytes=2_800_000_000, private_dirty_bytes=10**9)
    names = ("pp512", "tg64", "tg64 @ d2000")
    first = Sample(
        path="aya/onnx",
        threads=threads,
        facts=FACTS,
        load_ms=9000.0,
        ttft_ms=512e3 / rates[0],
        memory=memory,
        memory_before=memory,
        rates={},
        skipped={},
        started="2026-01-01T00:00:00Z",
        conditions=state,
    )
    samples = tuple(
        replace(first, rates={n: r * (1 + step / 50) for n, r in zip(names, rates, strict=True)})
        for step in (-2, -1, 0, 1, 2)
    )
    densities = {"aya/onnx": DENSITIES}
    save(Measured(options=options, machine=board, samples=samples, densities=densities), path)


def write_llama_bench(path: Path) -> None:
    """As `llama-bench -o json` writes it, with the columns that matter here."""
    shared = {
        "cpu_info": "llama's <b>board</b>", "model_filename": "q4_0.gguf", "n_threads": 4,
        "model_type": "cohere2 3B Q4_0", "model_size": 2_030_000_000, "backends": "CPU",
    }  # fmt: skip
    rows = [
        {**shared, "n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 20.0,
         "samples_ts": [19.0, 20.0, 21.0]},
        {**shared, "n_prompt": 0, "n_gen": 64, "n_depth": 0, "avg_ts": 4.2, "samples_ts": [4.2]},
    ]  # fmt: skip
    path.write_text(json.dumps(rows))


def write_all(folder: Path) -> list[Path]:
    """Three boards and a file of llama-bench."""
    warm = conditions(62.0, (), None)
    hot = conditions(85.0, ("cooling by cpufreq-cpu0 (cooling_device0)",), None)
    metered = conditions(58.0, (), 2.2)
    paths = [folder / f"{name}.json" for name in ("one", "two", "three", "llama")]
    write_board(paths[0], machine("Made-up Board A", "Cortex-A76", 4, 12.0), (21, 4.4, 4.0), warm)
    write_board(paths[1], machine("Made-up Board B", "Cortex-A72", 4, 4.2), (6, 1.6, 1.4), hot)
    write_board(
        paths[2], machine("Made-up Board C", "Cortex-A78AE", 6, 40.0), (60, 13, 11), metered
    )
    write_llama_bench(paths[3])
    return paths
