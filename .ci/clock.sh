# A clock around stages. `stage NAME` ends the stage before and begins that one; `stage` alone only ends it.
# Each becomes a row of the file $CLOCK: when it began, its seconds and processor seconds, its name.
# What a program used counts once it was waited for, in /proc's ticks of a hundredth of a second.
export CLOCK=${CLOCK:-$(mktemp)} CLOCK_ZERO=${CLOCK_ZERO:-${EPOCHREALTIME/./}}
STAGE=
stage() {
  local fields now=${EPOCHREALTIME/./} ticks
  read -ra fields </proc/$BASHPID/stat
  ticks=$((fields[13] + fields[14] + fields[15] + fields[16]))
  [ -z "$STAGE" ] || printf '%d %d %d %s\n' $(((STAGE_BEGAN - CLOCK_ZERO) / 1000000)) \
    $(((now - STAGE_BEGAN + 500000) / 1000000)) $(((ticks - STAGE_TICKS + 50) / 100)) "$STAGE" >>"$CLOCK"
  STAGE=${1:-} STAGE_BEGAN=$now STAGE_TICKS=$ticks
  [ -z "$STAGE" ] || echo "-- $STAGE ($(((now - CLOCK_ZERO) / 1000000))s)"
}

stages() { # all that ended and took a second, as a table in Markdown
  printf '| from, s | seconds | processor seconds | stage |\n|---:|---:|---:|---|\n'
  sort -n "$CLOCK" | awk -v now=$(((${EPOCHREALTIME/./} - CLOCK_ZERO) / 1000000)) '
    { used += $3 }
    $2 + $3 > 0 { name = $0; sub(/^[0-9]+ [0-9]+ [0-9]+ /, "", name); printf "| %d | %d | %d | %s |\n", $1, $2, $3, name }
    END { printf "| 0 | %d | %d | all |\n", now, used }'
}
