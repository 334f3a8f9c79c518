#!/bin/bash
# create, grow, info, check, jobs, fib, nqueens.
. "$(dirname "$0")/lib.sh"

"$PPMM" --version | says '^ppmm [0-9]' || fail "--version"
"$PPMM" --help | says nqueens || fail "--help"
for command in sort wordcount graph "graph bfs" "graph components" "graph pagerank" index query matmul fib nqueens uts create grow parts info topology check jobs profile "profile medium" "profile run" top resume join; do
  "$PPMM" $command --help > /dev/null || fail "$command --help"
done

[[ $("$PPMM" fib 27) == 196418 ]] || fail "fib 27"
[[ $("$PPMM" fib 0) == 0 && $("$PPMM" fib 1) == 1 ]] || fail "fib 0, 1"
for known in 1:1 3:0 8:92 11:2680; do
  [[ $("$PPMM" nqueens ${known%:*} --workers 4) == "${known#*:}" ]] || fail "nqueens ${known%:*}"
done
# The published sizes (UTS, sample_trees.sh), of one tree of each shape; of the small one depth is not.
[[ $("$PPMM" uts small --workers 3) == "1732 nodes, 1050 leaves, depth "* ]] || fail "uts small"
[[ -n ${PPMM_LINES-} ]] || for known in "T1 4130071 nodes, 3305118 leaves, depth 10" "T2 4117769 nodes, 2342762 leaves, depth 81" \
  "T3 4112897 nodes, 3599034 leaves, depth 1572" "T5 4147582 nodes, 2181318 leaves, depth 20"; do
  [[ $("$PPMM" uts ${known%% *} --workers 3) == "${known#* }" ]] || fail "uts $known"
