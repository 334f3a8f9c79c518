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
