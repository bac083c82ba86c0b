"""Merges checkpoints of one shape into one."""
