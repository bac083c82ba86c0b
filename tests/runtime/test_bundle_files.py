"""A broken bundle is refused with an error that names what is broken."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import manifest, write_manifest

from tinyaya.runtime import (
    BundleError,
    ChangedFileError,
    EngineMissingError,
    ManifestError,
    MissingFileError,
    OptionError,
    ProgramError,
    VersionError,
    open_bundle,
)

Raw = dict[str, Any]


def edit(folder: Path, change: Callable[[Raw], object]) -> None:
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def test_a_good_bundle_opens(folder: Path) -> None:
    bundle = open_bundle(str(folder))
    assert bundle.manifest.tokens.stop == (3, 4)
    assert bundle.manifest.model.window == 8
    assert bundle.manifest.cache[1].slots == 40


def test_unknown_keys_and_unlisted_files_are_ignored(folder: Path) -> None:
    edit(folder, lambda raw: raw.update(later=1) or raw["model"].update(later=2))
    (folder / "notes.txt").write_text("mine")
    open_bundle(folder)


def test_keys_that_may_be_missing(folder: Path) -> None:
    raw = manifest()
    del raw["parity"], raw["model"]["window"]
    raw["cache"][0]["slots"] = raw["limits"]["context"]
    assert open_bundle(write_manifest(folder, raw)).manifest.model.window is None


def test_a_preamble(folder: Path) -> None:
    edit(folder, lambda raw: raw.update(preamble={"ids": [2, 9], "file": "model.onnx"}))
    preamble = open_bundle(folder).manifest.preamble
    assert preamble is not None and preamble.ids == (2, 9) and preamble.file == "model.onnx"
    edit(folder, lambda raw: raw.update(preamble={"ids": [2] * 8, "file": None}))
    open_bundle(folder)
    edit(folder, lambda raw: raw.update(preamble=None))
    assert open_bundle(folder).manifest.preamble is None


@pytest.mark.parametrize(
    ("preamble", "message"),
    [
        ({}, "no key 'ids'"),
        ({"ids": 2}, "expected list"),
        ({"ids": []}, "0 ids; expected 1 to 8"),
        ({"ids": [2] * 9}, "9 ids; expected 1 to 8"),  # the window
        ({"ids": [2, 264]}, "id 264; expected 0 to 263"),
        ({"ids": [2, -1]}, "id -1"),
        ({"ids": [2], "file": "preamble.npy"}, r"does not list 'preamble\.npy'"),
        ({"ids": [2], "file": 1}, "expected str"),
    ],
)
def test_a_preamble_that_cannot_be(folder: Path, preamble: object, message: str) -> None:
    edit(folder, lambda raw: raw.update(preamble=preamble))
    with pytest.raises(ManifestError, match=message):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "tokenizer_config.json"])
def test_a_changed_byte(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ChangedFileError, match=f"{name}.*SHA-256"):
        open_bundle(folder)
    open_bundle(folder, check_hashes=False)


def test_a_changed_size_is_found_without_hashes(folder: Path) -> None:
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ChangedFileError, match="17 bytes, its manifest says 13"):
        open_bundle(folder, check_hashes=False)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "tokenizer_config.json"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingFileError, match=name):
        open_bundle(folder)


def test_a_folder_in_place_of_a_file(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()
    with pytest.raises(MissingFileError, match=r"model\.onnx is missing or not a file"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_link_out_of_the_folder(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(MissingFileError, match="outside the bundle"):
        open_bundle(folder)


def test_a_link_within_the_folder_and_to_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "model.onnx").rename(folder / "real")
    (folder / "model.onnx").symlink_to("real")
    (tmp_path / "link").symlink_to(folder)
    open_bundle(tmp_path / "link")


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "sub/x", "..", ".", "", "C:x", "a\\b", "a\0b", "a\n", "x.",
     "manifest.json"],
)  # fmt: skip
def test_a_name_that_is_not_plain(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(b"")
    row = {"bytes": 0, "sha256": "0" * 64}
    edit(folder, lambda raw: raw["files"].update({name: row}))
    with pytest.raises(ManifestError, match="plain names"):
        open_bundle(folder)


def test_a_program_outside_the_folder(folder: Path) -> None:
    edit(folder, lambda raw: raw.update(program=os.path.join("..", "model.onnx")))  # noqa: PTH118
    with pytest.raises(ManifestError, match="files does not list"):
        open_bundle(folder)


@pytest.mark.parametrize("version", [0, 2, "1", True, 1.0, None])
def test_an_unknown_version(folder: Path, version: object) -> None:
    edit(
        folder,
        lambda raw: (raw.clear(), raw.update(format="tinyaya-bundle", format_version=version)),
    )
    with pytest.raises(VersionError, match="this runtime reads 1"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"format": "other"}', "[" * 100_000],
)
def test_what_is_no_manifest(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [('"later": NaN', "NaN is not JSON"), ('"engine": "onnx"', "a key is there twice")],
)
def test_json_that_readers_take_differently(folder: Path, row: str, message: str) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:-1] + f", {row}}}")
    with pytest.raises(ManifestError, match=message):
        open_bundle(folder)


def test_a_manifest_that_is_not_utf8(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ManifestError, match="not JSON"):
        open_bundle(folder)


REQUIRED = [
    key for key in [*manifest(), "files"] if key not in ("format", "format_version", "parity")
]


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key(folder: Path, key: str) -> None:
    edit(folder, lambda raw: raw.pop(key))
    with pytest.raises(ManifestError, match=f"manifest has no key '{key}'"):
        open_bundle(folder)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_mistyped_key(folder: Path, key: str) -> None:
    edit(folder, lambda raw: raw.update({key: 7}))
    with pytest.raises(ManifestError, match=rf"manifest\.{key} is '7' \(int\); expected"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["limits"].pop("chunk"), r"manifest\.limits has no key 'chunk'"),
        (lambda raw: raw["limits"].update(chunk=True), r"limits\.chunk is 'True' \(bool\)"),
        (lambda raw: raw["limits"].update(chunk=0), r"limits\.chunk is 0; expected 1 to"),
        (lambda raw: raw["limits"].update(chunk=41), "chunk 41 and context 40"),
        (lambda raw: raw["model"].update(width=8.0), r"model\.width is '8.0' \(float\)"),
        (lambda raw: raw["model"].update(layers=3), "cache has 2 layers, model.layers is 3"),
        (lambda raw: raw["cache"][0].update(slots=7), "at least 8 slots"),
        (lambda raw: raw["cache"][1].update(head_dim=0), r"cache\[1\]\.head_dim is 0; expected 1"),
        (lambda raw: raw["tokens"].update(stop=[3, "4"]), r"tokens\.stop\[1\] is '4' \(str\)"),
        (lambda raw: raw["tokens"].update(bos=264), "id 264; expected 0 to 263"),
        (lambda raw: raw["tokens"].update(unused=[[1, 2, 3]]), r"unused\[0\] has 3 items"),
        (lambda raw: raw["tokens"].update(unused=[[5, 4]]), r"\[5, 4\]"),
        (lambda raw: raw["sampling"].update(temperature=-1), "temperature is -1"),
        (lambda raw: raw["sampling"].update(top_k=-1), "top_k is -1"),
        (lambda raw: raw["sampling"].update(top_p=0), "top_p is 0"),
        (lambda raw: raw["files"].pop("tokenizer.json"), "does not list 'tokenizer.json'"),
        (lambda raw: raw["files"]["model.onnx"].update(sha256="0" * 63), "64 lower-case hex"),
        (lambda raw: raw.update(engine="tflite"), "'tflite'; known: onnx, executorch"),
    ],
)
def test_values_that_cannot_be(folder: Path, change: Callable[[Raw], object], message: str) -> None:
    edit(folder, change)
    with pytest.raises(ManifestError, match=message):
        open_bundle(folder)


def test_a_tokenizer_that_is_none(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    bundle = open_bundle(write_manifest(folder, manifest()))
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer"):
        _ = bundle.tokenizer


@pytest.mark.parametrize("engine", ["onnx", "executorch"])
def test_a_program_that_does_not_load(folder: Path, engine: str) -> None:
    bundle = open_bundle(write_manifest(folder, manifest() | {"engine": engine}))
    with pytest.raises(ProgramError, match=r"does not load .*model\.onnx"):
        bundle.session()
    with pytest.raises(OptionError, match="threads is 0"):
        bundle.session(threads=0)


def test_an_engine_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tinyaya.runtime.engines.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineMissingError, match="pip install onnxruntime"):
        open_bundle(folder).session()
