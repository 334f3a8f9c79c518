#!/bin/bash
# resume: jobs of several pools that were killed, among pools that cannot be resumed, are finished by one command.
. "$(dirname "$0")/lib.sh"

"$PPMM" resume --help > /dev/null || fail "resume --help"
expect 2 'POOL' "$PPMM" resume
mkdir pools elsewhere

# begun POOL command…: an unfinished job is in that pool.
begun() {
  local pool=$1 pid round
  shift
  for ((round = 0; round < 50; ++round)); do
    rm -f "$pool"
    "$PPMM" "$@" --commit every-task --progress none > /dev/null 2>&1 &
    pid=$!
    wait_until_begun $pid "$pool" || true
    kill -KILL $pid 2> /dev/null || true
    wait $pid 2> /dev/null || true
    [[ ! -e $pool ]] || ! "$PPMM" jobs "$pool" | says unfinished || return 0
  done
  fail "could not kill $* on the way"
}
# number POOL STATE: so many jobs in that state.
number() { "$PPMM" jobs "$1" | grep -c " $2 " || true; }

n=31 answer=1346269
random_lines "${PPMM_LINES:-200000}" 1000 > text
sort text > sorted
(cd elsewhere && begun ../pools/fib fib $n --pool ../pools/fib)
(cd pools && begun ppmm-nqueens-11.ppmm nqueens 11)
begun 'pools/a b' sort text --pool 'pools/a b' --output 'out put'
begun pools/counted wordcount text --pool pools/counted --restart
"$PPMM" create pools/empty --size 16M > /dev/null
[[ $("$PPMM" fib 20 --pool pools/done) == 6765 ]] || fail "fib 20"
echo "some text" > pools/notes
head -c 20000000 /dev/zero > pools/damaged.ppmm
cp pools/fib pools/cut
truncate -s 8M pools/cut

