"""Models and bundles that the tests of programs make, too."""

from tests.programs.conftest import ids, make_bundle, own_bundle

__all__ = ["ids", "make_bundle", "own_bundle"]
