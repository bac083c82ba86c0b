#!/usr/bin/env bash
# Compiles the app against Android 29, tests it with the real ONNX Runtime on small bundles, and packages it.
# $1: folder of downloads and tools, outside the repository. PYTHON: one that has the exporter.
# Ends with 75 where packages cannot be had, and with another error where something is wrong.
set -euo pipefail
CI=$(cd "$(dirname "$0")" && pwd)
APP=$(dirname "$CI")
REPOSITORY=$(dirname "$APP")
CACHE=${1:-$HOME/.cache/tinyaya-export/android}
PYTHON=${PYTHON:-python3}
BUILD=$APP/build/ci
# shellcheck source=../../.ci/clock.sh
. "$REPOSITORY/.ci/clock.sh"
# shellcheck source=tools.sh
. "$CI/tools.sh"
# shellcheck source=stages.sh
. "$CI/stages.sh"

mkdir -p "$CACHE"
fetch_tools || { echo "android: packages cannot be had: $MISSING"; exit 75; }
unpack_tools
rm -rf "$BUILD"
mkdir -p "$BUILD"
resources
compile_app
export_bundles
compile_tests
run_tests "$BUILD/classes"
shrink
package
run_tests_from_dex
lint
stage
echo "android: all good"
