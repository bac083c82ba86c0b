#!/usr/bin/env bash
# Runs bundles on emulated ARM boards; $@ goes to pytest, such as --quick. With --prepare, ends before bundles are made.
# PYTHON: one that has the exporter; --prepare takes any with pip.
# Ends with 75 where packages cannot be had, and with another error where something is wrong.
set -euo pipefail
cd "$(dirname "$0")/../.."
CACHE=$HOME/.cache/tinyaya-export/arm
export PYTHON=${PYTHON:-python3}
# shellcheck source=../../.ci/clock.sh
. .ci/clock.sh

stage "arm: environment"
mkdir -p "$CACHE"
bash tests/arm/environment.sh "$CACHE"
install() { apt-get install --yes --quiet --no-install-recommends "$@" >"$CACHE/apt.log" 2>&1; }
compilers() { command -v g++ && command -v aarch64-linux-gnu-g++; } >/dev/null
compilers || install g++ g++-aarch64-linux-gnu || { apt-get update --quiet >"$CACHE/apt.log" 2>&1 && install g++ g++-aarch64-linux-gnu; } ||
  { echo "arm: packages cannot be had: g++ and g++-aarch64-linux-gnu"; exit 75; }

native() { # machine; only the board's needs a download, of ExecuTorch's wheel
  "$PYTHON" runtime/native/build.py --target "$1" --out "build/native/$1" >"$CACHE/native.log" 2>&1 || {
    cat "$CACHE/native.log"
    ! grep -q '^ERROR: ' "$CACHE/native.log" || exit 75
    exit 1
  }
}
stage "arm: native build"
native aarch64
[ "${1:-}" != --prepare ] || { stage; exit 0; }

stage "arm: boards"
native x86_64
"$PYTHON" -m pytest tests/arm --cache "$CACHE" "$@" 2>"$CACHE/stderr.log"
stage
