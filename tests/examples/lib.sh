# Sourced by the tests of the examples: an empty folder to run in, and `fail`. PPMM_SEED repeats a run's random choices.
set -euo pipefail
export LC_ALL=C

seed=${PPMM_SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
echo "PPMM_SEED=$seed"

where=/dev/shm
[[ -d $where && -w $where ]] || where=${TMPDIR:-/tmp}
dir=$(mktemp -d "$where/ppmm-example.XXXXXX")
trap 'cd /; rm -rf "$dir"' EXIT
cd "$dir"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# Milliseconds since $1, which `date +%s%N` gave.
since() { echo $((($(date +%s%N) - $1) / 1000000)); }

# run_and_kill MS COMMAND…: kills it after that time, if it still runs. Its status is then in `status`, what it said in
# stdout and stderr.
run_and_kill() {
  local after=$1 pid killer
  shift
  "$@" > stdout 2> stderr &
  pid=$!
  (sleep "$((after / 1000)).$(printf '%03d' $((after % 1000)))" && kill -KILL $pid) > /dev/null 2>&1 &
  killer=$!
  status=0
  wait $pid 2> /dev/null || status=$?
  kill $killer 2> /dev/null || true
  wait $killer 2> /dev/null || true
}
