"""Folders as people have them: each is read as the plain one, and its ids are transformers'."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.published_folder import FORMS, MODELS, write_form
from tinyaya.export.bundle.tokenizer_proof import golden_tokens, prove_tokenizer
from tinyaya.export.bundle.write import write_tokenizer
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.export.source.tokenizer import hugging_face_encoder
from tinyaya.runtime import ChatTemplate

NANO = Path(__file__).parents[1] / "assets" / "nano"
CHAT = [{"role": "user", "content": "Habari 123?"}, {"role": "assistant", "content": "Nzuri."}]
COHERE_CLASSES = ("CohereTokenizerFast", "CohereTokenizer", None)


@pytest.fixture(scope="module")
def plain() -> Checkpoint:
    return open_checkpoint(NANO)


@pytest.mark.parametrize("linked", [False, True], ids=["files", "links"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_as_the_plain_one(
    form: str, linked: bool, plain: Checkpoint, tmp_path: Path
) -> None:
    found = open_checkpoint(write_form(NANO, tmp_path / "form", form, linked=linked))
    assert found.config == plain.config
    assert found.tokenizer == plain.tokenizer
    assert found.names == plain.names


@pytest.mark.parametrize("form", [*FORMS, *MODELS])
def test_golden_ids_and_chats_are_those_of_transformers(form: str, tmp_path: Path) -> None:
    """Where its own class for Cohere rebuilds the tokenizer, the file alone is the truth."""
    folder = write_form(NANO, tmp_path / "form", form)
    checkpoint, golden = open_checkpoint(folder), golden_tokens(hugging_face_encoder(folder))
    named = json.loads((folder / "tokenizer_config.json").read_text()).get("tokenizer_class")
    reader = PreTrainedTokenizerFast if named in COHERE_CLASSES else AutoTokenizer
    theirs = reader.from_pretrained(folder)
    for name, row in golden.items():
        assert theirs.encode(row["text"], add_special_tokens=False) == row["ids"], name
    if checkpoint.tokenizer.chat_template is None:
        assert theirs.chat_template is None
        return
    template = ChatTemplate(checkpoint.tokenizer.chat_template, checkpoint.tokenizer.config)
    if (other := folder / "chat_template.json").exists():  # transformers reads it in processors
        theirs.chat_template = json.loads(other.read_text())["chat_template"]
    text = theirs.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert template.render(CHAT) == text


@pytest.mark.parametrize("engine", ["onnx", "executorch"])
@pytest.mark.parametrize("form", FORMS)
def test_stock_clients_read_every_form(form: str, engine: str, tmp_path: Path) -> None:
    folder = write_form(NANO, tmp_path / "form", form)
    bundle, scratch = tmp_path / "bundle", tmp_path / "scratch"
    bundle.mkdir(), scratch.mkdir()
    write_tokenizer(bundle, open_checkpoint(folder).tokenizer, engine)
    golden = golden_tokens(hugging_face_encoder(folder))
    found = prove_tokenizer(golden, bundle, scratch, engine)
    assert found["tokenizers"] == found["pytorch_tokenizers"] == "77 of 77"
    assert found["onnxruntime-genai"] == "76 of 77"  # long numbers
