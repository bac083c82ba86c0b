"""Measures how fast bundles run on a machine; without torch, so that a board can do it."""
