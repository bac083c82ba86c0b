# A clock around stages. `stage NAME` ends the stage before and begins that one; `stage` alone only ends it.
# Each becomes a row of the file $CLOCK: when it began, its seconds and processor seconds, its name.
# Times of programs count once they were waited for, by /proc's ticks of a hundredth of a second.
export CLOCK=${CLOCK:-$(mktemp)} CLOCK_ZERO=${CLOCK_ZERO:-$EPOCHREALTIME}
STAGE=
stage() {
  local now fields ticks
  read -ra fields </proc/$BASHPID/stat
  now=${EPOCHREALTIME/./}
  ticks=$((fields[13] + fields[14] + fields[15] + fields[16]))
  [ -z "$STAGE" ] || printf '%d %d %d %s\n' $(((STAGE_BEGAN - ${CLOCK_ZERO/./}) / 1000000)) \
    $(((now - STAGE_BEGAN + 500000) / 1000000)) $(((ticks - STAGE_TICKS + 50) / 100)) "$STAGE" >>"$CLOCK"
  STAGE=${1:-} STAGE_BEGAN=$now STAGE_TICKS=$ticks
  [ -z "$STAGE" ] || printf -- '-- %s (%ds)\n' "$STAGE" $(((now - ${CLOCK_ZERO/./}) / 1000000))
}

stages() { # the table of all that ended
  echo "| from, s | seconds | processor seconds | stage |"
  echo "|---:|---:|---:|---|"
  sort -n "$CLOCK" | while read -r from seconds processor name; do echo "| $from | $seconds | $processor | $name |"; done
}
