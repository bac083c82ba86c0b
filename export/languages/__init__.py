"""Knows the 70 languages: names, regions, scripts, regional variants and texts."""
