import sys
from pathlib import Path
from tests.arm.bundles import *
from tests.arm.facts import QUICK, ENGINES
f=Path(sys.argv[1])/"bundles"/content_key()
f.mkdir(parents=True,exist_ok=True)
make_bundles(f,list(ENGINES),[*QUICK.recipes,TRIMMED])
