#!/bin/bash
# crash_test.sh PROGRAM: it dies in the middle of its first run; the second does exactly the rest; the third has
# nothing to do.
. "$(dirname "$0")/lib.sh"
crash=$1

status=0
"$crash" > stdout 2> stderr || status=$?
((status == 137)) || fail "first run: expected status 137, got $status: $(cat stdout stderr)"
grep -q 'killing myself' stderr || fail "first run: killed by somebody else: $(cat stderr)"
[[ ! -s stdout ]] || fail "first run: has an answer: $(cat stdout)"

"$crash" > stdout 2> stderr || fail "second run: status $?: $(cat stderr)"
[[ $(cat stdout) == "148933 primes below 2000000" ]] || fail "second run: $(cat stdout)"
found=$(sed -n 's/.*resumed, \([0-9]*\) of 200 .*/\1/p' stderr)
did=$(sed -n 's/.*this process did \([0-9]*\) of 200 .*/\1/p' stderr)
least=50 # of the 100 that were done: a slice is longer than a heartbeat, but on a disk
[[ $where == /dev/shm ]] || least=1
((found >= least)) || fail "second run: found only $found of 100 slices: $(cat stderr)"
((found + did == 200)) || fail "second run: found $found, and did $did more"

"$crash" > stdout 2> stderr || fail "third run: status $?: $(cat stderr)"
[[ $(cat stdout) == "148933 primes below 2000000" ]] || fail "third run: $(cat stdout)"
grep -q 'this process did 0 of 200' stderr || fail "third run: $(cat stderr)"
