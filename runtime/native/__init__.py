"""C++ that runs a `.pte` without torch, and how it is built; `runtime.engines.native` calls it."""
