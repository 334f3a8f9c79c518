#!/bin/bash
# Pools of several files, and what the command shows of machines.
. "$(dirname "$0")/lib.sh"

mkdir a b c
"$PPMM" create --part a/p --part b/p --part c/p --size 32M --node 0 --node 1 --node 0 > said || fail "create"
grep -q 'b/p at 0x[0-9a-f]*, node 1' said || fail "create tells of no parts: $(cat said)"
"$PPMM" parts a/p > said || fail "parts"
[[ $(wc -l < said) == 3 ]] || fail "three parts: $(cat said)"
"$PPMM" check a/p > /dev/null || fail "check"

seq 200000 | shuf --random-source=<(yes) > text
"$PPMM" sort text --pool a/p --output sorted --workers 2 --progress none || fail "sort"
LC_ALL=C sort text | cmp - sorted || fail "sort gives something else"
# Where other processes have the processors, a short job may be done before anybody steals.
for ((n = 30; n < 43; ++n)); do
  "$PPMM" fib $n --pool a/p --workers 2 --progress none > /dev/null || fail "fib"
  "$PPMM" info a/p > said || fail "info"
  ! grep -q 'steals, by' said || break
done
grep -q 'of 3 parts' said && grep -q 'steals, by what thief and victim share: [0-9]* one' said || fail "info: $(cat said)"
"$PPMM" info b/p | says 'part 1 of a PPMM pool' || fail "info of a part"
"$PPMM" check b/p | says 'checked with its first part' || fail "check of a part"

"$PPMM" grow a/p 192M || fail "grow"
[[ $(stat -c %s b/p) == $((64 << 20)) ]] || fail "a part has not grown"

refused() { local says=$1; shift; if "$PPMM" "$@" > said 2>&1; then fail "not refused: $*"; fi; grep -q "$says" said || fail "$*: $(cat said)"; }
mv c/p c/q
refused 'expected part 2 of the pool a/p, found no file' fib 10 --pool a/p
refused 'expected part 2 of the pool a/p, found no file' info a/p
refused 'swapped' parts a/p --at 2=b/p
refused 'such as 1=' parts a/p --at 2
refused 'such as 1=' parts a/p --at =c/q
"$PPMM" parts a/p --at 2=c/q | says 'c/q' || fail "parts --at"
"$PPMM" check a/p > /dev/null || fail "check after a part has moved"
refused 'Name that one' fib 10 --pool b/p
refused 'name its first part' dump b/p
refused 'one for each of 2 files' create --part x --part y --size 16M --node 0
refused 'FILE, or --part' create --size 16M
[[ ! -e x && ! -e y ]] || fail "a refused create has left files"

"$PPMM" topology a/p > said || fail "topology"
grep -q 'part 2: .*c/q, 67.1 MB on node 0' said && grep -q 'worker' said || fail "topology: $(cat said)"
"$PPMM" topology --synthetic "package:2 node:2 core:2 pu:2" --workers 6 > said || fail "topology of another machine"
grep -q 'worker 0: 1 (one [a-z]*), then 2,3 (one package), then 4,5 (nothing but the machine)' said || fail "victims: $(cat said)"
"$PPMM" topology --synthetic "core:2 pu:2" --workers 5 | says 'take turns' || fail "too many workers are not told"
"$PPMM" topology --synthetic "core:2 pu:2" --smt | says '4 workers' || fail "--smt"
refused 'synthetic' topology --synthetic 'big one'
if command -v lstopo > /dev/null; then
  "$PPMM" topology --synthetic "node:2 core:2 pu:1" --draw machine.txt || fail "lstopo"
  [[ -s machine.txt ]] || fail "lstopo has drawn nothing"
else
  refused 'lstopo' topology --draw machine.txt
fi
"$PPMM" fib 20 --pool a/p --workers 2 --no-pin --statistics --progress none 2>&1 > /dev/null | says 'no worker is pinned' || fail "--no-pin"
"$PPMM" fib 21 --pool a/p --smt --statistics --progress none > /dev/null 2>&1 || fail "--smt of a job"
