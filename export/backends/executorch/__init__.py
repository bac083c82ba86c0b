"""A quantized model to a .pte that ExecuTorch's runners and our native library run."""
