"""python -m tests.fuzz BUNDLE COUNT: mutate COUNT times over all targets, and say what came of it.

`folder` in place of a bundle: checkpoints' folders.

Seeds count up from 0, or from a third argument, so a failure can be had again; a fourth one names
the engine.
"""

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.fuzz.folders import FolderFuzzer
from tests.fuzz.targets import Fuzzer, Target


def main(bundle: str, count: str, first: str = "0", engine: str | None = None) -> None:
    """Fuzz a bundle; a traceback names the seed."""
    seen: Counter[tuple[str, bool]] = Counter()
    targets: Mapping[str, Target]
    with tempfile.TemporaryDirectory() as work:
        if bundle == "folder":
            targets = {"folder": FolderFuzzer(Path(work)).target}
        else:
            targets = Fuzzer(Path(bundle), Path(work), engine).targets()
        for seed in range(int(first), int(first) + int(count)):
            name = list(targets)[seed % len(targets)]
            try:
                seen[name, targets[name](random.Random(seed))] += 1
            except BaseException:
                sys.stderr.write(f"seed {seed}, {name}\n")
                raise
    for (name, good), times in sorted(seen.items()):
        sys.stdout.write(f"{name}: {times} {'went through' if good else 'refused by name'}\n")


main(*sys.argv[1:])
