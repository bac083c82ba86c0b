"""Builds the C++ library that runs a `.pte` without torch; `engines.native` calls it."""
