"""Fits quantized weights to text, layer by layer."""
