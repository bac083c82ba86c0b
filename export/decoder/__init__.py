"""Defines the architecture once: builds a decoder from config, weights and a backend's leaves."""
