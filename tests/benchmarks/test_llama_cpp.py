"""The peer computes the same model: what it is compared for is speed and bytes alone."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import NANO
from tinyaya.benchmarks.speed.options import SpeedOptions
from tinyaya.benchmarks.speed.places.local import run_job
from tinyaya.benchmarks.speed.runner import Loading
from tinyaya.export.decoder.reference import reference_logits
from tinyaya.export.proof.kl import kl
from tinyaya.export.proof.parity import float_model
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime import OptionError, ProgramError

REASON = "llama-cpp-python or gguf is not installed; pip install 'tinyaya-export[bench]'"
pytest.importorskip("gguf", reason=REASON)
llama_cpp = pytest.importorskip("tinyaya.benchmarks.peers.llama_cpp", reason=REASON)

LENGTH, SINGLE = 300, 20  # past two windows of 128; the last steps singly


def tail_kl(path: Path, nano: Checkpoint) -> np.ndarray:
    """KL in nats from the unquantized model at the last positions."""
    ids = np.random.default_rng(0).integers(8, 10_000, LENGTH).tolist()
    runner, start = (
        llama_cpp.LlamaRunner(Loading(path=path, context=512, threads=1)),
        LENGTH - SINGLE,
    )
    runner.feed(ids[:7], 0)  # what came before must be forgotten
    found = [runner.feed(ids[:start], 0)]
    found += [runner.feed([token], start + index) for index, token in enumerate(ids[start:])]
    runner.close()
    expected = reference_logits(float_model(nano), torch.tensor([ids]))[0, start - 1 :]
    return kl(expected.numpy(), np.stack(found))


# With BF16 weights, llama.cpp rounds activations to BF16 too.
@pytest.mark.parametrize(("kind", "bound"), [("F32", 1e-5), ("F16", 1e-5), ("BF16", 1e-3)])
def test_float_gguf_is_the_model(kind: str, bound: float, nano: Checkpoint, tmp_path: Path) -> None:
    llama_cpp.convert(NANO, tmp_path / "nano.gguf", kind)
    assert tail_kl(tmp_path / "nano.gguf", nano).max() < bound


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_K_M", "Q8_0"])
def test_quantized_gguf_is_smaller_and_near(kind: str, nano: Checkpoint, tmp_path: Path) -> None:
    target = tmp_path / "nano.gguf"
    llama_cpp.convert(NANO, target, kind)
    assert list(tmp_path.iterdir()) == [target]
    assert target.stat().st_size < 0.6 * (NANO / "model.safetensors").stat().st_size
    assert 1e-6 < tail_kl(target, nano).mean() < 0.1


def test_peer_is_measured_as_a_bundle_is(tmp_path: Path, bundles: Mapping[str, Path]) -> None:
    path = tmp_path / "nano.gguf"
    llama_cpp.convert(NANO, path, "Q4_0")
    options = SpeedOptions(
        bundles=(bundles["onnx"],),
        peers=(path,),
        prompts=(8,),
        contexts=(150, 4000),
        threads=(1,),
        rounds=1,
        long_rounds=1,
        tokens=2,
        seed=0,
    )
    (order,) = options.schedule(tmp_path / "states")
    bundle, peer = (run_job(job) for job in sorted(order, key=lambda job: job.kind))
    assert len(list((tmp_path / "states").iterdir())) == 1
    assert (bundle.facts.label, peer.facts.label) == ("onnx int4 kv int8", "llama.cpp Q4_0")
    assert bundle.facts.parameters == peer.facts.parameters
    assert bundle.facts.context == peer.facts.context
    assert 2 * bundle.facts.kv_read_bytes(200) == peer.facts.kv_read_bytes(200)  # int8, float16
    assert peer.rates.keys() == bundle.rates.keys() == {"pp8", "tg2 @ d150"}


def test_a_jump_is_what_feeding_would_be(tmp_path: Path) -> None:
    path, states = tmp_path / "nano.gguf", tmp_path / "states"
    llama_cpp.convert(NANO, path, "F16")
    loading = Loading(path=path, context=1024, threads=1, states=states)
    ids = np.random.default_rng(1).integers(8, 10_000, 700).tolist()
    runner = llama_cpp.LlamaRunner(loading)
    expected = {}
    for depth in (150, 600):  # the second goes on from the first; both lie past the window
        runner.feed(ids[:depth], 0)
        expected[depth] = [runner.feed([ids[depth + i]], depth + i) for i in range(5)]
        runner.jump(ids[:depth])
    runner.close()
    assert len(list(states.iterdir())) == 2
    runner = llama_cpp.LlamaRunner(loading)
    for depth in (600, 150):
        before = {file: file.stat().st_mtime_ns for file in states.iterdir()}
        runner.jump(ids[:depth])
        found = [runner.feed([ids[depth + i]], depth + i) for i in range(5)]
        # batches were cut elsewhere, and keys are float16
        assert kl(np.stack(expected[depth]), np.stack(found)).max() < 1e-5
        assert before == {file: file.stat().st_mtime_ns for file in states.iterdir()}
    runner.close()


def test_bad_files_and_types_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF no more")
    with pytest.raises(ProgramError, match="expected a GGUF"):
        llama_cpp.LlamaRunner(Loading(path=tmp_path / "bad.gguf", context=None, threads=1))
    with pytest.raises(OptionError, match="known: F32, F16"):
        llama_cpp.convert(NANO, tmp_path / "x.gguf", "Q3")
