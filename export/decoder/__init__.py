"""The architecture, defined once: config, weights and a backend's leaf modules in, decoder out."""
