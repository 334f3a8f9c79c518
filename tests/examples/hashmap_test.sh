#!/bin/bash
# hashmap_test.sh PROGRAM: killed while it makes its map or looks a key up, and run again. Then processes look up keys all
# over the map.
. "$(dirname "$0")/lib.sh"
hashmap=$1

length() {
  local n=$1 numbers=1
  for ((; n > 1; ++numbers)); do ((n % 2 == 0 ? (n /= 2) : (n = 3 * n + 1))); done
  echo $numbers
}

for ((kill = 0; kill < 10; ++kill)); do
  run_and_kill $((20 + RANDOM % 80)) "$hashmap" 97
  ((status == 0 || status == 137)) || fail "status $status: $(cat stderr)"
done
"$hashmap" 97 > /dev/null  # what was killed is given again: the pool runs one job at a time
for ((key = 2 + RANDOM % 100; key < 10000; key += 1 + RANDOM % 200)); do
  expected="$key: a sequence of $(length $key) numbers, of 262 at most"
  [[ $("$hashmap" $key) == "$expected" ]] || fail "expected '$expected', got '$("$hashmap" $key)'"
done
