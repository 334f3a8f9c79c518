#!/bin/bash
# `ppmm sort` gives the bytes of `LC_ALL=C sort`, for all kinds of input and in all kinds of ways.
. "$(dirname "$0")/lib.sh"

: > empty
printf 'b\na' > no_newline
printf '\n\n\n\n\n' > only_newlines
printf 'one line' > one_line
printf '\n' > newline
random_bytes 300000 > bytes
printf 'a\r\nb\r\na\n\0\n\0\0\na\0b\na\0\na\na \na\t\n\377\n\376\377\n' > ends
random_lines "$(many 100000)" "$(many 100000)" > lines
random_lines "$(many 200000)" 20 | cut -d ' ' -f 1-9 | sed 's/ [^ ]*$//' > duplicates
sort lines > sorted
sort -r lines > reverse
{
  head -c "$(many 5000000)" /dev/zero | tr '\0' x
  echo
  head -c "$(many 5000000)" /dev/zero | tr '\0' x
  printf 'y\nshort\n'
  head -c 17000000 /dev/zero | tr '\0' z  # longer than a table entry's length field
  echo
  head -c 17000000 /dev/zero | tr '\0' z
  printf 'a\nx\n'
  random_bytes "$(many 5000000)" | tr '\n' 'n'
} > long_lines

# same NAME… -- OPTION…
same() {
  local files=()
  while [[ $1 != -- ]]; do files+=("$1"); shift; done
  shift
  sort -- "${files[@]}" > expected
  "$PPMM" sort "$@" --progress none --output got "${files[@]}" || fail "ppmm sort $* ${files[*]}"
  cmp expected got || fail "ppmm sort $* ${files[*]}"
  [[ ! -e got.ppmm && ! -e got.part ]] || fail "left behind: $(ls)"
  rm got
}

for file in empty no_newline only_newlines one_line newline bytes ends lines duplicates sorted reverse long_lines; do
  same $file -- --workers $((1 + RANDOM % 4))
done
counts=(1 2 4)
[[ -z ${PPMM_LINES:-} ]] || counts=(2)
for workers in "${counts[@]}"; do
  for level in process emulated; do
    same lines duplicates no_newline empty no_newline bytes -- --workers $workers --durability $level
  done
done
same empty -- --commit every-task
same bytes ends -- --commit every-task --workers 2
same no_newline lines -- --heartbeat 0 --workers 4
same lines bytes -- --soft-fault-rate 0.01 --fault-seed "$seed" --workers 2
same lines empty lines lines -- --heartbeat 1

# Durability against power loss, where a disk is at hand.
if [[ $(stat -f -c %T "${TMPDIR:-/tmp}") != tmpfs ]]; then
  pool=$(mktemp -u "${TMPDIR:-/tmp}/ppmm-test.XXXXXX")
  same no_newline lines -- --workers 2 --durability power --pool "$pool"
  rm "$pool"
fi

# To standard output; in place; into a pool that is kept.
sort lines > expected
"$PPMM" sort --progress none lines | cmp - expected || fail "standard output"
[[ ! -e ppmm-sort.ppmm ]] || fail "left ppmm-sort.ppmm behind"
status=0
"$PPMM" sort --progress none lines | head -n 1 > first || status=$?
[[ $status == 141 ]] || fail "a reader that goes away: status $status"
head -n 1 expected | cmp - first || fail "a reader that goes away"
[[ ! -e ppmm-sort.ppmm ]] || fail "left ppmm-sort.ppmm behind"
cp lines in_place
chmod 640 in_place
"$PPMM" sort --progress none --output in_place in_place
cmp in_place expected || fail "in place"
[[ $(stat -c %a in_place) == 640 ]] || fail "permissions were $(stat -c %a in_place)"
for round in 1 2; do
  "$PPMM" sort --progress none --pool kept --output got lines
  cmp got expected || fail "kept pool, round $round"
done
[[ -e kept ]] || fail "the named pool is gone"
"$PPMM" check kept
echo "all equal"
