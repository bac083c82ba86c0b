"""Bundles in, how fast they run on a machine out; no torch, so that a board can do it."""
