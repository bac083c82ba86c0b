"""Builds the package `tinyaya_native`, a folder or a wheel, of our C++ and ExecuTorch's libraries.

python -m tinyaya.runtime.native.build --out DIR           DIR/tinyaya_native, for PYTHONPATH
python -m tinyaya.runtime.native.build --out DIR --wheel   DIR/tinyaya_native-*.whl, for pip
python -m tinyaya.runtime.native.build --out DIR --target aarch64   with a cross compiler

Also the build backend of this folder's pyproject.toml, which is why it imports nothing of ours.
"""

import argparse
import base64
import hashlib
import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

EXECUTORCH_VERSION = "1.5.1"
PACKAGE = "tinyaya_native"
_HERE = Path(__file__).parent
_SOURCE_FOLDER, _LIBRARY_FILE, _BUILT_OF_FILE = _HERE / "src", f"lib{PACKAGE}.so", "built_of.txt"
_EXECUTORCH_LIBRARIES = (
    "executorch",
    "executorch_threadpool",
    "executorch_kernels_optimized",
    "executorch_kernels_quantized",
    "executorch_backend_xnnpack",
)
# Vectors are multiplied and added in one instruction where the CPU has it.
_CPP_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-Wall")
_MACRO_FLAGS = ("-DC10_USING_CUSTOM_GENERATED_MACROS", "-DET_USE_THREADPOOL")
_AVX512_FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma")
_COMMON_UNITS: Mapping[str, tuple[str, ...]] = {"library": (), "operators": (), "schedule": ()}


class NativeBuildError(Exception):
    """The library cannot be built here; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of machine: its source files with their own flags."""

    machine: str
    kernels: Mapping[str, tuple[str, ...]]

    @property
    def compiler(self) -> str:
        """The machine's own one, or Debian's name for one that runs here."""
        own = self.machine == platform.machine()
        return "g++" if own else f"{self.machine}-linux-gnu-g++"


TARGETS: Mapping[str, Target] = {
    "x86_64": Target(
        machine="x86_64",
        kernels={"kernels_4": (), "kernels_8": ("-mavx2", "-mfma"), "kernels_16": _AVX512_FLAGS},
    ),
    "aarch64": Target(machine="aarch64", kernels={"kernels_4": ()}),
}


