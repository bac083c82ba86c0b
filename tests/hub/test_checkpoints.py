"""A checkpoint by its id: what is asked of the Hub, what comes, and what is written of it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.hub.conftest import DOWNLOAD, MODEL, User, told
from tests.hub.server import Hub
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime.hub import HubId, parse_id, read_id

EXPORT = ("export", MODEL, "--recipe", "int8", "--preamble", "none", "--out", "out")
WEIGHTS = "model.safetensors"


def _manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_a_download_that_is_cut_twice_goes_on(
    hub: Hub, user: User, shallow: Checkpoint, bundle: Path
) -> None:
    """And its bundle is that of the folder, but that it says where it came from."""
    size = (shallow.folder / WEIGHTS).stat().st_size
    hub.cuts = [size // 3, 2 * size // 3]
    result = user(*EXPORT)
    assert result.code == 0, result.err
    shown = [line for line in result.err.splitlines() if line.startswith(f"download {MODEL}: ")]
    assert shown[0].endswith(f": 0.0 of {shown[-1].split()[-2]} MB")
    assert shown[-1].split()[-4] == shown[-1].split()[-2]
    ranges = [h.get("range") for method, path, h in hub.requests if "/cdn/" in path]
    assert len(ranges) == 3 and all(ranges[1:]) and hub.cuts == []
    assert hub.sent < size + 2_000_000  # nothing twice; the tokenizer is the rest
    assert not hub.asked("GET", "bin") + hub.asked("GET", "gguf") + hub.asked("GET", "original")
    made, local = _manifest(user.home / "out"), _manifest(bundle)
    commit, _ = hub.repositories.find(MODEL, "main")
    assert made.pop("source") == {"id": MODEL, "revision": commit}
    assert made == local
    assert f"{MODEL} at {commit}" in user("inspect", "out", COLUMNS="200").out


def test_what_came_is_not_asked_for_again(hub: Hub, user: User) -> None:
    assert user("plan", MODEL).code == 0
    hub.requests.clear()
    told(user(*DOWNLOAD), "context 9999")
    assert hub.asked("GET", "/cdn/")
    hub.requests.clear()
    told(user(*DOWNLOAD), "context 9999")
    assert [path for path in hub.asked("GET", "/") if "/api/" not in path] == []
    hub.requests.clear()
    told(user(*DOWNLOAD, HF_HUB_OFFLINE="1"), "context 9999")
    assert user("plan", MODEL, HF_HUB_OFFLINE="1").code == 0 and hub.requests == []


@pytest.mark.parametrize("sharded", [False, True])
def test_plan_reads_sizes_alone(hub: Hub, user: User, shallow: Checkpoint, sharded: bool) -> None:
    place = hub.repositories.folder / MODEL
    if sharded:
        _shard(place)
    found = user("plan", MODEL, "--json")
    assert found.json == user("plan", shallow.folder, "--json").json
    assert all("range" in h for method, path, h in hub.requests if "/cdn/" in path)
    assert len(hub.asked("GET", "/cdn/")) == 1 + sharded
    assert not list(user.cache.rglob("*.safetensors"))
    assert not [path for path in hub.asked("GET", "/api/") if MODEL not in path]


def _shard(place: Path) -> None:
    """The same weights in two files with an index."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(place / WEIGHTS)
    names = sorted(tensors)
    shards = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, place / file)
    index = {name: file for file, part in shards.items() for name in part}
    (place / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": index}))
    (place / WEIGHTS).unlink()


def test_a_revision_is_what_it_names(hub: Hub, user: User) -> None:
    """A tag, and a branch that moves on."""
    place = hub.repositories.folder / MODEL
    shutil.copytree(place, place.with_name("tiny@v1"))
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 256}))

    def planned(source: str) -> str:
        return user("plan", source).out.splitlines()[0]

    before = planned(MODEL)
    assert "context 256" in before and "context 128" in planned(f"{MODEL}@v1")
    (place / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 512}))
    assert "context 512" in planned(MODEL)
    commit, _ = hub.repositories.find(MODEL, "v1")
    assert "context 128" in planned(f"{MODEL}@{commit}")


def test_a_folder_wins(hub: Hub, user: User, shallow: Checkpoint) -> None:
    shutil.copytree(shallow.folder, user.home / MODEL)
    assert user("plan", MODEL).code == 0
    assert "org/other is not a folder" in user("plan", "org/other").err  # its neighbour is here
    assert hub.requests == []


def test_variables_are_respected(hub: Hub, user: User, tmp_path: Path) -> None:
    """And the token goes to the Hub alone, not to where it keeps large files."""
    hub.repositories.tokens = {MODEL: "mine"}
    places = {"HF_HOME": str(tmp_path / "a"), "HF_TOKEN": "mine"}
    assert user("plan", MODEL, **places).code == 0
    assert (tmp_path / "a/hub/models--org--tiny").is_dir()
    places["HF_HUB_CACHE"] = str(tmp_path / "b")
    told(user(*DOWNLOAD, **places), "context 9999")
    assert list(tmp_path.glob("b/models--org--tiny/snapshots/*/*.safetensors"))
    assert not (user.home / ".cache").exists()
    tokens = {"/cdn/" in path: h.get("authorization") for _, path, h in hub.requests}
    assert tokens == {False: "Bearer mine", True: None}


def test_a_slow_hub_is_asked_again(hub: Hub, user: User) -> None:
    commit, _ = hub.repositories.find(MODEL, "main")
    hub.stalls = [f"/cdn/{MODEL}/{commit}/{WEIGHTS}"]
    told(user(*DOWNLOAD, HF_HUB_DOWNLOAD_TIMEOUT="1"), "context 9999")
    assert hub.stalls == []
    assert len(hub.asked("GET", "/cdn/")) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("org/name", HubId(name="org/name")),
        ("org/name@v1", HubId(name="org/name", revision="v1")),
        ("org/name@refs/pr/3:onnx", HubId(name="org/name", revision="refs/pr/3", folder="onnx")),
        ("org/name:a/b", HubId(name="org/name", folder="a/b")),
        *((text, None) for text in ("name", "./org/name", "/org/name", "~/name", "a/b/c", "a/b:",
                                    "a/..", "../a", "a/b:../c", "a b/c", "org/name@", "")),
    ],
)  # fmt: skip
def test_ids(text: str, found: HubId | None) -> None:
    assert parse_id(text) == read_id(text) == found


def test_a_path_is_no_id() -> None:
    assert read_id(Path("org/name")) is None
