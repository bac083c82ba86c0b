#!/usr/bin/env bash
# Runs bundles on emulated ARM boards; $@ goes to pytest, such as --quick.
# PYTHON: one that has the exporter. Ends with 75 where packages cannot be had, and with another error where something is wrong.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
cd "$HERE/../.."
CACHE=$HOME/.cache/tinyaya-export/arm
export PYTHON=${PYTHON:-python3}
. .ci/clock.sh
stage "arm: environment"
bash "$HERE/environment.sh" "$CACHE"

stage "arm: compilers"
# Both compilers, and ExecuTorch's aarch64 wheel, which the build downloads once for the same sources.
install() { apt-get install --yes --quiet --no-install-recommends "$@" >"$CACHE/apt.log" 2>&1; }
command -v g++ aarch64-linux-gnu-g++ >/dev/null || install g++ g++-aarch64-linux-gnu ||
  { apt-get update --quiet >"$CACHE/apt.log" 2>&1 && install g++ g++-aarch64-linux-gnu; } ||
  { echo "arm: packages cannot be had: g++ and g++-aarch64-linux-gnu"; exit 75; }
stage "arm: native builds"
for machine in x86_64 aarch64; do
  "$PYTHON" -m tinyaya.runtime.native.build --target "$machine" --out "$CACHE/native-$machine" >"$CACHE/native.log" 2>&1 || {
    cat "$CACHE/native.log"
    ! grep -q '^ERROR: ' "$CACHE/native.log" || exit 75
    exit 1
  }
done

stage "arm: bundles"
"$PYTHON" -m tests.arm.bundles_all "$CACHE"
stage "arm: pytest"
"$PYTHON" -m pytest tests/arm --cache "$CACHE" "$@" 2>"$CACHE/stderr.log"
stage
