#!/bin/bash
# `ppmm wordcount` prints what tr, sort and uniq print, for all kinds of input, killed or not.
. "$(dirname "$0")/lib.sh"

# words FILE…: one a line, none across a file's end.
words() { for f in "$@"; do tr -cs 'A-Za-z' '\n' < "$f"; echo; done | grep . || true; }
counted() { sort | uniq -c | sort -k1,1nr -k2; }

: > empty
printf '\n\0\377 1234 \n' > no_words
printf 'one' > one
printf 'end of one file' > open_end
printf 'start of the next\nThe THE the tHe\nend' > next
printf 'a\0b\0\0a\377b\r\n\taa\va aa\xc3\xa9aa--a_b' > bytes_between
random_bytes "$(many 300000)" > bytes
random_lines "$(many 30000)" "$(many 5000)" | tr '0-9' 'k-t' > lines
few=${PPMM_LINES:+300000} pages=${PPMM_LINES:+30}  # where the command is slow
{
  head -c "${few:-3000000}" /dev/zero | tr '\0' x  # a word over many blocks
  printf ' '
  head -c "${few:-3000000}" /dev/zero | tr '\0' x
  printf 'y '
  head -c "${few:-20000000}" /dev/zero | tr '\0' 'z'
  printf '\nxxxx xxxxxxx xxxxxxxx\n'
} > long_words
awk -v n="$(many 200000)" 'BEGIN { for (i = 0; i < n; ++i) print "word" }' > same_word
# Alike at both ends and as long; many in a block, and all of them in many blocks.
awk 'BEGIN { for (i = 0; i < 12000; ++i) { w = sprintf("%04d", i * 7 % 4000); gsub(/./, "&q", w); print "alikealike" w "alikealike" } }' | tr 0-9 a-j > alike

# same NAME… -- OPTION…
same() {
  local files=()
  while [[ $1 != -- ]]; do files+=("$1"); shift; done
  shift
  words "${files[@]}" | counted > expected
  "$PPMM" wordcount "$@" --progress none --output got "${files[@]}" || fail "ppmm wordcount $* ${files[*]}"
  cmp expected got || fail "ppmm wordcount $* ${files[*]}"
  [[ ! -e got.ppmm && ! -e got.part ]] || fail "left behind: $(ls)"
  rm got
}
for file in empty no_words one bytes_between bytes lines long_words same_word alike; do
  same $file -- --workers $((1 + RANDOM % 4))
done
same open_end next open_end -- --workers 2
same one one one empty one -- --heartbeat 0
same bytes lines -- --commit every-task --workers 4
same lines bytes same_word -- --soft-fault-rate 0.002 --fault-seed "$seed" --workers 2
same lines bytes -- --durability emulated --workers 2

words next lines | tr A-Z a-z | counted > expected
"$PPMM" wordcount --fold-case --progress none next lines | cmp - expected || fail "--fold-case"
[[ ! -e ppmm-wordcount.ppmm ]] || fail "left ppmm-wordcount.ppmm behind"

# This machine's own text, where there is some.
shopt -s nullglob
licenses=(/usr/share/common-licenses/*)
man=(/usr/share/man/man1/[a-d]*.1.gz)
for ((i = 0; i < ${#man[@]} && i < ${pages:-300}; ++i)); do zcat "${man[i]}" >> man || true; done
[[ ! -e man ]] || same man -- --workers 2
((${#licenses[@]} == 0)) || same "${licenses[@]}" -- --workers 2

# In a named pool, which is used again and again: nothing heaps up in it.
words lines | counted > expected
"$PPMM" create pool --size 32M > /dev/null
for ((i = 0; i < 12; ++i)); do
  "$PPMM" wordcount --pool pool --progress none lines | cmp - expected || fail "in a named pool, round $i"
  "$PPMM" check pool > log || fail "check: $(cat log)"
  blocks[i]=$("$PPMM" dump pool | grep -vc '^#')
done
# The output and a list of what is to be freed; then also the output before and its list.
[[ ${blocks[0]} == 2 && ${blocks[1]} == 4 && ${blocks[11]} == 4 ]] || fail "allocated blocks after each round: ${blocks[*]}"

# A pool that is too small: a named one is made larger by hand, the job's own by itself.
awk -v n="$((${few:-600000} + 200000))" -v seed="$seed" 'BEGIN {
  srand(seed);
  for (i = 0; i < n; ++i) { w = ""; for (k = 0; k < 8; ++k) w = w substr("abcdefghijklmnopqrstuvwxyz", int(rand() * 26) + 1, 1); print w }
}' > different
words different | counted > expected
"$PPMM" create small --size 16M > /dev/null
expect 1 'ppmm grow small SIZE' "$PPMM" wordcount --pool small --progress none different
"$PPMM" grow small 256M > /dev/null
"$PPMM" wordcount --pool small --progress none different | cmp - expected || fail "in a pool that was made larger"
same different -- --workers 2
"$PPMM" wordcount --keep-pool --progress none --output got different
"$PPMM" info got.ppmm | says 'grown .* time' || fail "the job's own pool has not grown: $("$PPMM" info got.ppmm)"
rm got got.ppmm

# Killed at random moments.
cat lines <(head -n "${PPMM_LINES:-800000}" different) bytes > text
words text | counted > expected
timed "$PPMM" wordcount --progress none --workers 2 --output got text
kill_until_resumed $ms wordcount text
"$PPMM" wordcount --progress none text | cmp - expected || fail "undisturbed"

# Changed input.
until_begun_and_killed wordcount --output got text
cp text saved
sed '1000s/[a-z]/Q/' saved > text
expect 1 'input has changed' "$PPMM" wordcount --output got text
cp saved text
expect 1 'other arguments|another' "$PPMM" wordcount --fold-case --output got text
rm -f got
"$PPMM" wordcount --progress none --output got text
cmp got expected || fail "after the input was brought back"

expect 1 'cannot open missing' "$PPMM" wordcount missing
expect 1 'standard input' "$PPMM" wordcount -
expect 2 'FILE' "$PPMM" wordcount
echo "all equal"