done
expect 2 'T1' "$PPMM" uts T4
[[ -z $(ls ./*.ppmm 2> /dev/null) ]] || fail "left behind: $(ls)"
"$PPMM" fib 20 --statistics 2> log > /dev/null
grep -q commits log || fail "--statistics"

"$PPMM" create a --size 32M --durability process --max-workers 8 > log
grep -q '8 workers' log || fail "create: $(cat log)"
expect 1 'a' "$PPMM" create a --size 32M
expect 2 'size' "$PPMM" create b --size 1K
expect 2 'address' "$PPMM" create b --size 32M --address 17
[[ ! -e b ]] || fail "a pool of a refused creation"
"$PPMM" create b --size 1G --sparse > /dev/null
(($(stat -c %b b) * 512 < 200000000)) || fail "--sparse reserved $(stat -c %b b) blocks"
rm b

"$PPMM" info a > log
grep -q 'by nobody' log && grep -q 'up to 8' log || fail "info: $(cat log)"
"$PPMM" check a > log || fail "check: $(cat log)"
[[ -z $("$PPMM" jobs a) ]] || fail "jobs of an empty pool"

# A job stays in a named pool, with its result, until it is dropped.
[[ $("$PPMM" fib 25 --pool a) == 75025 ]] || fail "fib 25"
[[ $("$PPMM" fib 25 --pool a) == 75025 ]] || fail "fib 25 again"
[[ $("$PPMM" nqueens 6 --pool a --workers 3) == 4 ]] || fail "nqueens 6"
"$PPMM" jobs a | says '^fib 25 .*finished' || fail "jobs: $("$PPMM" jobs a)"
"$PPMM" jobs a --json | says '"name": "nqueens 6"' || fail "jobs --json"
"$PPMM" info a | says '"fib 25", finished' || fail "info: $("$PPMM" info a)"
expect 1 'no job' "$PPMM" jobs a --drop "fib 26"
"$PPMM" jobs a --drop "fib 25"
! "$PPMM" jobs a | says 'fib 25' || fail "--drop"
"$PPMM" check a > log || fail "check: $(cat log)"

# A job that was killed: seen by info and check, an obstacle to others, resumed by itself; also one in use.
"$PPMM" fib 45 --pool a --workers 2 --progress none > answer &
pid=$!
for ((i = 0; i < 1000; ++i)); do "$PPMM" info a 2> /dev/null | says 'worker 0: ' && break || sleep 0.01; done
"$PPMM" info a > log || fail "info of a pool in use: $(cat log)"
grep -q "by process $pid" log && grep -q '"fib 45", running' log || fail "info of a pool in use: $(cat log)"
"$PPMM" check a > log || fail "check of a pool in use: $(cat log)"
expect 1 "$pid" "$PPMM" fib 20 --pool a
expect 1 "$pid" "$PPMM" grow a 64M
for ((i = 0; i < 1000; ++i)); do "$PPMM" info a 2> /dev/null | says 'units of work committed' && break || sleep 0.01; done
kill -KILL $pid
wait $pid 2> /dev/null || true
"$PPMM" info a > log
grep -q 'unfinished' log && grep -q 'units of work committed' log || fail "info after a kill: $(cat log)"
"$PPMM" check a > log || fail "check after a kill: $(cat log)"
grep -q 'frames in' log || fail "check after a kill: $(cat log)"
expect 1 'fib 45' "$PPMM" fib 20 --pool a
"$PPMM" jobs a --drop 'fib 45'
[[ $("$PPMM" fib 20 --pool a) == 6765 ]] || fail "fib 20"

# Killed and resumed, with other numbers of workers. A build with sanitizers is some hundred times slower.
start=$(date +%s%N)
"$PPMM" fib 26 > /dev/null
n=38 answer=39088169
(($(date +%s%N) - start < 200000000)) || n=30 answer=832040
rounds=0
while :; do
  "$PPMM" fib $n --pool a --workers $((1 + RANDOM % 4)) --progress plain > got 2> log &
  pid=$!
  after=$(((50 + RANDOM % 200) * (4 + rounds) / 4))  # ms; longer and longer, for slow builds
  sleep "$((after / 1000)).$(printf '%03d' $((after % 1000)))"
  kill -KILL $pid 2> /dev/null || true
  status=0
  wait $pid 2> /dev/null || status=$?
  [[ $status != 0 ]] || break
  rounds=$((rounds + 1))
  ((rounds < 50)) || fail "fib $n never ends"
  if ((rounds % 2 == 1)); then  # what an unfinished job does not mind
    "$PPMM" grow a $((32 + rounds))M > log || fail "grow: $(cat log)"
    "$PPMM" check a > log || fail "check after growing: $(cat log)"
  fi
done
[[ $(cat got) == "$answer" ]] || fail "fib $n after $rounds kills: $(cat got)"
echo "fib $n after $rounds kills"

# Workers that are lost for ever: the others go on; when all are lost, the same command does.
lost=0
for ((i = 0; ; ++i)); do
  status=0
  "$PPMM" fib 18 --pool lost --workers 2 --commit every-task --hard-fault-rate 0.0002 --fault-seed "$seed" > got 2> log || status=$?
  [[ $status == 3 ]] || break
  lost=$((lost + 1))
  grep -q 'ppmm: all 2 workers were lost to hard faults; everything committed is in lost' log || fail "all lost: $(cat log)"
  grep -q -- '--hard-fault-rate 0.0002' log || fail "no word on how to go on: $(cat log)"
  "$PPMM" check lost > log || fail "check after all workers were lost: $(cat log)"
  ((i < 1000)) || fail "never done"
done
[[ $status == 0 && $(cat got) == 2584 ]] || fail "hard faults: status $status, $(cat got log)"
((lost > 0)) || fail "the workers were never all lost"

# A pool that is too small is made larger.
"$PPMM" create small --size 16M > /dev/null
random_bytes 6000000 | base64 -w 999 > lines
expect 1 'ppmm grow small SIZE' "$PPMM" sort lines --pool small
expect 1 'never shrinks' "$PPMM" grow small 15M
expect 1 'at least' "$PPMM" grow small 16777217
expect 2 'SIZE' "$PPMM" grow small
expect 2 'SIZE' "$PPMM" grow small large
expect 1 'missing' "$PPMM" grow missing 32M
"$PPMM" grow small 96M > log || fail "grow: $(cat log)"
"$PPMM" grow small 96M >> log || fail "grow again: $(cat log)"
"$PPMM" info small | says 'grown .*1 time' || fail "info after growing: $("$PPMM" info small)"
"$PPMM" check small > log || fail "check after growing: $(cat log)"
"$PPMM" sort lines --pool small | cmp - <(sort lines) || fail "sort in a pool that has grown"

# A large sparse pool is read only where something is: the look costs neither time nor memory in proportion to its size.
"$PPMM" create sparse --size 512G --sparse > /dev/null
blocks=$(stat -c %b sparse)
"$PPMM" check sparse > log || fail "check of a sparse pool: $(cat log)"
"$PPMM" info sparse > log || fail "info of a sparse pool: $(cat log)"
[[ -z $("$PPMM" dump sparse | grep -v '^#') ]] || fail "dump of a sparse pool"
(($(stat -c %b sparse) < blocks + 200)) || fail "reading a sparse pool has made $(($(stat -c %b sparse) - blocks)) blocks of it"
rm sparse

# Damage is told, not executed.
cp a damaged
printf 'XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX' | dd of=damaged bs=1 seek=0 conv=notrunc status=none
! "$PPMM" check damaged > log || fail "check did not see a broken header"
grep -q PROBLEM log || fail "check: $(cat log)"
expect 1 'damaged' "$PPMM" fib 20 --pool damaged
truncate -s 20M a
! "$PPMM" check a > log || fail "check did not see a truncated file"
expect 1 'a' "$PPMM" check missing
echo "good"