def build_folder(out: Path, target: Target, compiler: str | None = None) -> Path:
    """Build `out`/tinyaya_native, if it is not there as these sources make it; returns `out`.

    Raises NativeBuildError without a compiler or without ExecuTorch's wheel.
    """
    folder, compiler = out / PACKAGE, compiler or target.compiler
    built_of = _digest(target, compiler)
    stamp = folder / _BUILT_OF_FILE
    if stamp.exists() and stamp.read_text() == built_of:
        return out
    if shutil.which(compiler) is None:
        own = compiler == "g++"
        package = "g++" if own else f"g++-{target.machine.replace('_', '-')}-linux-gnu"
        raise NativeBuildError(f"{compiler} is not installed; apt install {package}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        executorch = _executorch(target, Path(scratch))
        for name in _EXECUTORCH_LIBRARIES:
            shutil.copy(executorch / "lib" / f"lib{name}.so", folder)
        shutil.copy(_license(executorch), folder / "LICENSE.executorch")
        _compile(target, compiler, executorch, folder)
    shutil.copy(_HERE / PACKAGE / "__init__.py", folder)
    stamp.write_text(built_of)
    return out


def _digest(target: Target, compiler: str) -> str:
    digest = hashlib.sha256(f"{EXECUTORCH_VERSION} {target} {compiler} {_CPP_FLAGS}".encode())
    for path in sorted(_SOURCE_FOLDER.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _compile(target: Target, compiler: str, executorch: Path, package: Path) -> None:
    headers = executorch / "include"
    portable = headers / "executorch/runtime/core/portable_type/c10"
    include = ("-isystem", str(headers), "-isystem", str(portable))
    with tempfile.TemporaryDirectory() as scratch:

        def unit(name: str, flags: tuple[str, ...]) -> str:
            made = f"{scratch}/{name}.o"
            source = str(_SOURCE_FOLDER / f"{name}.cpp")
            _run(compiler, *_CPP_FLAGS, *_MACRO_FLAGS, *flags, *include, "-c", source, "-o", made)
            return made

        units = {**_COMMON_UNITS, **target.kernels}
        with ThreadPoolExecutor() as pool:
            objects = list(pool.map(unit, units, units.values()))
        libraries = [f"-l{name}" for name in _EXECUTORCH_LIBRARIES]
        link = ("-Wl,--no-as-needed", *libraries, "-Wl,-rpath,$ORIGIN", "-s")
        _run(
            *(compiler, "-shared", *objects, f"-L{package}", *link),
            *("-o", str(package / _LIBRARY_FILE)),
        )


def _executorch(target: Target, scratch: Path) -> Path:
    """The folder of ExecuTorch's package: the installed one, or its wheel's, unpacked."""
    if target.machine == platform.machine():
        try:
            found = importlib.metadata.distribution("executorch")
            if found.version == EXECUTORCH_VERSION:
                return Path(str(found.locate_file("executorch")))
        except importlib.metadata.PackageNotFoundError:
            pass
    platforms = (f"--platform=manylinux_2_28_{target.machine}", "--python-version=3.11")
    _run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"),
        *("--no-deps", "--only-binary=:all:", *platforms, f"--dest={scratch}"),
        f"executorch=={EXECUTORCH_VERSION}",
    )
    (wheel,) = scratch.glob("executorch-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch, list(_wanted(archive)))
    return scratch / "executorch"


def _wanted(archive: zipfile.ZipFile) -> Iterator[str]:
    metadata = f"executorch-{EXECUTORCH_VERSION}.dist-info/"
    wanted = ("executorch/include/", "executorch/lib/", metadata)
    return (name for name in archive.namelist() if name.startswith(wanted))


def _license(executorch: Path) -> Path:
    return executorch.parent / f"executorch-{EXECUTORCH_VERSION}.dist-info" / "licenses" / "LICENSE"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NativeBuildError(
            f"{command[0]} failed with {done.returncode}:\n{done.stderr.strip()}"
        )


def build_wheel_file(out: Path, target: Target, compiler: str | None = None) -> Path:
    """Build `out`/tinyaya_native-*.whl for any Python on `target`; returns its path."""
    with tempfile.TemporaryDirectory() as scratch:
        package = build_folder(Path(scratch), target, compiler) / PACKAGE
        return pack_wheel(package, out, target)


def pack_wheel(package: Path, out: Path, target: Target) -> Path:
    """As `build_wheel_file`, of a folder that `build_folder` made."""
    project = tomllib.loads((_HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = f"{PACKAGE}-{project['version']}"
    tag = f"py3-none-manylinux_2_{_glibc(package)}_{target.machine}"
    files = {
        f"{PACKAGE}/{path.name}": path.read_bytes()
        for path in sorted(package.iterdir())
        if path.is_file()
    }
    metadata = (
        f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
        f"Summary: {project['description']}\nRequires-Python: {project['requires-python']}\n"
        f"License-Expression: {project['license']}\n"
    )
    wheel = f"Wheel-Version: 1.0\nGenerator: {PACKAGE}\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files[f"{name}.dist-info/METADATA"] = metadata.encode()
    files[f"{name}.dist-info/WHEEL"] = wheel.encode()
    record = f"{name}.dist-info/RECORD"
    rows = [f"{path},sha256={_hash(data)},{len(data)}" for path, data in files.items()]
    files[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in files.items():
            archive.writestr(file, data)
    return path


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _glibc(package: Path) -> int:
    """The newest 2.x of the C library that any of the libraries asks for."""
    asked = (re.findall(rb"GLIBC_2\.(\d+)", path.read_bytes()) for path in package.glob("*.so"))
    return max(int(minor) for found in asked for minor in found)


def build_wheel(
    wheel_directory: str,
    config_settings: Mapping[str, str] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """What pip calls for `pip install runtime/native`; for this kind of machine."""
    return build_wheel_file(Path(wheel_directory), TARGETS[platform.machine()]).name


def build_sdist(sdist_directory: str, config_settings: Mapping[str, str] | None = None) -> str:
    """Refuse: there are wheels alone."""
    raise NotImplementedError("tinyaya-native has no source distribution; build a wheel")


def main() -> None:
    """Build what the command line asks for, and print where it is."""
    parser = argparse.ArgumentParser(description="Build tinyaya_native.")
    parser.add_argument("--out", type=Path, default=Path("build/native"))
    parser.add_argument("--target", choices=TARGETS, default=platform.machine())
    parser.add_argument("--compiler", help="such as aarch64-linux-gnu-g++; default: g++, or that")
    parser.add_argument("--wheel", action="store_true", help="a wheel, not a folder")
    asked = parser.parse_args()
    target = TARGETS[asked.target]
    try:
        if asked.wheel:
            made = build_wheel_file(asked.out, target, asked.compiler)
        else:
            made = build_folder(asked.out, target, asked.compiler) / PACKAGE
    except NativeBuildError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"{made}\n")


if __name__ == "__main__":
    main()
