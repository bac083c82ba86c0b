"""bundle and checkpoint -> how faithful the bundle's own program is, language by language."""
