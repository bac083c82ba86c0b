"""A checkpoint by its id: what is asked of the Hub, what comes, and what is written of it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import NANO
from tests.hub.conftest import MODEL, User
from tests.hub.server import Hub
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.runtime.hub.ids import HubId, parse_id, read_id

WEIGHTS = "model.safetensors"


def _manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_a_bundle_is_that_of_the_folder(hub: Hub, user: User, bundle: Path) -> None:
    """But that it says where it came from; and no file was asked for that is not read."""
    options = ("--recipe", "int8", "--preamble", "none")
    result = user("export", MODEL, "--out", "out", *options)
    assert result.code == 0, result.err
    shown = [line for line in result.err.splitlines() if line.startswith(f"download {MODEL}, ")]
    assert len(shown) == 1 and ", 0.0 of 3.6 MB" in shown[0]
    asked = {path.rpartition("/")[2] for path in hub.asked("GET", f"/{MODEL}/")}
    asked -= {"main", *(commit for _, commit in hub.repositories._commits)}
    tokenizer = {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert asked == {"config.json", WEIGHTS, *tokenizer} and not hub.asked("GET", "original")
    made, local = _manifest(user.home / "out"), _manifest(bundle)
    commit, _ = hub.repositories.find(MODEL, "main")
    assert made.pop("source") == {"id": MODEL, "revision": commit}
    assert made == local
    assert f"{MODEL} at {commit}" in user("inspect", "out", COLUMNS="200").out


def test_a_download_that_is_cut_twice_goes_on(hub: Hub, user: User) -> None:
    """The client writes 10 MiB at a time, and asks for what follows them."""
    shutil.copytree(NANO, hub.repositories.folder / "org/nano")
    hub.cuts = [13_000_000, 19_000_000]
    found = user.finds("org/nano")
    assert (found / WEIGHTS).read_bytes() == (NANO / WEIGHTS).read_bytes() and hub.cuts == []
    ranges = [h.get("range") for method, path, h in hub.requests if "/cdn/" in path]
    assert ranges == [None, *[f"bytes={10 << 20}-"] * 2]
    assert not list(user.cache.rglob("*.incomplete"))


def test_what_came_is_not_asked_for_again(hub: Hub, user: User) -> None:
    assert user("plan", MODEL).code == 0
    assert hub.asked("GET", "tokenizer.json")
    hub.requests.clear()
    folder = user.finds(MODEL)
    assert hub.asked("GET", "/cdn/") and not hub.asked("GET", "tokenizer.json")
    hub.requests.clear()
    assert user.finds(MODEL) == folder
    assert [path for path in hub.asked("GET", "/") if "/api/" not in path] == []
    hub.requests.clear()
    assert user.finds(MODEL, HF_HUB_OFFLINE="1") == folder
    assert user("plan", MODEL, HF_HUB_OFFLINE="1").code == 0 and hub.requests == []
    assert user.finds(MODEL, HF_ENDPOINT="http://127.0.0.1:9") == folder  # nobody is there


@pytest.mark.parametrize("sharded", [False, True])
def test_plan_reads_sizes_alone(hub: Hub, user: User, shallow: Checkpoint, sharded: bool) -> None:
    place = hub.repositories.folder / MODEL
    if sharded:
        _shard(place)
    found, local = (user("plan", source, "--json").json for source in (MODEL, shallow.folder))
    for planned in (found, local):
        planned.pop("verdict")  # says what is free just now
    assert found == local
    assert all("range" in h for method, path, h in hub.requests if "/cdn/" in path)
    assert len(hub.asked("GET", "/cdn/")) == 1 + sharded
    assert not list(user.cache.rglob("*.safetensors"))
    assert not [path for path in hub.asked("GET", "/api/") if MODEL not in path]


def _shard(place: Path) -> None:
    """The same weights in two files with an index."""
    tensors = load_file(place / WEIGHTS)
    names = sorted(tensors)
    shards = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, place / file)
    index = {name: file for file, part in shards.items() for name in part}
    (place / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": index}))
    (place / WEIGHTS).unlink()


def test_a_revision_is_what_it_names(hub: Hub, user: User) -> None:
    """A tag, a branch that moves on, and a commit."""
    place = hub.repositories.folder / MODEL
    shutil.copytree(place, place.with_name("tiny@v1"))

    def found(source: str) -> tuple[str, str]:
        folder = user.finds(source)
        return folder.name, (folder / "generation_config.json").read_text()

    tagged = found(f"{MODEL}@v1")
    for text in ("{}", '{"do_sample": false}'):
        (place / "generation_config.json").write_text(text)
        commit, _ = hub.repositories.find(MODEL, "main")
        assert found(MODEL) == (commit, text) != tagged
    assert found(f"{MODEL}@v1") == found(f"{MODEL}@{tagged[0]}") == tagged


def test_a_folder_wins(hub: Hub, user: User, shallow: Checkpoint) -> None:
    shutil.copytree(shallow.folder, user.home / MODEL)
    assert user("plan", MODEL).code == 0
    assert "org/other is not a folder" in user("plan", "org/other").err  # its neighbour is here
    assert hub.requests == []


def test_variables_are_respected(hub: Hub, user: User, tmp_path: Path) -> None:
    """And the token goes to the Hub alone, not to where it keeps large files."""
    hub.repositories.tokens = {MODEL: "mine"}
    places = {"HF_HOME": str(tmp_path / "a"), "HF_TOKEN": "mine"}
    user.finds(MODEL, **places)
    assert (tmp_path / "a/hub/models--org--tiny").is_dir()
    places["HF_HUB_CACHE"] = str(tmp_path / "b")
    user.finds(MODEL, **places)
    assert list(tmp_path.glob("b/models--org--tiny/snapshots/*/*.safetensors"))
    assert not (user.home / ".cache").exists()
    tokens = {"/cdn/" in path: h.get("authorization") for _, path, h in hub.requests}
    assert tokens == {False: "Bearer mine", True: None}


def test_a_slow_hub_is_asked_again(hub: Hub, user: User) -> None:
    commit, _ = hub.repositories.find(MODEL, "main")
    hub.stalls = [f"/cdn/{MODEL}/{commit}/{WEIGHTS}"]
    assert (user.finds(MODEL, HF_HUB_DOWNLOAD_TIMEOUT="1") / WEIGHTS).is_file()
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


def test_adapters_and_merges_take_ids(hub: Hub, user: User, shallow: Checkpoint) -> None:
    name = "model.layers.0.self_attn.q_proj"
    rows, columns = shallow.shapes[f"{name}.weight"]
    place = hub.repositories.folder / "org/lora"
    place.mkdir()
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}
    (place / "adapter_config.json").write_text(json.dumps(config))
    (place / "notes.bin").write_bytes(b"not needed")
    halves = {"A": torch.ones(1, columns), "B": torch.full((rows, 1), 0.25)}
    tensors = {f"base_model.model.{name}.lora_{half}.weight": x for half, x in halves.items()}
    save_file(tensors, place / "adapter_model.safetensors")
    options = ("--recipe", "int8", "--preamble", "none", "--no-verify", "--adapter", "org/lora")
    result = user("export", MODEL, "--out", "out", *options)
    assert result.code == 0, result.err
    assert [row["name"] for row in _manifest(user.home / "out")["adapters"]] == ["org/lora"]
    assert not hub.asked("GET", "notes.bin")

    again = hub.repositories.folder / "org/again"
    shutil.copytree(shallow.folder, again)
    weights = load_file(again / WEIGHTS)
    save_file({key: 3 * x for key, x in weights.items()}, again / WEIGHTS)
    merged = user("merge", "both", "--method", "linear", f"{MODEL}:1", "org/again@main:1")
    assert merged.code == 0, merged.err
    found = open_checkpoint(user.home / "both")
    torch.testing.assert_close(found.read(f"{name}.weight"), 2 * weights[f"{name}.weight"])
