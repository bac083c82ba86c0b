"""Trims the vocabulary: chooses tokens to keep, and makes the checkpoint that has only them."""
