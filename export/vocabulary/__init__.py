"""Fewer tokens: which to keep, and the checkpoint that has only them."""
