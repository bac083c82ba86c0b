"""What the operating system knows and does: memory, packages, terminal."""
