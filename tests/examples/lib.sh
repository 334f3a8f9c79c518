# Sourced by the tests of the examples.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

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
