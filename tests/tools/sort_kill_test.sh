#!/bin/bash
# Killed with SIGKILL at random moments, or told to stop, `ppmm sort` goes on and gives the same bytes in the end.
. "$(dirname "$0")/lib.sh"

random_lines "${PPMM_LINES:-600000}" 400000 > lines
random_bytes 3000000 > bytes
sort lines bytes > expected

# The time of an undisturbed run, in ms, to aim the kills.
start=$(date +%s%N)
"$PPMM" sort --progress none --workers 2 --output got lines bytes
whole=$((($(date +%s%N) - start) / 1000000))
cmp got expected || fail "undisturbed"

kills=0
resumes=0
# kill_until_done OPTION…: each run is killed at a random moment, until one gets to the end.
kill_until_done() {
  rm -f got got.ppmm
  local status round
  for ((round = 0; round < 60; ++round)); do
    "$PPMM" sort --progress plain --workers $((1 + RANDOM % 4)) --output got "$@" lines bytes 2> log &
    local pid=$!
    local after=$((1 + RANDOM % (round < 40 ? whole / 2 + 1 : whole * 20)))
    (sleep "$((after / 1000)).$(printf '%03d' $((after % 1000)))"; kill -KILL $pid 2> /dev/null) &
    local killer=$!
    status=0
    wait $pid 2> /dev/null || status=$?
    kill $killer 2> /dev/null || true
    wait $killer 2> /dev/null || true
    ! grep -q 'resumed at' log || resumes=$((resumes + 1))
    if [[ $status == 0 ]]; then
      cmp got expected || fail "after $round kills ($*)"
      [[ ! -e got.ppmm ]] || fail "left got.ppmm behind"
      return
    fi
    [[ $status == 137 ]] || fail "status $status: $(cat log)"
    kills=$((kills + 1))
    [[ ! -e got ]] || cmp -s got expected || fail "half an output after a kill"
    [[ ! -e got.ppmm ]] || "$PPMM" check got.ppmm > check.log || fail "check: $(cat check.log)"
  done
  fail "never got to the end"
}

for round in 1 2 3 4; do
  kill_until_done --durability process
  kill_until_done --durability emulated
done
kill_until_done --heartbeat 5
kill_until_done --soft-fault-rate 0.001 --fault-seed "$seed"
echo "$kills kills, $resumes resumes"
((resumes > 0)) || fail "nothing was ever resumed"

# SIGINT and SIGTERM: everything is saved, and the message says how to go on.
sort lines lines lines bytes > expected  # larger: a signal is heard within a tenth of a second
set -m  # else the shell starts background jobs with SIGINT ignored
for signal in INT:130 TERM:143; do
  : > log
  for ((round = 0; round < 50; ++round)); do  # the sort may be faster
    ! grep -q 'everything done so far is in got.ppmm' log || break
    status=0
    rm -f got got.ppmm
    "$PPMM" sort --workers 2 --commit every-task --output got lines lines lines bytes 2> log &
    pid=$!
    ! wait_until_begun $pid got.ppmm || kill -"${signal%:*}" $pid 2> /dev/null || true
    wait $pid || status=$?
    [[ $status == 0 ]] || grep -q 'ppmm: interrupted' log || fail "no word about the interruption: $(cat log)"
  done
  grep -q 'everything done so far is in got.ppmm' log || fail "${signal%:*} always came too late: $(cat log)"
  [[ $status == "${signal#*:}" ]] || fail "${signal%:*} gave status $status: $(cat log)"
  grep -q -- '--output got lines lines lines bytes' log || fail "no word on how to go on: $(cat log)"
  "$PPMM" sort --progress plain --workers 4 --output got lines lines lines bytes 2> log
  grep -q 'resumed at' log || fail "not resumed after ${signal%:*}: $(cat log)"
  cmp got expected || fail "after ${signal%:*}"
done
echo "all equal"
