#!/bin/bash
# Killed with SIGKILL at random moments, or told to stop, `ppmm sort` goes on and gives the same bytes in the end.
. "$(dirname "$0")/lib.sh"

random_lines "${PPMM_LINES:-600000}" 400000 > lines
random_bytes 3000000 > bytes
sort lines bytes > expected

timed "$PPMM" sort --progress none --workers 2 --output got lines bytes
cmp got expected || fail "undisturbed"
ways=("--durability process" "--durability emulated" "--heartbeat 5" "--soft-fault-rate 0.001 --fault-seed $seed")
[[ -n ${PPMM_LINES:-} ]] || ways+=("${ways[@]:0:2}" "${ways[@]:0:2}")  # where the command is slow, each once
for options in "${ways[@]}"; do
  kill_until_resumed $ms sort $options lines bytes
done

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
    wait -f $pid || status=$?  # -f: with `set -m` it would also return when the process stands still
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
