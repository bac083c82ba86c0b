"""Judges how faithful a bundle's own program is, language by language."""
