# Sourced by scripts that test programs: an empty folder to run in, and `fail`. PPMM_SEED repeats a run's random choices.
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

# command… | says PATTERN: does it? Reads all of it: `grep -q` ends at the first match, and whoever still writes dies of that.
says() {
  local all
  all=$(cat)
  grep -q -- "$1" <<< "$all"
}
