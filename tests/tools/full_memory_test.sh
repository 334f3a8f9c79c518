#!/bin/bash
# A memory file system that is full: a sparse pool there has no page to give, which is SIGBUS in the middle of a task. The task
# is repeated, then the run ends with a message; nothing that was committed is lost, and it goes on when there is room. With
# worker threads and with worker processes. Needs the right to mount.
. "$(dirname "$0")/lib.sh"

small=$(mktemp -d)
trap 'status=$?; cd /; umount "$small" 2> /dev/null; rmdir "$small"; rm -rf "$dir"; exit $status' EXIT
mount -t tmpfs -o size=20M ppmm-test "$small" 2> /dev/null || { echo "no right to mount"; exit 77; }

"$PPMM" matmul 1000 > expected
for kind in threads processes; do
  pool=$small/$kind.pool
  "$PPMM" create "$pool" --size 256M --sparse > log
  multiply=("$PPMM" matmul 1000 --pool "$pool" --workers 2 --workers-as "$kind")
  expect 1 "memory cannot be had: .*signal 7.* at address 0x[0-9a-f]* 4 times in a row.*All commits stand" "${multiply[@]}"
  [[ ! -s out.stdout ]] || fail "half an answer: $(cat out.stdout)"
  "$PPMM" jobs "$pool" | says unfinished || fail "the job is gone"
  expect 1 'memory cannot be had' "${multiply[@]}"  # there is no more room than before
  mount -o remount,size=400M "$small"
  "$PPMM" check "$pool" > check.log || fail "check: $(cat check.log)"
  "${multiply[@]}" --progress plain > got 2> log || fail "status $?: $(cat log)"
  grep -q 'resumed at' log || fail "not resumed: $(cat log)"
  cmp got expected || fail "another answer"
  rm "$pool"
  mount -o remount,size=20M "$small"
done
echo "all equal"
