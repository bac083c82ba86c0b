"""A sweep on a Ray cluster of two nodes on this machine."""

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.sweep.tasks import CHILD, make_task, wait_for_children
from tinyaya.export.errors import MissingExtraError
from tinyaya.export.sweep.cluster import run_on_cluster
from tinyaya.runtime.errors import OptionError

pytestmark = pytest.mark.serial

ROOT = Path(__file__).parents[2]
_NODES = ({"memory": 100_000_000}, {"memory": 300_000_000})
needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="ray is not installed: pip install 'tinyaya-export[cluster]'"
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster whose nodes have one CPU each, and these sizes."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for node in _NODES:
            cluster.add_node(num_cpus=1, object_store_memory=80_000_000, **node)
        yield cluster.address
    finally:
        cluster.shutdown()


@needs_ray
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_tasks_run_on_both_nodes_and_wait_for_their_group(address: str, tmp_path: Path) -> None:
    tasks = [
        *(make_task(str(index), peak_bytes=50_000_000) for index in range(4)),
        make_task("large", peak_bytes=200_000_000),
        make_task("fails", peak_bytes=1),
        *(make_task(name, group="int4") for name in ("onnx", "executorch")),
    ]
    said: dict[str, str] = {}
    run_on_cluster(
        address, tmp_path, tasks, lambda task, what: said.update({task.name: what}), CHILD
    )
    nodes = {name: what.rpartition(" on ")[2] for name, what in said.items() if " on " in what}
    assert said["fails-onnx"] == "the weights are not finite; export others"
    assert len(nodes) == len(tasks) - 1 and len(set(nodes.values())) == 2, said
    diary = [line.split() for line in (tmp_path / "diary").read_text().splitlines()]
    order = [(what, name) for what, name, *_ in diary if name.startswith("int4")]
    assert order.index(("end", "int4-onnx")) < order.index(("begin", "int4-executorch"))


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_task_larger_than_any_node_is_refused(address: str, tmp_path: Path) -> None:
    task = make_task("huge", peak_bytes=1_000_000_000)
    with pytest.raises(OptionError, match=r"1\.00 GB of memory, the largest node .* 0\.30 GB"):
        run_on_cluster(address, tmp_path, [task], lambda task, what: None, CHILD)


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_killed_sweep_ends_what_runs_on_the_cluster(address: str, tmp_path: Path) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.sweep.driver", tmp_path, address], cwd=ROOT
    )
    diary = tmp_path / "diary"
    while not diary.exists():
        assert driver.poll() is None
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    wait_for_children(tmp_path)
    settled = diary.read_text()
    time.sleep(2)
    assert diary.read_text() == settled, "children outlive the sweep"
    finished = {path.parent.name for path in tmp_path.glob(".sweep/*/result.json")}
    again = [sys.executable, "-m", "tests.sweep.driver", tmp_path, address]
    subprocess.run(again, cwd=ROOT, check=True)
    ends = [line.split()[1] for line in diary.read_text().splitlines() if line[:3] == "end"]
    assert all(ends.count(name) == 1 for name in finished)


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_absent_cluster_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no Ray cluster answers at 127"):
        run_on_cluster("127.0.0.1:1", tmp_path, [make_task("a")], lambda task, what: None, CHILD)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"tinyaya-export\[cluster\]"):
        run_on_cluster("auto", tmp_path, [make_task("a")], lambda task, what: None)
