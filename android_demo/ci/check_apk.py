"""An APK in; fails unless it asks for no permission and exports what it should alone.

Usage: python android_demo/ci/check_apk.py APK
"""

import re
import subprocess
import sys

_EXPORTED = {
    "org.tinyaya.demo.ui.BundlesActivity": None,
    "org.tinyaya.demo.ui.BenchActivity": "android.permission.DUMP",
}


def main(apk: str) -> None:
    """Read the APK with aapt; end with an error that names every fault."""
    badging = _aapt("badging", apk)
    tree = _aapt("xmltree", apk, "AndroidManifest.xml")
    faults = []
    if "uses-permission" in badging:
        faults.append(f"permissions: {re.findall('uses-permission.*', badging)}")
    for wanted in ("sdkVersion:'29'", "native-code: 'arm64-v8a'", "BundlesActivity"):
        if wanted not in badging:
            faults.append(f"{wanted} is missing")
    if "provider" in tree or "receiver" in tree or "service" in tree:
        faults.append("a component beside activities")
    if not re.search(r"allowBackup\(0x\w+\)=\(type 0x12\)0x0", tree):
        faults.append("backup is allowed")
    exported = {
        name: permission for name, is_exported, permission in _activities(tree) if is_exported
    }
    if exported != _EXPORTED:
        faults.append(f"exported: {exported}; expected {_EXPORTED}")
    if faults:
        sys.exit("\n".join(faults))
    print("no permission, no backup; exported: the launcher, and the benchmark for adb alone")


def _aapt(what: str, apk: str, *more: str) -> str:
    return subprocess.run(
        ["aapt", "dump", what, apk, *more], check=True, capture_output=True, text=True
    ).stdout


def _activities(tree: str) -> list[tuple[str, bool, str | None]]:
    found = []
    for part in re.split(r"\n\s*E: activity ", tree)[1:]:
        part = part.split("\n        E: ")[0]
        name = re.search(r'android:name\(\w+\)="([^"]+)"', part)
        permission = re.search(r'android:permission\(\w+\)="([^"]+)"', part)
        exported = re.search(r"android:exported\(\w+\)=\(type 0x12\)0xffffffff", part) is not None
        full = name.group(1) if name else "?"
        found.append(
            (
                f"org.tinyaya.demo{full}" if full.startswith(".") else full,
                exported,
                permission and permission.group(1),
            )
        )
    return found


if __name__ == "__main__":
    main(sys.argv[1])
