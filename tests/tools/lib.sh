# Sourced by the tests of the command. $PPMM is the command; PPMM_SEED repeats a run's random choices.
set -euo pipefail
export LC_ALL=C

seed=${PPMM_SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
echo "PPMM_SEED=$seed"

where=/dev/shm
[[ -d $where && -w $where ]] || where=${TMPDIR:-/tmp}
dir=$(mktemp -d "$where/ppmm-test.XXXXXX")
cd "$dir"
trap 'status=$?; kill $(jobs -p) 2> /dev/null || true; cd /; rm -rf "$dir"; exit $status' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# expect STATUS PATTERN command…: it ends with that status, and its stderr matches.
expect() {
  local status=$1 pattern=$2 got=0
  shift 2
  "$@" > out.stdout 2> out.stderr || got=$?
  [[ $got == "$status" ]] || fail "expected status $status, got $got: $* ($(cat out.stderr))"
  grep -qE -- "$pattern" out.stderr || fail "expected /$pattern/ from $*, got: $(cat out.stderr)"
}

# random_bytes N: the same for the same seed.
random_bytes() {
  openssl enc -aes-128-ctr -K 00 -iv "$(printf '%032x' "$seed")" < /dev/zero 2> /dev/null | head -c "$1" || true
}
command -v openssl > /dev/null || random_bytes() { head -c "$1" /dev/urandom; }

# random_lines COUNT KEYS: lines of a few words.
random_lines() {
  awk -v n="$1" -v keys="$2" -v seed="$seed" 'BEGIN {
    srand(seed);
    for (i = 0; i < n; ++i) printf "%s%d %x\n", (rand() < 0.3 ? "        " : ""), rand() * keys, rand() * 4294967296
  }'
}

# wait_until_begun PID POOL: until the job in that pool has begun. Fails if the process ends before.
wait_until_begun() {
  while kill -0 "$1" 2> /dev/null; do
    ! { [[ -e $2 ]] && "$PPMM" jobs "$2" 2> /dev/null | grep -q unfinished; } || return 0
    sleep 0.002
  done
  return 1
}

# kill_until_done COMMAND MS OPTION… : `ppmm COMMAND --output got …` is killed at random moments, at first within about
# half of MS, until it gets to the end; then `got` must be as `expected`. Fails if nothing was ever resumed.
kill_until_done() {
  local command=$1 whole=$2 rounds=0 resumes=0 kills=0 round status pid killer after
  shift 2
  while ((resumes == 0)); do
    ((rounds++ < 20)) || fail "$command: nothing was ever resumed in $kills kills"
    rm -f got got.ppmm
    for ((round = 0; ; ++round)); do
      ((round < 80)) || fail "$command: never got to the end"
      "$PPMM" $command --progress plain --workers $((1 + RANDOM % 4)) "$@" 2> log &
      pid=$!
      after=$((1 + RANDOM % (round < 40 ? whole / 2 + 1 : whole * 20)))
      (sleep "$((after / 1000)).$(printf '%03d' $((after % 1000)))"; kill -KILL $pid 2> /dev/null) &
      killer=$!
      status=0
      wait $pid 2> /dev/null || status=$?
      kill $killer 2> /dev/null || true
      wait $killer 2> /dev/null || true
      ! grep -q 'resumed at' log || resumes=$((resumes + 1))
      [[ $status != 0 ]] || break
      [[ $status == 137 ]] || fail "$command: status $status: $(cat log)"
      kills=$((kills + 1))
      [[ ! -e got ]] || cmp -s got expected || fail "$command: half an output after a kill"
      [[ ! -e got.ppmm ]] || "$PPMM" check got.ppmm > check.log || fail "check: $(cat check.log)"
    done
    cmp got expected || fail "$command: after $kills kills"
    [[ ! -e got.ppmm ]] || fail "left got.ppmm behind"
  done
  echo "$command: $kills kills, $resumes resumes"
}

# until_begun_and_killed COMMAND OPTION…: leaves an unfinished job in got.ppmm.
until_begun_and_killed() {
  local command=$1 round pid
  shift
  for ((round = 0; round < 50; ++round)); do
    rm -f got got.ppmm
    "$PPMM" $command --commit every-task --progress none "$@" &
    pid=$!
    wait_until_begun $pid got.ppmm || true
    kill -KILL $pid 2> /dev/null || true
    wait $pid 2> /dev/null || true
    [[ ! -e got.ppmm ]] || ! "$PPMM" jobs got.ppmm | grep -q unfinished || return 0
  done
  fail "could not kill $command on the way"
}
