"""Read a long text once, keep it, ask of it twice: python examples/saved_session.py BUNDLE."""

import sys
import tempfile
import time
from pathlib import Path

from tinyaya.runtime import complete, open_bundle

session = open_bundle(sys.argv[1]).session()
text = "All human beings are born free and equal in dignity and rights. " * 20
started = time.perf_counter()
session.prefill(session.tokenizer.encode(text))
print(f"read {session.position} tokens in {time.perf_counter() - started:.3f} s")
with tempfile.TemporaryDirectory() as folder:
    session.save(Path(folder) / "read.session")
    for question in ("They are", "Everyone has"):
        started = time.perf_counter()
        session.load(Path(folder) / "read.session")
        print(f"restored in {time.perf_counter() - started:.3f} s")
        print(complete(session, question, max_tokens=8).text)
