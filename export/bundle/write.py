"""Writes a bundle's files: tokenizer, proofs, and the manifest over them (runtime/FORMAT.md)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tinyaya.export.bundle.tokenizer_proof import Golden
from tinyaya.export.decoder.cache import cache_slots
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.decoder.model import tensor_shapes
from tinyaya.export.options import Limits
from tinyaya.export.source.checkpoint import Trim
from tinyaya.export.source.tokenizer import Tokenizer
from tinyaya.export.vocabulary.trim import ranges_of
from tinyaya.quantize.quantizer import QuantizedModel
from tinyaya.runtime.manifest import FORMAT, FORMAT_VERSION, MANIFEST_FILE, AdapterInfo, Preamble
from tinyaya.runtime.whole_file import file_sha256, whole_file

_NO_HASH = "0" * 64
GOLDEN_FILE, REPORT_FILE = "golden_tokens.json", "report.json"
_TOOLS = (
    "tinyaya-export", "torch", "executorch", "torchao", "onnx", "onnxscript", "onnxruntime",
    "tokenizers",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BundleContent:
    """All that goes into a bundle, but what is measured on the bundle itself.

    program: the file that `engine` opens. preamble: what sessions can start from. trim: where the
    model has only some tokens of its checkpoint's vocabulary. calibrated_for: languages that have
    half of the calibration text. source: the checkpoint on the Hub, where it came from there.
    adapters: what was merged into the weights, in order.
    """

    engine: str
    program: str
    model: QuantizedModel[DecoderConfig]
    limits: Limits
    tokenizer: Tokenizer
    golden: Golden
    preamble: Preamble | None = None
    trim: Trim | None = None
    calibrated_for: Sequence[str] = ()
    adapters: Sequence[AdapterInfo] = ()
    source: Mapping[str, str] | None = None


def write_tokenizer(folder: Path, tokenizer: Tokenizer, engine: str) -> None:
    """Write what the clients of `engine` read of a tokenizer."""
    write_json(folder / "tokenizer.json", tokenizer.definition_for(engine))
    template = {"chat_template": tokenizer.chat_template} if tokenizer.chat_template else {}
    write_json(folder / "tokenizer_config.json", {**tokenizer.config, **template})
    if tokenizer.chat_template:
        (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")


def write_reports(folder: Path, content: BundleContent) -> None:
    """Write the golden texts, and what quantization did to the weights."""
    write_json(folder / GOLDEN_FILE, content.golden)
    report = {role.value: asdict(row) for role, row in content.model.report.items()}
    write_json(folder / REPORT_FILE, {"weights": report})


def write_manifest(folder: Path, content: BundleContent, parity: Mapping[str, Any]) -> None:
    """Write the manifest over all files that are in `folder` now, each of which is hashed."""
    _write_manifest(folder, content, parity, file_sha256)


def write_draft(folder: Path, content: BundleContent) -> None:
    """Write a manifest without hashes, for engines to open what is not yet whole."""
    _write_manifest(folder, content, {}, lambda path: _NO_HASH)


def _write_manifest(
    folder: Path,
    content: BundleContent,
    parity: Mapping[str, Any],
    digest: Callable[[Path], str],
) -> None:
    config, tokenizer = content.model.config, content.tokenizer
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST_FILE)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "engine": content.engine,
        "program": content.program,
        "model": _model_info(config),
        "recipe": content.model.recipe.as_json(),
        "limits": asdict(content.limits),
        "cache": _cache_shapes(content),
        "tokens": _tokens(tokenizer),
        "sampling": dict(tokenizer.sampling),
        **({"preamble": asdict(content.preamble)} if content.preamble else {}),
        **({"vocabulary": _vocabulary(content.trim)} if content.trim else {}),
        **({"calibrated_for": list(content.calibrated_for)} if content.calibrated_for else {}),
        **({"adapters": [asdict(row) for row in content.adapters]} if content.adapters else {}),
        **({"source": dict(content.source)} if content.source else {}),
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": digest(path)} for path in files
        },
        "versions": {tool: version(tool) for tool in _TOOLS},
        "parity": dict(parity),
    }
    write_json(folder / MANIFEST_FILE, manifest)


def _cache_shapes(content: BundleContent) -> list[dict[str, Any]]:
    """One row a layer."""
    layers, scales = content.model.config.layers, content.model.cache_scales
    return [
        {
            "slots": cache_slots(layer, content.limits),
            "kv_heads": layer.kv_heads,
            "head_dim": layer.head_dim,
            "dtype": "int8" if scale else "float32",
        }
        for layer, scale in zip(layers, scales, strict=True)
    ]


def _tokens(tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "bos": tokenizer.bos,
        "pad": tokenizer.pad,
        "stop": list(tokenizer.stop),
        "unused": [list(gap) for gap in tokenizer.unused],
    }


def _vocabulary(trim: Trim) -> dict[str, Any]:
    """Which rows of the checkpoint's table the bundle's ids are, in order."""
    return {
        "languages": list(trim.languages),
        "keep": trim.keep,
        "rows": trim.whole.config.vocab_size,
        "kept": ranges_of(trim.kept),
    }


def store_quality(folder: Path, quality: Mapping[str, Any]) -> None:
    """Put the short form of a report into the manifest of a bundle."""
    path = folder / MANIFEST_FILE
    manifest = json.loads(path.read_text(encoding="utf-8"))
    with whole_file(path) as part:
        write_json(part, {**manifest, "quality": dict(quality)})


def _model_info(config: DecoderConfig) -> dict[str, Any]:
    attention = config.layers[0]
    return {
        "model_type": config.model_type,
        "layers": len(config.layers),
        "width": config.width,
        "heads": attention.heads,
        "kv_heads": attention.kv_heads,
        "head_dim": attention.head_dim,
        "vocab_size": config.vocab_size,
        "window": config.window,
        "parameters": parameter_count(config),
    }


def parameter_count(config: DecoderConfig) -> int:
    """Values in all tensors."""
    total = 0
    for shape in tensor_shapes(config).values():
        size = 1
        for length in shape:
            size *= length
        total += size
    return total


def write_json(path: Path, value: object) -> None:
    """Write `value`, readable and the same bytes every time."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
