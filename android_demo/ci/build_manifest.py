"""The app's AndroidManifest.xml in; out: what Gradle's manifest merger would make of it, for aapt2.

Usage: python android_demo/ci/build_manifest.py SOURCE PACKAGE TARGET
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

_TOOLS = "{http://schemas.android.com/tools}"
_NEWER_THAN_29 = {"{http://schemas.android.com/apk/res/android}dataExtractionRules"}
_ANDROID = "http://schemas.android.com/apk/res/android"


def main(source: Path, package: str, target: Path) -> None:
    """Drop what is marked for removal, put the package in, write the rest."""
    ET.register_namespace("android", _ANDROID)
    root = ET.parse(source).getroot()
    _drop_removed(root)
    for element in root.iter():
        for key in [
            key for key in element.attrib if key.startswith(_TOOLS) or key in _NEWER_THAN_29
        ]:
            del element.attrib[key]
        for key, value in element.attrib.items():
            element.attrib[key] = value.replace("${applicationId}", package)
    root.set("package", package)
    ET.ElementTree(root).write(target, encoding="utf-8", xml_declaration=True)


def _drop_removed(parent: ET.Element) -> None:
    for child in list(parent):
        if child.get(f"{_TOOLS}node") == "remove":
            parent.remove(child)
        else:
            _drop_removed(child)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
