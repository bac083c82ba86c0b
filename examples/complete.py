"""Continue a text: python examples/complete.py BUNDLE."""

import sys

from tinyaya.runtime import complete, open_bundle

session = open_bundle(sys.argv[1]).session()
complete(session, "Habari ya", max_tokens=30, on_token=lambda token: print(token.text, end=""))
print()
