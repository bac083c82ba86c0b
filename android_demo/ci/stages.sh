# The stages of build.sh, in order; each reads and writes $BUILD.
PACKAGE=org.tinyaya.demo
SOURCES=$APP/src/main
TEST_LIBRARIES=/usr/share/java/junit4.jar:/usr/share/java/hamcrest-core.jar:$KOTLIN_LIBRARY:$KOTLIN/lib/kotlin-test.jar:$KOTLIN/lib/kotlin-test-junit.jar
# These programs end before the work of the JVM's second compiler and many-threaded collector pays. Tests run as on any
# JVM: what is nested deepest must fit into their stack.
SHORT="-Xmx1500m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
kotlin() { JAVA_OPTS=$SHORT bash "$KOTLIN/bin/kotlinc" "$@"; }
# shellcheck disable=SC2086
java() { command java $SHORT "$@"; }
r8() { java -cp "$R8" "$@"; }

resources() {
  stage "android: resources"
  mkdir -p "$BUILD/generated" "$BUILD/classes"
  "$PYTHON" "$CI/build_manifest.py" "$SOURCES/AndroidManifest.xml" "$PACKAGE" "$BUILD/AndroidManifest.xml"
  "$PYTHON" "$CI/check_strings.py" "$SOURCES"
  "$AAPT2" compile --dir "$SOURCES/res" -o "$BUILD/resources.zip"
  "$AAPT2" link -o "$BUILD/base.apk" -I "$FRAMEWORK" --manifest "$BUILD/AndroidManifest.xml" --java "$BUILD/generated" \
    --min-sdk-version 29 --target-sdk-version 29 --version-code 1 --version-name 1.0 --proguard "$BUILD/aapt.pro" "$BUILD/resources.zip"
  javac -nowarn --release 8 -Xlint:-options -d "$BUILD/classes" "$BUILD/generated/${PACKAGE//.//}/R.java"
}

compile_app() {
  stage "android: kotlinc against Android 29"
  # shellcheck disable=SC2046
  kotlin -no-jdk -no-reflect -Werror -jvm-target 1.8 -module-name app -cp "$ANDROID:$ORT_CLASSES:$EXECUTORCH_CLASSES:$BUILD/classes" \
    -d "$BUILD/classes" $(find "$SOURCES/kotlin" -name '*.kt')
  cp -r "$SOURCES/resources/." "$BUILD/classes/"
  jar cf "$BUILD/app.jar" -C "$BUILD/classes" .
}

take_bundles() {
  stage "android: bundles, and what Python says of them"
  mkdir -p "$BUILD/bundles"
  cd "$REPOSITORY"
  local names=(fp32 int4 trimmed) folders index
  "$PYTHON" -m tests.store "${names[@]/#/android-}" >"$BUILD/bundles.txt" 2>"$BUILD/export.log" || { cat "$BUILD/export.log"; return 1; }
  mapfile -t folders <"$BUILD/bundles.txt"
  for index in "${!names[@]}"; do ln -sfn "${folders[index]}" "$BUILD/bundles/${names[index]}"; done
  "$PYTHON" "$CI/truth.py" "$BUILD/bundles" tests/assets/udhr "$BUILD/truth"
  PYTHONPATH=$ORT_PYTHON "$PYTHON" "$CI/truth.py" "$BUILD/bundles" tests/assets/udhr "$BUILD/truth" greedy_same_release.json
}

compile_tests() {
  stage "android: kotlinc, tests"
  # shellcheck disable=SC2046
  kotlin -no-reflect -Werror -jvm-target 1.8 -module-name tests -Xfriend-paths="$BUILD/classes" -d "$BUILD/tests" \
    -cp "$BUILD/classes:$TEST_LIBRARIES:$ORT_CLASSES:$EXECUTORCH_CLASSES:$ANDROID" $(find "$APP/src/test/kotlin" -name '*.kt')
  natives
}

# The AAR's JNI library is built for Android's libc; small forwarding libraries let it load on glibc.
natives() {
  local name native=$BUILD/native
  mkdir -p "$native"
  for name in libc libdl libm; do
    gcc -O1 -fno-builtin -shared -fPIC "$CI/bionic.c" -Wl,--version-script="$CI/bionic.map" -Wl,-soname,$name.so -o "$native/$name.so"
  done
  gcc -shared -fPIC "$CI/nnapi.c" -Wl,--version-script="$CI/nnapi.map" -Wl,-soname,libnnapi.so -o "$native/libnnapi.so"
  cp "$ORT/Linux/x64/libonnxruntime.so" "$CACHE/onnxruntime/aar/jni/x86_64/libonnxruntime4j_jni.so" "$native/"
}

