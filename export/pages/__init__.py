"""Renders HTML pages that stand alone: no other files, no network."""
