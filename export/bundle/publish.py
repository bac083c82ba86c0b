"""Publishes bundles on the Hugging Face Hub, with a model card that says what they are."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Template

from tinyaya.export.languages.table import LANGUAGES
from tinyaya.runtime import Bundle, open_bundle
from tinyaya.runtime.errors import HubError, OptionError
from tinyaya.runtime.hub.download import explained, quiet
from tinyaya.runtime.hub.ids import HubId, parse_id
from tinyaya.runtime.manifest import CHAT_TEMPLATE_FILE, MANIFEST_FILE, Manifest

_README = "README.md"


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """What a user chooses; base: the checkpoint's id. None: what the manifest and its card say."""

    private: bool = False
    base: str | None = None
    license: str | None = None


def publish(folder: Path, name: str, options: PublishOptions) -> str:
    """Upload the bundle in `folder`, or those below it, in one commit; the address.

    name: the model's, `org/name`. Raises BundleError where a file is not what was exported,
    OptionError and HubError.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    id_ = parse_id(name)
    if id_ is None or id_ != HubId(name=id_.name):
        raise OptionError(f"{name!r} cannot be a model's name; expected ORG/NAME")
    bundles = _bundles(folder)
    if not get_token():
        raise HubError("the Hub has to know who you are: `hf auth login`, or set HF_TOKEN")
    content: dict[str, Path | bytes] = {
        f"{below}{file}": bundle.folder / file
        for below, bundle in bundles.items()
        for file in (MANIFEST_FILE, *bundle.manifest.files)
    }
    content[_README] = model_card(id_.name, bundles, options).encode()
    with explained(id_), nullcontext() if sys.stderr.isatty() else quiet():
        api = HfApi()
        address = api.create_repo(id_.name, private=options.private or None, exist_ok=True)
        api.create_commit(
            id_.name,
            [CommitOperationAdd(path, source) for path, source in content.items()],
            commit_message=f"Bundles of tinyaya-export: {', '.join(_engines(bundles))}",
        )
    return str(address)


def _bundles(folder: Path) -> dict[str, Bundle]:
    """What comes before its files' names -> a bundle whose hashes agree."""
    if (folder / MANIFEST_FILE).exists():
        return {"": open_bundle(folder)}
    found = {
        f"{path.parent.name}/": open_bundle(path.parent)
        for path in sorted(folder.glob(f"*/{MANIFEST_FILE}"))
    }
    if not found:
        raise OptionError(f"{folder} holds no bundle; expected one, or a folder of bundles")
    return found


def model_card(name: str, bundles: Mapping[str, Bundle], options: PublishOptions) -> str:
    """Markdown with the front matter that the Hub reads; raises OptionError without a licence."""
    manifest = next(iter(bundles.values())).manifest
    source, trimmed = manifest.source or {}, manifest.vocabulary
    base = options.base or source.get("id")
    of_base = _of_base(base, options.license)
    codes = list(trimmed["languages"]) if trimmed else _listed(of_base.get("language"))
    engines = _engines(bundles)
    template = (files("tinyaya.export.bundle") / "model_card.md").read_text("utf-8")
    card: str = Template(template).render(
        front=_front_matter(base, of_base, codes, engines),
        id=name,
        name=name.partition("/")[2],
        base=base,
        commit=source.get("revision") if base == source.get("id") else None,
        license=of_base["license"],
        engines=engines,
        rows=[_row(below, bundle.manifest) for below, bundle in bundles.items()],
        languages=", ".join(LANGUAGES[c].name if c in LANGUAGES else c for c in codes),
        trimmed=bool(trimmed),
        chats=CHAT_TEMPLATE_FILE in manifest.files,
    )
    return card


def _front_matter(
    base: str | None, of_base: Mapping[str, Any], codes: Sequence[str], engines: Sequence[str]
) -> str:
    from huggingface_hub import ModelCardData

    licence: dict[str, Any] = {
        key: of_base.get(key) for key in ("license", "license_name", "license_link")
    }
    front = ModelCardData(
        base_model=base,
        base_model_relation="quantized" if base else None,
        language=list(dict.fromkeys(code.partition("-")[0] for code in codes)) or None,
        library_name="tinyaya-export",
        pipeline_tag="text-generation",
        tags=["tinyaya-export", *engines],
        **licence,
    )
    return f"{front}\n"


def _of_base(base: str | None, chosen: str | None) -> Mapping[str, Any]:
    """What the base model's card says, and the licence; raises OptionError where it is unknown."""
    said = _card_of(base) if base else {}
    if chosen:
        return {"license": chosen, "language": said.get("language")}
    if said.get("license"):
        return said
    raise OptionError(
        f"the licence of {base or 'the checkpoint'} is not known; give it with --license, as "
        "cc-by-nc-4.0 for Tiny Aya" + ("" if base else ", and the checkpoint's id with --base")
    )


def _card_of(base: str) -> Mapping[str, Any]:
    """What the front matter of the base model's card says; nothing where it cannot be read."""
    from huggingface_hub import model_info

    try:
        with explained(HubId(name=base)):
            card = model_info(base).card_data
    except HubError:
        return {}
    return vars(card) if card else {}


def _listed(value: object) -> list[str]:
    return [str(item) for item in (value if isinstance(value, list) else [value]) if item]


def _engines(bundles: Mapping[str, Bundle]) -> Sequence[str]:
    return list(dict.fromkeys(bundle.manifest.engine for bundle in bundles.values()))


def _row(below: str, manifest: Manifest) -> Mapping[str, str]:
    quality = manifest.quality
    size = sum(entry.bytes for entry in manifest.files.values())
    return {
        "folder": below.rstrip("/"),
        "engine": manifest.engine,
        "recipe": manifest.recipe.get("name", "own"),
        "size": f"{size / 1e9:.2f} GB" if size > 1e8 else f"{size / 1e6:.1f} MB",
        "context": f"{manifest.limits.context} tokens",
        "quality": "KL {mean_kl:.1e} nats over {languages} languages, worst {worst_language} "
        "{worst_kl:.1e}, {top1_agreement:.1%} same top-1".format(**quality)
        if quality
        else "not evaluated",
    }
