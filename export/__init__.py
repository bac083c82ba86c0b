"""Turns a checkpoint into a bundle: read, quantize, trace, lower, prove, write; needs torch."""
