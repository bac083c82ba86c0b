#!/usr/bin/env bash
# Compiles the app against Android 29, tests it with the real ONNX Runtime on small bundles, and packages it.
# $@: parts: fetch compile run, which are the default, and dex, which runs the tests on what comes back from dex.
# PYTHON: one that has the exporter; `fetch` and `compile` take any.
# Ends with 75 where packages cannot be had, and with another error where something is wrong.
set -euo pipefail
CI=$(cd "$(dirname "$0")" && pwd)
APP=$(dirname "$CI")
REPOSITORY=$(dirname "$APP")
CACHE=$HOME/.cache/tinyaya-export/android
PYTHON=${PYTHON:-python3}
BUILD=$APP/build/ci

# shellcheck source=../../.ci/clock.sh
. "$REPOSITORY/.ci/clock.sh"
# shellcheck source=tools.sh
. "$CI/tools.sh"
# shellcheck source=stages.sh
. "$CI/stages.sh"

fetch() {
  mkdir -p "$CACHE"
  fetch_tools || { echo "android: packages cannot be had: $MISSING"; exit 75; }
  unpack_tools
}

compile() {
  rm -rf "$BUILD"
  mkdir -p "$BUILD"
  resources
  compile_app
  compile_tests
  shrink
  package
  lint
}

run() {
  take_bundles
  run_tests "$BUILD/classes"
}

dex() {
  to_dex
  run_tests "$BUILD/from_dex.jar"
}

[ $# -gt 0 ] || set -- fetch compile run
for part in "$@"; do "$part"; done
stage
echo "android: $* all good"
