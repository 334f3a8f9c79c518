#!/bin/bash
# run_killed.sh ANSWER PROGRAM ARGUMENT…: runs an example undisturbed; then, up to five times from the beginning, killed
# with SIGKILL at random moments and run again until it gets to its end. It must always print the same, ANSWER in the
# last line.
. "$(dirname "$0")/lib.sh"
answer=$1
shift
seq 3000000 > numbers # for an example that reads a file

start=$(date +%s%N)
"$@" > stdout 2> stderr || fail "undisturbed: status $?: $(cat stderr)"
whole=$(since "$start")
[[ $(tail -n 1 stdout) == "$answer" ]] || fail "undisturbed: expected '$answer', got: $(cat stdout)"
cp stdout expected
check_answer() { cmp -s stdout expected || fail "$1: expected '$(cat expected)', got: '$(cat stdout)' ($(cat stderr))"; }
"$@" > stdout 2> stderr || fail "once more: status $?: $(cat stderr)"
check_answer "once more, when it was done"

kills=0
resumes=0
for game in 1 2 3 4 5; do
  ((game < 2 || $(since "$start") < 20000)) || break # sanitizers make it long
  rm -f ./*.pool
  for ((round = 0; ; ++round)); do
    ((round < 60)) || fail "game $game never got to the end"
    # On one core or on all: a job may go on with another number of workers.
    cores=()
    ((RANDOM % 3)) || cores=(taskset -c 0)
    run_and_kill $((1 + RANDOM % (round < 8 ? whole / 2 + 10 : whole * 20))) "${cores[@]}" "$@"
    ! grep -q resumed stderr || resumes=$((resumes + 1))
    ((status != 0)) || break
    ((status == 137)) || fail "status $status: $(cat stderr)"
    kills=$((kills + 1))
  done
  check_answer "after $round kills"
done
echo "$whole ms; $kills kills, $resumes resumes"
((kills > 0)) || fail "was never killed"
case $1 in
  */crash | */kmeans) ((resumes > 0)) || fail "was never resumed" ;; # those that take long in every build
esac
