"""What a Hub, or the way to it, does not give: one line that says why, and the way out."""

import json
import resource
from pathlib import Path

import pytest

from tests.hub.conftest import MODEL, User, told
from tests.hub.server import Hub
from tinyaya.runtime.errors import HubError
from tinyaya.runtime.hub import download as ours
from tinyaya.runtime.hub.ids import HubId
from tinyaya.runtime.progress import Silent

GATED, PRIVATE = "org/gated", "org/private"


@pytest.fixture
def closed(hub: Hub) -> Hub:
    for name in (GATED, PRIVATE):
        (hub.repositories.folder / name).symlink_to(hub.repositories.folder / MODEL)
    hub.repositories.tokens, hub.repositories.private = {GATED: "mine"}, [PRIVATE]
    return hub


@pytest.mark.parametrize(
    ("source", "variables", "words"),
    [
        (GATED, {}, ("asks for its licence", f"/{GATED}", "hf auth login")),
        (GATED, {"HF_TOKEN": "other"}, ("asks for its licence", f"/{GATED}")),
        (PRIVATE, {}, ("neither a folder here nor a model", "private", "hf auth login")),
        ("org/absent", {}, ("org/absent is neither a folder here nor a model", "check its name")),
        (f"{MODEL}@v9", {}, (f"{MODEL} has no revision 'v9'", "branch, tag or commit")),
        (MODEL, {"HF_TOKEN": "expired"}, ("does not let this token", "hf auth login")),
        (MODEL, {"HF_HUB_OFFLINE": "1"}, ("is not whole in", "HF_HUB_OFFLINE")),
        (MODEL, {"HF_ENDPOINT": "http://127.0.0.1:9"}, ("no connection to http://127.0.0.1:9",)),
        ("./org/tiny", {}, ("org/tiny", "missing")),
        ("no-id", {}, ("no-id", "missing")),
        (MODEL, {}, (f"{MODEL} holds no bundle", f"{MODEL}:onnx")),
        (f"{MODEL}:original", {}, (f"{MODEL}:original holds no bundle",)),
    ],
)
def test_bundles(closed: Hub, user: User, source: str, variables: dict, words: tuple) -> None:
    told(user("inspect", source, **variables), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", GATED), ("asks for its licence",)),
        (("export", GATED, "--out", "out"), ("asks for its licence",)),
        (("export", "no-id", "--out", "out"), ("no-id is not a folder", "CohereLabs/tiny-aya")),
        (("plan", f"{MODEL}@v9"), ("no revision 'v9'",)),
        (("sensitivity", "org/absent", "--out", "out"), ("org/absent is neither",)),
        (("recipe", "--budget", "1MB", "--source", "org/absent"), ("org/absent is neither",)),
        (("evaluate", "BUNDLE", "--against", "org/absent"), ("org/absent is neither",)),
        (("verify", "BUNDLE", "--against", "org/absent"), ("org/absent is neither",)),
    ],
)
def test_checkpoints(closed: Hub, user: User, bundle: Path, arguments: tuple, words: tuple) -> None:
    told(user(*(bundle if word == "BUNDLE" else word for word in arguments)), *words)
    assert not (user.home / "out").exists()


def test_plan_of_weights_that_are_none(hub: Hub, user: User) -> None:
    (hub.repositories.folder / MODEL / "model.safetensors").write_bytes(b"no header at all")
    told(user("plan", MODEL), MODEL)
    (hub.repositories.folder / MODEL / "model.safetensors").unlink()
    told(user("plan", MODEL), MODEL)


def test_plan_writes_nothing_where_an_index_leads_elsewhere(hub: Hub, user: User) -> None:
    place = hub.repositories.folder / MODEL
    (place / "model.safetensors").rename(place / "original/model.safetensors")
    away = "../../../../away/original/model.safetensors"
    for shard in ("original/model.safetensors", away):
        index = {"weight_map": {"model.norm.weight": shard}}
        (place / "model.safetensors.index.json").write_text(json.dumps(index))
        told(user("plan", MODEL), MODEL.replace("/", "--") if shard != away else MODEL[:3])


def test_a_full_disk_is_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**9}))
    with pytest.raises(HubError, match=r"org/tiny needs 6\.70 GB more in .* has 1\.00 GB left"):
        ours._check_disk(HubId(name=MODEL), 6_700_000_000)


def test_a_file_that_cannot_be_written(hub: Hub, user: User) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limit[1]))
    try:
        told(user("export", MODEL, "--out", "out"), MODEL, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(user.cache.rglob("*.incomplete"))


def test_a_connection_that_stays_away_is_tried_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2

    tried, noted = [], []

    def lost(*given: object) -> Path:
        tried.append(given)
        raise httpx2.ReadError("gone")

    monkeypatch.setattr(ours, "_snapshot", lost)
    progress = Silent()
    monkeypatch.setattr(progress, "note", noted.append, raising=False)
    with pytest.raises(HubError, match="no connection"):
        ours.download(HubId(name=MODEL), ["*"], progress)
    assert len(tried) == 3 and len(noted) == 2
