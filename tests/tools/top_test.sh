#!/bin/bash
# `ppmm top` reads a running job from outside.
. "$(dirname "$0")/lib.sh"

"$PPMM" create pool --size 32M --durability emulated > /dev/null
"$PPMM" top pool --once --interval 0.01 > told || fail "a pool without a job"
grep -q 'no unfinished job' told || fail "a pool without a job: $(cat told)"

"$PPMM" fib 45 --pool pool --workers 2 --progress none > answer & pid=$!
wait_until_begun $pid pool || fail "never began"
for ((i = 0; ; ++i)); do  # a slow build may not have got to a commit
  "$PPMM" top pool --once --interval 0.2 > told || fail "top"
  ! grep -q '::fib' told || ! awk '$1 == "all" && $3 != "0" { found = 1 } END { exit !found }' told || break
  ((i < 100)) || fail "no rates: $(cat told)"
done
grep -q "open in process $pid" told && grep -q 'job "fib 45" running' told || fail "top: $(cat told)"
[[ $(grep -c '^ \+[01] ' told) == 2 ]] || fail "two workers: $(cat told)"
"$PPMM" top pool --batch --interval 0.05 --count 3 > told
[[ $(grep -c 'job "fib 45"' told) == 3 ]] || fail "--batch --count 3: $(cat told)"
! grep -q $'\033' told || fail "control characters where no terminal is"
kill -0 $pid || fail "top ended the job"
kill -KILL $pid
wait $pid 2> /dev/null || true
"$PPMM" top pool --once --interval 0.01 > told
grep -q 'open in no process' told && grep -q 'unfinished' told || fail "after a kill: $(cat told)"

if command -v script > /dev/null; then  # a terminal: draws, and leaves it as it was
  TERM=xterm script -qec "$PPMM top pool --interval 0.01 --count 2" screen > /dev/null < /dev/null
  grep -q $'\033\\[?1049h' screen && grep -q $'\033\\[?1049l' screen && grep -q $'\033\\[H' screen || fail "no drawing on a terminal: $(cat -v screen)"
fi
# A pool of two files has workers in both.
"$PPMM" create --part one --part two --size 32M --durability emulated > /dev/null
"$PPMM" fib 45 --pool one --workers 2 --progress none > answer & pid=$!
wait_until_begun $pid one || fail "never began"
for ((i = 0; ; ++i)); do
  "$PPMM" top one --once --interval 0.05 > told || fail "top of a pool in parts"
  [[ $(grep -c '^ \+[01] ' told) != 2 ]] || break
  ((i < 200)) || fail "two workers in two parts: $(cat told)"
done
expect 1 'first part' "$PPMM" top two --once
kill -KILL $pid
wait $pid 2> /dev/null || true
expect 1 'missing' "$PPMM" top missing --once
echo "no pool" > other
expect 1 'other' "$PPMM" top other --once
expect 2 'POOL' "$PPMM" top
expect 2 'interval' "$PPMM" top pool --interval 0
echo "good"
