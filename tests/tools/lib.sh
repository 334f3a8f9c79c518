# Sourced by the tests of the command. $PPMM is the command.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# many N: so many, or a tenth of it where the command is slow: under a sanitizer, or instrumented.
many() { if [[ -n ${PPMM_LINES:-} ]]; then echo $(($1 / 10)); else echo "$1"; fi; }

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

# wait_until_begun PID POOL: until the job in that pool has begun. Fails if the process ends before. It stands still while
# we look: a look may take longer than the job.
wait_until_begun() {
  local begun
  while kill -0 "$1" 2> /dev/null; do
    begun=
    if [[ -e $2 ]] && kill -STOP "$1" 2> /dev/null; then
      ! "$PPMM" jobs "$2" 2> /dev/null | says unfinished || begun=yes
      kill -CONT "$1" 2> /dev/null || true
    fi
    [[ -z $begun ]] || return 0
    sleep 0.002
  done
  return 1
}

# timed command…: runs it; $ms: how long that took.
timed() {
  local start
  start=$(date +%s%N)
  "$@"
  ms=$((($(date +%s%N) - start) / 1000000))
}

# killed MS ROUND command…: runs it, and kills it at a random moment: within about MS, from round 40 on much later.
# False if it got to the end. Counts $kills and $resumes, writes `told` and `log`. Anything else is a failure.
kills=0 resumes=0
killed() {
  local within=$1 round=$2 pid killer after status=0
  shift 2
  ((round < 80)) || fail "never got to the end: $*"
  : > log  # the kill may come before the shell does it
  "$@" > told 2> log &
  pid=$!
  after=$((1 + RANDOM % (round < 40 ? within + 1 : within * 40)))
  (sleep "$((after / 1000)).$(printf '%03d' $((after % 1000)))"; kill -KILL $pid 2> /dev/null) &
  killer=$!
  wait $pid 2> /dev/null || status=$?
  kill $killer 2> /dev/null || true
  wait $killer 2> /dev/null || true
  # Not in the first round: a job whose own pool has grown goes on by itself.
  ((round == 0)) || ! grep -q 'resumed at' log || resumes=$((resumes + 1))
  [[ $status != 0 ]] || return 1
  [[ $status == 137 ]] || fail "status $status: $*: $(cat log)"
  kills=$((kills + 1))
}

# kill_to_the_end MS command…: the command writes `got`; it is killed until it gets to the end, and then that is as
# `expected`.
kill_to_the_end() {
  local whole=$1 round
  shift
  rm -f got got.ppmm
  for ((round = 0; ; ++round)); do
    killed $((whole / 2)) $round "$PPMM" "$@" --progress plain --workers $((1 + RANDOM % 4)) --output got || break
    [[ ! -e got ]] || cmp -s got expected || fail "half an output after a kill: $*"
    [[ ! -e got.ppmm ]] || "$PPMM" check got.ppmm > check.log || fail "check: $(cat check.log)"
  done
  cmp got expected || fail "after $round kills: $*"
  [[ ! -e got.ppmm ]] || fail "left got.ppmm behind"
}

# kill_until_resumed MS command…: the same, until something was resumed. MS may be too short, where most of it goes by before
# the job begins: so every second time it is three times as long. Or too long, because others were at work: so it is halved.
kill_until_resumed() {
  local rounds whole=$1
  shift
  kills=0 resumes=0
  for ((rounds = 0; resumes == 0; ++rounds)); do
    ((rounds < 50)) || fail "nothing was ever resumed in $kills kills: $*"
    kill_to_the_end $((rounds % 2 ? whole * 3 : whole)) "$@"
    ((rounds % 4 != 3)) || whole=$((whole / 2 + 1))
  done
  echo "$*: $kills kills, $resumes resumes"
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
    [[ ! -e got.ppmm ]] || ! "$PPMM" jobs got.ppmm | says unfinished || return 0
  done
  fail "could not kill $command on the way"
}
