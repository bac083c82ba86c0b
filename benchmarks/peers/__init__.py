"""Other programs that run the same weights, behind the benchmark's own interface."""
