# run_checked.sh SECONDS COMMAND…: runs the command in a folder of its own, where files `lines`, `words` and `edges` are,
# under the idempotence checker. Fails if the checker finds anything, or has not run.
set -euo pipefail

seconds=$1
shift
where=/dev/shm
[[ -d $where && -w $where ]] || where=${TMPDIR:-/tmp}
dir=$(mktemp -d "$where/ppmm-checked.XXXXXX")
trap 'cd /; rm -rf "$dir"' EXIT
cd "$dir"
awk 'BEGIN { srand(1); for (i = 0; i < 20000; ++i) printf "%d %d\n", rand() * 5000, i }' > lines
head -n 8000 lines | tr 0-9 a-j > words
{ echo "# vertices, some of them alone with their edge; a bad line"; awk 'NR <= 3000 { print $1 % 900, $2 % 700 } NR % 100 == 0 { print "x" NR, "y" NR }' lines; echo bad; } > edges

status=0
PPMM_CHECK_IDEMPOTENCE=fail timeout --kill-after=1 "$seconds" "$@" > stdout 2> stderr || status=$?
cat stderr
if grep -q 'idempotence check, finding' stderr; then
  echo "FAILED: the checker has found something" >&2
  exit 1
fi
if ((status == 124)); then
  # A program that is not instrumented would have refused. One that never ran a job does not look at the variable.
  if PPMM_CHECK_IDEMPOTENCE=unknown timeout 10 "$@" > /dev/null 2> refusal || ! grep -q PPMM_CHECK_IDEMPOTENCE refusal; then
    echo "FAILED: no job was run in $seconds seconds" >&2
    exit 1
  fi
  echo "ended after $seconds seconds, nothing found so far"
elif ((status != 0)); then
  echo "FAILED: status $status" >&2
  exit 1
elif ! grep -q 'idempotence check: nothing found' stderr; then
  echo "FAILED: the checker was not there" >&2
  exit 1
fi
