"""Speed, memory and quality of bundles, and what they are compared with."""
