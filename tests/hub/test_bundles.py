"""Bundles on the Hub: pushed with a card, and run by their id."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.hub.conftest import BUNDLE, MODEL, TOKEN, User, told
from tests.hub.server import Hub
from tinyaya.runtime import MissingFileError, open_bundle
from tinyaya.runtime.hub.ids import kept_at, origin

AS_WRITER = {"HF_TOKEN": TOKEN}
ASK = ("--prompt", "Habari", "--max-tokens", 3, "--temperature", 0)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _card(hub: Hub, name: str = BUNDLE) -> tuple[dict, str]:
    text = (hub.repositories.folder / name / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_a_bundle_is_pushed_and_run(hub: Hub, user: User, bundle: Path) -> None:
    given = ("--base", MODEL, "--license", "mit", "--private")
    pushed = user("push", bundle, BUNDLE, *given, **AS_WRITER)
    assert (pushed.out, pushed.err) == (f"{hub.address}/{BUNDLE}\n", "")
    there = _hashes(hub.repositories.folder / BUNDLE)
    del there["README.md"]
    assert there == _hashes(bundle) and BUNDLE in hub.repositories.private
    front, body = _card(hub)
    assert (front["base_model"], front["license"]) == (MODEL, "mit")
    assert f"tinyaya-export run {BUNDLE} --chat" in body and "`int8`" in body

    local = user("run", bundle, *ASK).out
    assert user("run", BUNDLE, *ASK, **AS_WRITER).out == local != ""
    assert user("verify", BUNDLE, **AS_WRITER).code == 0
    hub.requests.clear()
    assert user("run", BUNDLE, *ASK, HF_HUB_OFFLINE="1").out == local and hub.requests == []
    told(user("run", BUNDLE, *ASK, HF_HOME=str(user.home / "other")), "private")


def test_a_folder_of_bundles(hub: Hub, user: User, bundle: Path, tmp_path: Path) -> None:
    """With what the manifest says of quality, and a card that says what the base model's says."""
    (hub.repositories.folder / MODEL / "README.md").write_text(
        "---\nlicense: cc-by-nc-4.0\nlanguage: [sw, zh-Hant]\n---\n# Tiny\n"
    )
    both, means = tmp_path / "both", ("mean_kl", "worst_kl", "top1_agreement")
    for name in ("onnx", "other"):
        shutil.copytree(bundle, both / name)
    manifest = json.loads((both / "onnx/manifest.json").read_text())
    manifest["source"] = {"id": MODEL, "revision": "0" * 40}
    quality = dict.fromkeys(means, 0.25) | {"languages": 2, "worst_language": "sw"}
    (both / "onnx/manifest.json").write_text(json.dumps(manifest | {"quality": quality}))
    assert user("push", both, BUNDLE, **AS_WRITER).code == 0
    front, body = _card(hub)
    assert front["license"] == "cc-by-nc-4.0" and front["language"] == ["sw", "zh"]
    assert front["base_model"] == MODEL and "onnx" in front["tags"]
    expected = ("CC-BY-NC allows no commercial use", "0" * 40, "worst sw 2.5e-01", "Swahili")
    assert all(words in body for words in (*expected, f"{BUNDLE}:onnx", "not evaluated"))
    told(user("inspect", BUNDLE), "holds the bundles onnx, other", f"{BUNDLE}:onnx")
    hub.requests.clear()
    assert user("inspect", f"{BUNDLE}:onnx").code == 0
    assert not hub.asked("GET", "other/model") and hub.asked("GET", "onnx/model")
    assert user("plan", f"{BUNDLE}@main:onnx").out.startswith("onnx, int8")
    hub.requests.clear()
    assert user("push", both, BUNDLE, **AS_WRITER).code == 0  # again


@pytest.mark.parametrize(
    ("options", "variables", "words"),
    [
        (("--license", "mit"), {}, ("has to know who you are", "hf auth login")),
        ((), AS_WRITER, ("licence", "--license", "--base")),
        (("--license", "mit"), {"HF_TOKEN": "stranger"}, ("does not let this token", BUNDLE)),
    ],
)
def test_what_cannot_be_pushed(
    hub: Hub, user: User, bundle: Path, options: tuple, variables: dict, words: tuple
) -> None:
    told(user("push", bundle, BUNDLE, *options, **variables), *words)
    assert not (hub.repositories.folder / BUNDLE).exists()


def test_a_bundle_that_changed_is_not_pushed(
    hub: Hub, user: User, bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(bundle, tmp_path / "changed")
    (tmp_path / "changed/report.json").write_bytes((bundle / "report.json").read_bytes()[::-1])
    told(user("push", tmp_path / "changed", BUNDLE, **AS_WRITER), "report.json", "another SHA-256")
    told(user("push", tmp_path, BUNDLE, **AS_WRITER), "another SHA-256")
    told(user("push", hub.repositories.folder, BUNDLE, **AS_WRITER), "holds no bundle")
    told(user("push", bundle, "no-name", **AS_WRITER), "'no-name'", "ORG/NAME")
    assert hub.requests == []


def test_links_lead_to_what_the_cache_keeps_and_nowhere_else(bundle: Path, tmp_path: Path) -> None:
    model = tmp_path / "models--org--aya"
    folder, blobs = model / "snapshots" / ("a" * 40) / "onnx", model / "blobs"
    folder.mkdir(parents=True), blobs.mkdir()
    for path in bundle.iterdir():
        shutil.copy(path, blobs / path.name)
        (folder / path.name).symlink_to(blobs / path.name)
    assert open_bundle(folder).session(threads=1).position == 0
    assert origin(folder) == {"id": "org/aya", "revision": "a" * 40}
    assert origin(bundle) is None and kept_at(bundle) == ()
    shutil.copy(bundle / "report.json", tmp_path)
    (folder / "report.json").unlink()
    (folder / "report.json").symlink_to(tmp_path / "report.json")
    with pytest.raises(MissingFileError, match="outside the bundle"):
        open_bundle(folder)
