"""Estimates sizes, memory and speed before any work."""
