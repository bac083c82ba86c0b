"""Measures speed, memory and quality of bundles, and compares them with other programs."""
