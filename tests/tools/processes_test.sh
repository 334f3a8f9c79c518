#!/bin/bash
# Workers that are processes: killed, told to leave, left alone by their coordinator, joined by others.
. "$(dirname "$0")/lib.sh"

# The command's processes that have their home here. They end with the test: workers outlive who started them. (Zombies,
# which nobody may reap, have no home.)
program=$(readlink -f "$PPMM")
residents() {
  local process
  for process in /proc/[0-9]*; do
    [[ $(readlink "$process/cwd" 2> /dev/null) != "$dir"* || $(readlink "$process/exe" 2> /dev/null) != "$program" ]] || echo "${process#/proc/}"
  done
}
cgroup=
end_all() {
  local left round
  cd /
  for ((round = 0; round < 500; ++round)); do
    left=$(residents)
    [[ -n $left ]] || break
    kill -KILL $left 2> /dev/null || true
    sleep 0.01
  done
  [[ -z $cgroup ]] || for ((round = 0; round < 500; ++round)); do ! rmdir "$cgroup" 2> /dev/null || break; sleep 0.01; done
}
trap 'status=$?; kill $(jobs -p) 2> /dev/null || true; end_all; rm -rf "$dir"; exit $status' EXIT

slow=${PPMM_LINES:+yes}  # a build that tests itself
# Its worker processes; what else it may have for children (a sanitizer's) is left alone.
children() {
  local child comm
  for child in $(cat /proc/"$1"/task/"$1"/children 2> /dev/null); do
    { read -r comm < /proc/"$child"/comm; } 2> /dev/null || continue
    [[ $comm != 'ppmm worker'* ]] || printf '%s ' "$child"
  done
}
number() { echo $#; }
# at_work POOL: how many worker processes are.
at_work() { "$PPMM" info "$1" 2> /dev/null | sed -n 's/^ *in use .*[^0-9]\([0-9][0-9]*\) worker process.*/\1/p'; }
# until command…: it succeeds in the end. What has to end by itself may need long; a minute here is for ever.
until_so() {
  local i
  for ((i = 0; i < 6000; ++i)); do
    ! "$@" || return 0
    sleep 0.01
  done
  fail "it never came to this: $* ($(cat log log2 2> /dev/null))"
}
workers_are() { [[ $(at_work "$1") == "${2:-}" ]]; }
says_in() { grep -q -- "$1" "$2"; }
is_held_by() { "$PPMM" info "$2" 2> /dev/null | says "by process $1 "; }
is_gone() { ! kill -0 "$1" 2> /dev/null; }
ends_with() {  # STATUS PID
  local got=0
  wait "$2" 2> /dev/null || got=$?
  [[ $got == "$1" ]] || fail "expected status $1, got $got ($(cat log log2 2> /dev/null))"
}

# start POOL WORKERS command…: starts it, and stops all its worker processes, not itself, when the job has begun and before
# it is done: $pid, $workers. Its output goes to `told` and `log`. In a session of its own, as from a terminal.
start() {
  local pool=$1 n=$2 round
  shift 2
  for ((round = 0; round < 50; ++round)); do
    : > log
    setsid env --default-signal=INT "$PPMM" "$@" --workers-as processes --workers "$n" > told 2> log &
    pid=$!
    while ! is_gone $pid; do
      workers=$(children $pid | xargs)
      [[ $(number $workers) == "$n" ]] || continue
      kill -STOP $workers 2> /dev/null || continue
      "$PPMM" top "$pool" --once --interval 0.01 > stopped 2> /dev/null || true  # a look may take longer than the job
      [[ $(grep -cE "^ *[0-9]+ +(${workers// /|}) " stopped) != "$n" ]] || says_in ' done$' stopped || return 0
      go_on
      sleep 0.002
    done
    ends_with 0 $pid
    "$PPMM" jobs "$pool" --drop "$1 $2" 2> /dev/null || true
  done
  fail "it was always too fast: $*"
}
go_on() { kill -CONT $workers 2> /dev/null || true; }

# ---- The same answers; also while one after another is killed.

lines=${PPMM_LINES:-300000}
random_lines $((lines / 2)) 100000 > text
random_bytes $((lines * 3)) >> text
random_lines $lines 1000 | awk '{ print $1, $2 }' > edges
if [[ -z $slow ]]; then
  jobs=("fib 34" "nqueens 10" "uts T1" "matmul 600")
else
  jobs=("fib 24" "nqueens 8" "uts small" "matmul 100")
fi
jobs+=("sort text" "wordcount text" "graph components edges")

# storm PID: kills a worker of that process now and then, not for ever.
storm() {
  local i victims
  for ((i = 0; i < 300; ++i)); do
    victims=($(children "$1"))
    if ((${#victims[@]})); then
      kill -KILL "${victims[RANDOM % ${#victims[@]}]}" 2> /dev/null || true
    else
      kill -0 "$1" 2> /dev/null || break
    fi
    sleep "0.00$((1 + RANDOM % 6))${slow:+9}"
  done
}
died=0
for job in "${jobs[@]}"; do
  "$PPMM" $job --workers 2 --progress none > expected
  "$PPMM" $job --workers-as processes --workers 3 --progress none --statistics > told 2> log
  cmp told expected || fail "$job with processes"
  grep -q '^processes  *0 died' log || fail "$job with processes: $(cat log)"
  "$PPMM" $job --workers-as processes --workers 3 --progress none --statistics > told 2> log &
  pid=$!
  storm $pid &
  stormer=$!
  ends_with 0 $pid
  wait $stormer
  cmp told expected || fail "$job with processes that are killed: $(cat log)"
  died=$((died + $(sed -n 's/^processes *\([0-9]*\) died.*/\1/p' log)))
done
((died > 0)) || fail "no worker was ever killed"
echo "$died workers died"
[[ -z $(ls ./*.ppmm 2> /dev/null) ]] || fail "left behind: $(ls)"

# ---- Without a coordinator.

n=36 answer=14930352
[[ -z $slow ]] || n=30 answer=832040
start pool 3 fib $n --pool pool
"$PPMM" info pool | says "by process $pid and 3 worker processes" || fail "info: $("$PPMM" info pool)"
"$PPMM" top pool --once --interval 0.01 > log
for worker in $workers; do grep -q "^ *[0-9]* *$worker " log || fail "no worker $worker: $(cat log)"; done
kill -KILL $pid
ends_with 137 $pid
"$PPMM" info pool | says 'by 3 worker processes whose coordinator is gone' || fail "info: $("$PPMM" info pool)"
"$PPMM" top pool --once --interval 0.01 | says 'coordinator is gone: 3 worker processes are at work' || fail "top: $("$PPMM" top pool --once)"
"$PPMM" check pool | says 'in use by 3 worker processes' || fail "check: $("$PPMM" check pool)"
expect 1 'still at work in it.*ppmm top' "$PPMM" jobs pool --drop "fib $n"
expect 1 'still at work' "$PPMM" fib $n --pool pool --restart
expect 1 'still at work' "$PPMM" grow pool 200M
expect 1 'worker processes whose coordinator is gone' "$PPMM" query --pool pool word
kill -KILL "${workers%% *}"
"$PPMM" fib $n --pool pool --workers 2 --progress bar --statistics > told 2> log &
pid=$!
until_so says_in ' %' log
until_so workers_are pool 2
go_on
ends_with 0 $pid
[[ $(cat told) == "$answer" ]] || fail "attached: $(cat told log)"
until_so workers_are pool ""
"$PPMM" check pool > log || fail "check: $(cat log)"
"$PPMM" jobs pool --drop "fib $n"

# A sort, too, whose output appears whole.
sort text > sorted
start sorting 2 sort text --pool sorting --output got
kill -KILL $pid
ends_with 137 $pid
"$PPMM" sort text --pool sorting --output got --workers-as processes --workers 2 --progress none 2> log &
pid=$!
until_so is_held_by $pid sorting
workers_are sorting 2 || fail "a sort without its coordinator: $("$PPMM" info sorting)"
go_on
ends_with 0 $pid
cmp got sorted || fail "a sort without its coordinator: $(cat log)"

# All are killed: as any job. resume goes on with it.
start pool 3 fib $n --pool pool
kill -KILL $workers $pid
ends_with 137 $pid
until_so workers_are pool ""
"$PPMM" resume pool --progress plain > told 2> log || fail "resume: $(cat told log)"
grep -q 'resumed at' log && grep -q '"fib .*" finished' told || fail "resume: $(cat told log)"
[[ $("$PPMM" fib $n --pool pool) == "$answer" ]] || fail "resume"
"$PPMM" jobs pool --drop "fib $n"

# ---- Told to end.

# A terminal sends SIGINT to all. They commit, and none is left.
start pool 3 fib 60 --pool pool
kill -INT -- -$pid
go_on
ends_with 130 $pid
grep -q 'everything done so far is in pool' log && grep -q -- "fib 60 --pool pool --workers-as processes" log || fail "Ctrl-C: $(cat log)"
[[ -z $(at_work pool) ]] || fail "Ctrl-C left workers: $("$PPMM" info pool)"
start pool 2 fib 60 --pool pool --progress plain
grep -q 'resumed at' log || fail "after Ctrl-C: $(cat log)"
# SIGTERM to the command: the same. To a worker: it leaves.
kill -TERM $pid
go_on
ends_with 143 $pid
[[ -z $(at_work pool) ]] || fail "SIGTERM left workers: $("$PPMM" info pool)"
"$PPMM" jobs pool --drop "fib 60"
start pool 3 fib $n --pool pool --statistics
kill -TERM "${workers%% *}"
kill -CONT "${workers%% *}"
until_so workers_are pool 2
go_on
ends_with 0 $pid
[[ $(cat told) == "$answer" ]] && grep -q '^processes *0 died, 0 were replaced' log || fail "SIGTERM to a worker: $(cat told log)"
"$PPMM" jobs pool --drop "fib $n"

# All are lost, and not to be replaced.
start pool 3 fib $n --pool pool --respawn 0
kill -KILL $workers
ends_with 3 $pid
grep -q 'all 3 workers were lost; everything committed is in pool. The same command goes on' log || fail "--respawn 0: $(cat log)"
[[ $("$PPMM" fib $n --pool pool --workers-as processes --workers 3 --respawn 0 2> log) == "$answer" ]] && grep -q 'resumed at' log || fail "--respawn 0: $(cat log)"
"$PPMM" jobs pool --drop "fib $n"

# ---- What cannot be.

expect 2 'workers-as processes: .* only threads can give' "$PPMM" fib 20 --workers-as processes --profile
expect 2 'only threads can give' "$PPMM" profile run --trace trace -- fib 20 --workers-as processes
[[ ! -e trace ]] || fail "a trace of nothing"
expect 2 'WHAT|workers-as' "$PPMM" fib 20 --workers-as horses
expect 2 'workers-as' "$PPMM" fib 20 --respawn 1
[[ -z $(ls ./*.ppmm 2> /dev/null) ]] || fail "left behind: $(ls)"
expect 2 'POOL' "$PPMM" join
expect 1 'none: No such file' "$PPMM" join none
expect 1 'expected a running job, found none' "$PPMM" join pool

# ---- Joined.

mkdir elsewhere
join() {  # in the background: $guest
  (cd elsewhere && exec setsid env --default-signal=INT "$PPMM" join "$@" > ../told2 2> ../log2) &
  guest=$!
}
start pool 1 fib $n --pool pool --progress none
join ../pool --workers 2
until_so workers_are pool 3  # they share the work, or wait for some
guests=$(children $guest)
kill -KILL "${guests%% *}"
until_so eval '[[ $(number $(children $guest)) == 2 && $(children $guest) != "$guests" ]]'  # another in its place
kill -INT $guest
ends_with 0 $guest
grep -q "ppmm: 2 workers of \"fib $n\" have left, and it goes on without them" log2 || fail "Ctrl-C to those who joined: $(cat log2)"
[[ $(at_work pool) == 1 ]] || fail "those who joined are still there: $("$PPMM" info pool)"
join ../pool --workers 1
until_so workers_are pool 2
kill -KILL $guest
ends_with 137 $guest
workers_are pool 2 || fail "without who started it, a worker that joined has left"
go_on
ends_with 0 $pid
[[ $(cat told) == "$answer" ]] || fail "joined: $(cat told log)"
"$PPMM" jobs pool --drop "fib $n"

# To the end; of two commands, one whose coordinator is gone.
start pool 2 fib $n --pool pool --progress none
kill -KILL $pid
ends_with 137 $pid
join ../pool --workers 1
until_so workers_are pool 3
go_on
ends_with 0 $guest
grep -q "1 worker of \"fib $n\" worked to its end" log2 || fail "to the end: $(cat log2)"
[[ $("$PPMM" fib $n --pool pool --statistics 2> log) == "$answer" ]] && grep -q '^commits *0 ' log || fail "to the end: $(cat log)"

# Files are found where the job was begun. Its output is nobody's who joins.
mkdir work
for job in "sort ../text" "wordcount ../text" "graph components ../edges"; do
  rm -f work/* expected
  "$PPMM" ${job//..\//} --output expected --progress none
  cd work
  start got.ppmm 1 $job --output got --progress none
  cd ..
  join ../work/got.ppmm --workers 2
  until_so workers_are work/got.ppmm 3
  kill -CONT $workers
  ends_with 0 $guest
  ends_with 0 $pid
  cmp work/got expected || fail "joined: $job"
  [[ $(ls work | sort | xargs) == 'got log stopped told' ]] || fail "left behind: $(ls work)"
done

# Errors that need a running job.
start pool 1 fib $n --pool pool --progress none
chmod g+w pool
expect 1 'others than the pool.s owner may write to .*chmod go-w' "$PPMM" join pool
chmod g-w pool
if ((EUID == 0)) && command -v setpriv > /dev/null; then
  chmod 755 . && chmod 644 pool
  expect 1 'expected a pool of yours' setpriv --reuid 65533 --clear-groups "$PPMM" join "$dir/pool"
fi
expect 1 'more workers asked for' "$PPMM" join pool --workers 4000
kill -KILL $pid $workers
ends_with 137 $pid
until_so workers_are pool ""
expect 1 'found no worker process at work. Run it with --workers-as processes' "$PPMM" join pool
"$PPMM" jobs pool --drop "fib $n"
"$PPMM" fib 60 --pool pool --progress none 2> log &
pid=$!
wait_until_begun $pid pool || fail "fib 60 has ended"
expect 1 'found no worker process at work. Run it with --workers-as processes' "$PPMM" join pool
kill -KILL $pid
ends_with 137 $pid
"$PPMM" jobs pool --drop "fib 60"

# ---- For want of memory: one that the system kills.

if [[ -d /sys/fs/cgroup/memory && ! -e /sys/fs/cgroup/cgroup.controllers ]]; then
  cgroup=/sys/fs/cgroup/memory/ppmm-test-$$ limit=memory.limit_in_bytes
else
  cgroup=/sys/fs/cgroup/ppmm-test-$$ limit=memory.max
fi
if mkdir "$cgroup" 2> /dev/null && echo 1M 2> /dev/null > "$cgroup/$limit"; then
  cat text text text text > texts
  sort texts > sorted
  "$PPMM" create scarce --size 512M --sparse > /dev/null
  start scarce 2 sort texts --pool scarce --output got --statistics
  for worker in $workers; do echo "$worker" > "$cgroup/cgroup.procs"; done
  go_on
  ends_with 0 $pid
  cmp got sorted || fail "killed for want of memory: $(cat log)"
  grep -q '^processes *[12] died' log || fail "nobody was killed for want of memory: $(cat log)"
else
  cgroup=
  echo "no memory cgroup can be made here: not tried what happens for want of memory"
fi
left=$(residents)
[[ -z $left ]] || fail "left behind: $(ps -f $left)"
echo "good"
