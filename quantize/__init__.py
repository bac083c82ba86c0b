"""Quantizes a model: precision by role, group-wise arithmetic; knows nothing of backends."""
