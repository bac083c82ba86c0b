"""Reads a checkpoint: config, weights, tokenizer."""
