"""checkpoint -> bundle: read, quantize, trace, lower, prove and write; needs torch."""
