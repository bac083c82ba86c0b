"""Writes a bundle: program, tokenizer, preamble, proofs and manifest (runtime/FORMAT.md)."""
