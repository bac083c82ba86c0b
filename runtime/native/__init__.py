"""C++ that runs a `.pte` without torch, and how it is built; `engines.native` calls it."""
