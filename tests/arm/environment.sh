#!/usr/bin/env bash
# Makes a userland of 64-bit ARM in the folder $1 that qemu runs: Debian's Python, the wheels of the base install.
# PYTHON: one with pip. Nothing is installed on the machine. Ends with 75 where packages cannot be had.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
REPOSITORY=$(dirname "$(dirname "$HERE")")
PYTHON=${PYTHON:-python3}
GUEST="libc6 libgcc-s1 libstdc++6 libgomp1 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libssl3 libsqlite3-0 libuuid1
  libcrypt1 libpython3.11-minimal python3.11-minimal libpython3.11-stdlib"
QEMU="qemu-user libcapstone4 liburing2"  # the dynamic build: static ones take no plugins
CONSTRAINTS=$REPOSITORY/constraints.txt
SOURCES=/etc/apt/sources.list.d/debian.sources
missing() { echo "arm: packages cannot be had: $1"; exit 75; }

mkdir -p "$1"
CACHE=$(cd "$1" && pwd)
wheels() {
  "$PYTHON" -c 'import sys, tomllib; print(*tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"], sep="\n")' "$REPOSITORY/pyproject.toml"
}
WANTED=$({ wheels; cat "$CONSTRAINTS" "$HERE/environment.sh" "$HERE/count.c"; } | sha256sum | cut -d' ' -f1)
[ "$(cat "$CACHE/environment/complete" 2>/dev/null)" != "$WANTED" ] || exit 0

SECONDS=0
WORK=$CACHE/partial
rm -rf "$WORK" "$CACHE/environment"
mkdir -p "$WORK"/{apt/lists/partial,apt/cache/archives/partial,debs,qemu,root,site}
cd "$WORK"

# apt's own state for arm64, beside the machine's.
[ -f "$SOURCES" ] || missing "$SOURCES, which says where Debian's are"
: >apt/status
cat >apt/arm64.conf <<X
Dir::State::Lists "$WORK/apt/lists"; Dir::State::status "$WORK/apt/status"; Dir::Cache "$WORK/apt/cache";
Dir::Etc::SourceList "$SOURCES"; Dir::Etc::SourceParts "-"; Dir::Etc::Parts "-";
APT::Architecture "arm64"; APT::Architectures { "arm64"; }; Acquire::Languages "none"; APT::Sandbox::User "root";
X
sed '/^APT::Arch/d' apt/arm64.conf >apt/own.conf
echo 'Acquire::Languages "none"; APT::Sandbox::User "root";' >>apt/own.conf
download() { # architecture, packages
  local conf=$WORK/apt/$1.conf
  shift
  APT_CONFIG=$conf apt-get -qq update >>"$WORK/log" 2>&1 && (cd debs && APT_CONFIG=$conf apt-get -qq download "$@" >>"$WORK/log" 2>&1)
}
# shellcheck disable=SC2086
download arm64 $GUEST || missing "Debian's arm64 packages of Python 3.11"
for deb in debs/*.deb; do dpkg -x "$deb" root; done
rm debs/*.deb
# shellcheck disable=SC2086
download own $QEMU || missing "Debian's $QEMU"
dpkg --fsys-tarfile debs/qemu-user_*.deb | tar -x -C qemu ./usr/bin/qemu-aarch64
for deb in debs/lib*.deb; do dpkg -x "$deb" qemu; done

wheels >wheels.txt
"$PYTHON" -m pip --disable-pip-version-check install --quiet --no-compile --target site --requirement wheels.txt --constraint "$CONSTRAINTS" --only-binary=:all: \
  --python-version 3.11 --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
  >>log 2>&1 || missing "aarch64 wheels of $(tr '\n' ' ' <wheels.txt)"

command -v gcc >/dev/null || apt-get install --yes --quiet --no-install-recommends gcc libc6-dev >>log 2>&1 || missing "gcc"
gcc -O2 -Wall -Werror -shared -fPIC "$HERE/count.c" -o count.so

# Files below the folder that qemu is given win over the machine's; without these, programs see its x86 processor.
board() { # model, features, part, variant, revision
  local board=boards/$1 core
  mkdir -p "$board/proc"
  ln -s ../../root/usr "$board/usr"
  ln -s ../../root/lib "$board/lib"
  ln -s ../../root/etc "$board/etc"
  for core in 0 1; do
    local midr=$board/sys/devices/system/cpu/cpu$core/regs/identification
    mkdir -p "$midr"
    printf '0x%016x\n' $((0x41 << 24 | $4 << 20 | 0xf << 16 | $3 << 4 | $5)) >"$midr/midr_el1"
    printf 'processor\t: %s\nBogoMIPS\t: 100.00\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: %s\nCPU part\t: %s\nCPU revision\t: %s\n\n' \
      $core "$2" "$4" "$3" "$5" >>"$board/proc/cpuinfo"
  done
}
OLD="fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
NEW="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
board cortex-a72 "$OLD" 0xd08 0x0 3
board cortex-a76 "$NEW" 0xd0b 0x4 1
board max "$NEW i8mm bf16" 0xd0b 0x4 1

rm -rf apt debs
echo "$WANTED" >complete
mv "$WORK" "$CACHE/environment"
echo "arm: environment made in ${SECONDS} s, $(du -sh "$CACHE/environment" | cut -f1)"
