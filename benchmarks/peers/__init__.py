"""Runs other programs on the same weights, behind the benchmark's own interface."""