"$PPMM" info pools/counted > log
grep -q "last call *cd .* && ppmm wordcount text --pool pools/counted --restart" log || fail "info: $(cat log)"
sums=$(cat pools/* | md5sum)
status=0
"$PPMM" resume --all pools --dry-run > log 2> log2 || status=$?
[[ $status == 1 ]] || fail "status $status: $(cat log log2)"
[[ $sums == "$(cat pools/* | md5sum)" ]] || fail "--dry-run has changed a pool"
[[ $(grep -c 'would resume' log) == 4 ]] || fail "--dry-run: $(cat log log2)"
grep -qF "pools/a b: would resume \"sort\": cd $PWD && ppmm sort text --pool 'pools/a b' --output 'out put'" log || fail "--dry-run: $(cat log)"
grep -q 'damaged.ppmm: damaged' log2 && grep -q 'cut: damaged' log2 || fail "damage is not told: $(cat log2)"
! grep -q notes log log2 || fail "a file that is no pool: $(cat log log2)"

# One in use; it is left alone.
"$PPMM" fib 60 --pool pools/used --progress none > /dev/null 2>&1 &
user=$!
wait_until_begun $user pools/used || fail "fib 60 has ended"
status=0
(cd / && "$PPMM" resume --all "$dir/pools" --workers 3 --progress plain --statistics > "$dir/log" 2> "$dir/log2") || status=$?
[[ $status == 1 ]] || fail "status $status: $(cat log log2)"
grep -q "used: left alone: in use by process $user" log || fail "in use: $(cat log)"
kill -KILL $user
wait $user 2> /dev/null || true
for job in "fib $n" "nqueens 11" sort wordcount; do
  grep -q "\"$job\" finished, .* s after it was resumed" log || fail "$job was not resumed: $(cat log log2)"
done
[[ $(grep -c 'with 3 workers' log2) == 4 && $(grep -c 'resumed at' log2) == 4 ]] || fail "--workers, --statistics, --progress: $(cat log2)"
grep -q '^9 pools, 4 jobs finished, 2 not; 1 left alone$' log || fail "the sum: $(tail -n 1 log)"

# A file is written, whole. What would have gone to a terminal waits for the same command.
cmp 'out put' sorted || fail "the sorted text"
[[ $(number 'pools/a b' unfinished) == 0 ]] || fail "sort is still there"
[[ $(number pools/fib finished) == 1 ]] || fail "fib is not in its pool"
[[ $("$PPMM" fib $n --pool pools/fib 2> log) == "$answer" ]] && ! grep -q resumed log || fail "fib $n: $(cat log)"
[[ $(number pools/ppmm-nqueens-11.ppmm finished) == 1 ]] || fail "nqueens is not in its pool"
[[ $(cd pools && "$PPMM" nqueens 11) == 2680 && ! -e pools/ppmm-nqueens-11.ppmm ]] || fail "nqueens 11"
"$PPMM" wordcount text --pool pools/counted | cmp - <(tr -cs 'A-Za-z' '\n' < text | grep . | sort | uniq -c | sort -k1,1nr -k2) || fail "wordcount"

# Nothing is left to do, and that is not an error. Nor is a pool named twice.
rm pools/cut pools/damaged.ppmm pools/used
"$PPMM" resume --all pools pools/. > log 2>&1 || fail "nothing to do: $(cat log)"
[[ $(cat log) == '5 pools, 0 jobs finished' ]] || fail "nothing to do: $(cat log)"
"$PPMM" resume pools/fib pools/empty > log 2>&1 || fail "nothing to do: $(cat log)"
grep -q 'fib: nothing to resume: "fib 31" is finished' log && grep -q 'empty: nothing to resume: it holds no job' log || fail "$(cat log)"
expect 1 'No such file' "$PPMM" resume pools/none
expect 1 'directory of pools' "$PPMM" resume --all none

# Finished, but killed before its output was there: it is written now.
begun pools/late sort text --pool pools/late --output late
"$PPMM" sort text --pool pools/late --output late --keep-pool --progress none
rm late
"$PPMM" resume --all pools > log 2>&1 || fail "$(cat log)"
[[ ! -e late ]] || fail "--keep-pool: it was delivered already"
for ((i = 0; i < 20; ++i)); do
  rm -f pools/late late.part
  "$PPMM" sort text --pool pools/late --output late --progress none > /dev/null 2>&1 &
  pid=$!
  while kill -0 $pid 2> /dev/null && [[ ! -s late.part ]]; do :; done  # its size is there before its content
  kill -KILL $pid 2> /dev/null || true
  wait $pid 2> /dev/null || true
  rm -f late
  [[ $(number pools/late finished) == 0 ]] || break
done
[[ $(number pools/late finished) == 1 ]] || fail "could not kill sort while it was writing"
"$PPMM" resume --all pools > log 2>&1 || fail "$(cat log)"
cmp late sorted || fail "an output that was missing: $(cat log)"
[[ -z $("$PPMM" jobs pools/late) ]] || fail "sort is still there"

# The input has changed: told, and the job stays.
begun pools/changed sort text --pool pools/changed --output changed
mv text text.kept
echo other > text
expect 1 'the input has changed' "$PPMM" resume pools/changed
mv text.kept text
expect 0 'resumed at' "$PPMM" resume pools/changed --progress plain
cmp changed sorted || fail "after the input came back"

# A pool that was moved, one that others may write to, one of another build.
begun pools/fib fib $n --pool pools/fib
mv pools/fib pools/moved
expect 1 'was it moved' "$PPMM" resume pools/moved
mv pools/moved pools/fib
chmod g+w pools/fib
expect 1 'chmod go-w' "$PPMM" resume pools/fib
chmod g-w pools/fib
if command -v python3 > /dev/null && command -v readelf > /dev/null; then
  id=$(readelf -n "$PPMM" | sed -n 's/ *Build ID: //p')
  python3 - "$PPMM" other "$id" << 'END'
import sys
program, id = open(sys.argv[1], "rb").read(), bytes.fromhex(sys.argv[3])
assert program.count(id) == 1
open(sys.argv[2], "wb").write(program.replace(id, bytes([id[0] ^ 1]) + id[1:]))
END
  chmod +x other
  expect 1 "fib $n\" was begun by another program or another build" ./other resume pools/fib
fi
cp pools/fib copy

# A pool of two files, in one directory: the first one is the pool.
mkdir parts
"$PPMM" create --part parts/a --part parts/b --size 24M > /dev/null
"$PPMM" fib $n --pool parts/a --commit every-task --progress none > /dev/null &
pid=$!
wait_until_begun $pid parts/a || fail "fib $n has ended"
kill -KILL $pid
wait $pid 2> /dev/null || true
chmod g+w parts/b
expect 1 'may write to .*/parts/b' "$PPMM" resume --all parts
chmod g-w parts/b
expect 1 'part 1 of the pool' "$PPMM" resume parts/b
"$PPMM" resume --all parts > log 2> log2 || fail "two parts: $(cat log log2)"
[[ $(tail -n 1 log) == '1 pool, 1 job finished' && $("$PPMM" fib $n --pool parts/a) == "$answer" ]] || fail "two parts: $(cat log log2)"

# Begun by way of another command.
begun pools/profiled profile run -- fib $n --pool pools/profiled
"$PPMM" resume pools/profiled > log 2> log2 || fail "profile run: $(cat log log2)"
[[ $("$PPMM" fib $n --pool pools/profiled) == "$answer" ]] || fail "profile run: $(cat log log2)"

# Told to stop, it commits, says so, and can be told to go on.
begun pools/long fib 50 --pool pools/long
"$PPMM" resume pools/long --progress none > log 2> log2 &
pid=$!
for ((i = 0; i < 1000; ++i)); do "$PPMM" info pools/long 2> /dev/null | says 'by process' && break || sleep 0.01; done
kill -TERM $pid
status=0
wait $pid || status=$?
[[ $status == 143 ]] || fail "status $status after SIGTERM: $(cat log log2)"
grep -q 'everything done so far is in' log2 || fail "after SIGTERM: $(cat log log2)"
# Its process is killed: that can be done again.
"$PPMM" resume pools/long --progress none > log 2> log2 &
pid=$!
for ((i = 0; i < 1000; ++i)); do user=$("$PPMM" info pools/long 2> /dev/null | sed -n 's/.*in use *by process //p'); [[ -z $user ]] || break; sleep 0.01; done
kill -KILL "$user"
status=0
wait $pid || status=$?
[[ $status == 3 ]] || fail "status $status after the process was killed: $(cat log log2)"
grep -q 'killed by signal 9; it can be resumed again' log2 || fail "$(cat log2)"
"$PPMM" check pools/long > log || fail "check: $(cat log)"

# Root resumes a job as the user whose pool it is; others leave it alone.
if ((EUID == 0)) && command -v setpriv > /dev/null; then
  chmod 755 . && mkdir theirs && chown 65534:65534 theirs
  (cd theirs && cp ../text . && begun sorted.ppmm sort text --output sorted && chown 65534:65534 ./*)
  setpriv --reuid 65533 --clear-groups "$PPMM" resume --all theirs > log 2>&1 || fail "another's: $(cat log)"
  grep -q 'left alone: it belongs to' log || fail "another's: $(cat log)"
  "$PPMM" resume --all theirs > log 2>&1 || fail "as root: $(cat log)"
  cmp theirs/sorted sorted || fail "as root: the sorted text"
  [[ $(stat -c %u theirs/sorted) == 65534 ]] || fail "as root: the output belongs to $(stat -c %U theirs/sorted)"
fi
echo "good"
