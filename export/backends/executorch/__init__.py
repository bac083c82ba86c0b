"""Makes a .pte that ExecuTorch's runners and our native library run."""