run_tests() { # where the app's classes are
  stage "android: tests of $(basename "$1")"
  local classes
  classes=$(cd "$BUILD/tests" && find . -name '*Test.class' | sed 's#^\./##; s#/#.#g; s#\.class$##' | sort)
  # shellcheck disable=SC2086
  LD_LIBRARY_PATH=$BUILD/native LD_PRELOAD=$BUILD/native/libnnapi.so command java -Xmx1g -Xss1m -XX:ErrorFile="$BUILD/crash.log" -Donnxruntime.native.path="$BUILD/native" \
    -Dbundles="$BUILD/bundles" -Dtruth="$BUILD/truth" -Dtexts="$REPOSITORY/tests/assets/udhr" -Dsources="$SOURCES" \
    -cp "$BUILD/tests:$1:$SOURCES/resources:$TEST_LIBRARIES:$ORT_CLASSES:$EXECUTORCH_CLASSES:$ANDROID" \
    org.junit.runner.JUnitCore $classes | grep -v '^\.*$' | grep -vE '^\s+at (org.junit|java.base|jdk)'
}

shrink() {
  stage "android: R8"
  mkdir -p "$BUILD/r8"
  r8 com.android.tools.r8.R8 --release --min-api 29 --lib "$ANDROID" --output "$BUILD/r8" \
    --pg-conf "$APP/proguard-rules.pro" --pg-conf "$BUILD/aapt.pro" --pg-map-output "$BUILD/mapping.txt" \
    "$BUILD/app.jar" "$KOTLIN_LIBRARY" "$ORT_CLASSES" "$EXECUTORCH_CLASSES"
  at_most 1000000 "$BUILD/r8/classes.dex"
}

at_most() { # bytes, file
  local size
  size=$(stat -c %s "$2")
  echo "$(basename "$2"): $size bytes"
  [ "$size" -lt "$1" ] || { echo "$2 has $size bytes; expected less than $1"; return 1; }
}

# Proves that it can be packaged; ExecuTorch lacks libraries here that no registry has, so it is not for phones.
package() {
  stage "android: APK"
  local apk=$BUILD/apk
  mkdir -p "$apk/lib/arm64-v8a"
  cp -r "$SOURCES/resources/." "$apk/"
  cp "$BUILD/r8/classes.dex" "$apk/"
  cp "$CACHE"/onnxruntime/aar/jni/arm64-v8a/*.so "$EXECUTORCH/third-party/android/libs/executorch/arm64-v8a/libexecutorch.so" "$apk/lib/arm64-v8a/"
  cp "$BUILD/base.apk" "$BUILD/unaligned.apk"
  (cd "$apk" && zip -qrX ../unaligned.apk classes.dex org && zip -qX0 ../unaligned.apk lib/arm64-v8a/*.so)
  zipalign -f -p 4 "$BUILD/unaligned.apk" "$BUILD/aligned.apk"
  zipalign -c -p 4 "$BUILD/aligned.apk"
  keytool -genkeypair -keystore "$BUILD/ci.keystore" -storepass android -keypass android -alias ci -dname CN=CI -keyalg RSA \
    -keysize 2048 -validity 9999 2>/dev/null
  apksigner sign --ks "$BUILD/ci.keystore" --ks-pass pass:android --min-sdk-version 29 --out "$BUILD/app.apk" "$BUILD/aligned.apk"
  apksigner verify --min-sdk-version 29 "$BUILD/app.apk"
  "$PYTHON" "$CI/check_apk.py" "$BUILD/app.apk"
  dexdump -f "$BUILD/app.apk" >/dev/null
  at_most 70000000 "$BUILD/app.apk"
}

# As a debug build does, without R8; then the app's own classes, to dex and back.
to_dex() {
  stage "android: D8, and back to class files"
  mkdir -p "$BUILD/d8" "$BUILD/dex"
  r8 com.android.tools.r8.D8 --release --min-api 29 --lib "$ANDROID" --output "$BUILD/d8" \
    "$BUILD/app.jar" "$KOTLIN_LIBRARY" "$ORT_CLASSES" "$EXECUTORCH_CLASSES"
  r8 com.android.tools.r8.D8 --release --min-api 21 --lib "$ANDROID" --classpath "$KOTLIN_LIBRARY" --classpath "$ORT_CLASSES" \
    --classpath "$EXECUTORCH_CLASSES" --output "$BUILD/dex" "$BUILD/app.jar"
  (cd "$BUILD" && PYTHONPATH=/usr/share/enjarify:/usr/lib/python3/dist-packages /usr/bin/python3 -O -m enjarify.main -f -o from_dex.jar dex/classes.dex)
}

lint() {
  stage "android: ktlint"
  (cd "$APP" && java -jar "$KTLINT" 'src/**/*.kt' '*.kts')
}
