"""The command with less of something than it needs, from the moment it quantizes.

A limit of memory counts from what python, torch and the backends hold then. What they give back
later is taken off it, before each tensor that is read: threads of theirs end when they like.

Usage: python -m tests.cli.limited KIND BYTES ARGUMENT ...
"""

import resource
import sys
from pathlib import Path

from tinyaya.export import pipeline
from tinyaya.export.backends import BACKENDS, find_backend
from tinyaya.export.cli import app
from tinyaya.export.source.checkpoint import Checkpoint


def _held_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def main(kind: int, limit_bytes: int, arguments: list[str]) -> None:
    """Run it."""
    build, read = pipeline.build_quantized, Checkpoint.read

    def tighten() -> None:
        held_bytes = _held_bytes() if kind == resource.RLIMIT_AS else 0
        now, most = resource.getrlimit(kind)
        wanted = held_bytes + limit_bytes
        resource.setrlimit(
            kind, (wanted if now == resource.RLIM_INFINITY else min(now, wanted), most)
        )

    def build_limited(*given: object) -> object:
        tighten()
        Checkpoint.read = lambda *what: (tighten(), read(*what))[1]  # type: ignore[method-assign]
        return build(*given)  # type: ignore[arg-type]

    for name in BACKENDS:
        find_backend(name)
    pipeline.build_quantized = build_limited  # type: ignore[assignment]
    sys.argv = ["tinyaya-export", *arguments]
    app.main()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
