#!/bin/bash
# `ppmm query` finds what grep -nw finds, in an index that was killed while it was made or not; it believes no pool.
. "$(dirname "$0")/lib.sh"

random_lines 4000 300 | tr '0-9' 'k-t' > first
printf 'Alpha beta\n\nbeta alpha beta, beta\nALPHA\n\nnone' > second
: > empty
{ seq -f 'line %g of gamma' 1 20000 | tr 0-9 a-j; echo 'alpha in the last line'; } > 'third file'
random_bytes 200000 > bytes
files=(first second empty 'third file' bytes empty)

# lines WORD…: what the index must tell of these files.
lines() {
  for f in $(seq 0 $((${#files[@]} - 1))); do
    awk -v name="${files[f]}" -v words="$*" -v fold="${fold:-}" 'BEGIN { n = split(words, w, " ") } {
      s = (fold ? tolower($0) : $0); gsub(/[^A-Za-z]/, " ", s); s = " " s " "
      for (i = 1; i <= n; ++i) if (!index(s, " " w[i] " ")) next
      print name ":" NR
    }' "${files[f]}"
  done
}
# ask POOL: queries in all ways.
ask() {
  local words=(alpha beta none gamma nowhere "$(awk 'NR == 77 { print $1 }' first)" a x "alpha beta" "beta alpha last" "of gamma line" "alpha none")
  for w in "${words[@]}"; do
    "$PPMM" query --pool "$1" $w > got || fail "query $w"
    cmp got <(lines $w) || fail "query $w"
    cmp <("$PPMM" query --files --pool "$1" $w) <(
      for f in "${files[@]}"; do
        for one in $w; do (files=("$f"); [[ -n $(lines $one) ]]) || continue 2; done
        echo "$f"
      done) || fail "query --files $w"
  done
}

# mawk stops a line at a zero byte, which the index does not.
random_bytes 200000 | tr '\0' '\1' > bytes
"$PPMM" index --pool pool --progress none "${files[@]}" > told
grep -q "^6 files, $(for f in "${files[@]}"; do awk 'END { print NR }' "$f"; done | awk '{ n += $1 } END { print n }') lines" told || fail "told: $(cat told)"
"$PPMM" check pool > log || fail "check: $(cat log)"
before=$(cksum < pool)
ask pool
[[ $(cksum < pool) == "$before" ]] || fail "a query has changed the pool"
chmod 444 pool
ask pool
chmod 644 pool

# Made anew in the same pool, again and again: the same room.
"$PPMM" dump pool | grep -vc '^#' > blocks
for ((i = 0; i < 5; ++i)); do
  "$PPMM" index --pool pool --fold-case --progress none "${files[@]}" > /dev/null
done
[[ $("$PPMM" dump pool | grep -vc '^#') == "$(cat blocks)" ]] || fail "blocks: $(cat blocks), then $("$PPMM" dump pool | grep -vc '^#')"
fold=1 ask pool
fold=1
cmp <("$PPMM" query --pool pool ALPHA) <(lines alpha) || fail "a query in capital letters"
fold=
for options in "--workers 4 --commit every-task" "--soft-fault-rate 0.001 --fault-seed $seed" "--durability emulated --workers 2"; do
  "$PPMM" index --pool other $options --progress none "${files[@]}" > /dev/null || fail "index $options"
  ask other
  rm other
done

# Killed at random moments: the earlier index answers until the new one is finished; then that does.
files=(first 'third file')
start=$(date +%s%N)
"$PPMM" index --pool other --progress none "${files[@]}" > /dev/null
whole=$((($(date +%s%N) - start) / 1000000))
resumes=0
for ((rounds = 0; resumes < 2; ++rounds)); do
  ((rounds < 20)) || fail "never resumed"
  files=(second)
  "$PPMM" index --pool pool --restart --progress none "${files[@]}" > /dev/null
  for ((round = 0; ; ++round)); do
    ((round < 80)) || fail "never got to the end"
    "$PPMM" index --pool pool --progress plain --workers $((1 + RANDOM % 4)) second first 'third file' 2> log > told &
    pid=$!
    after=$((1 + RANDOM % (round < 40 ? whole : whole * 20)))
    (sleep "$((after / 1000)).$(printf '%03d' $((after % 1000)))"; kill -KILL $pid 2> /dev/null) &
    killer=$!
    status=0
    wait $pid 2> /dev/null || status=$?
    kill $killer 2> /dev/null || true
    wait $killer 2> /dev/null || true
    ! grep -q 'resumed at' log || resumes=$((resumes + 1))
    [[ $status != 0 ]] || break
    [[ $status == 137 ]] || fail "status $status: $(cat log)"
    "$PPMM" check pool > log || fail "check: $(cat log)"
    ! "$PPMM" jobs pool | grep -q unfinished || cmp <("$PPMM" query --pool pool beta) <(lines beta) || fail "the earlier index after a kill"
  done
  files=(second first 'third file')
  ask pool
done
echo "$resumes resumes"

# Pools that will not do.
"$PPMM" create none --size 16M > /dev/null
expect 1 'none has no index.*ppmm index --pool none' "$PPMM" query --pool none word
expect 1 'missing' "$PPMM" query --pool missing word
expect 1 '' "$PPMM" query --pool first word
expect 1 'no word' "$PPMM" query --pool pool 'two words'
expect 2 'WORD' "$PPMM" query --pool pool
expect 2 'pool' "$PPMM" query word
expect 2 'pool' "$PPMM" index first
cp pool damaged
truncate -s 20M damaged
expect 1 'damaged' "$PPMM" query --pool damaged alpha
"$PPMM" fib 45 --pool none --progress none > /dev/null &
pid=$!
wait_until_begun $pid none || fail "fib did not begin"
expect 1 "in use by process $pid" "$PPMM" query --pool none word
kill -KILL $pid
wait $pid 2> /dev/null || true

# Bytes of the index that are wrong are never followed: an answer, or an error.
"$PPMM" index --pool hostile --progress none second empty > /dev/null
"$PPMM" query --pool hostile alpha beta > good
refused=0
"$PPMM" dump hostile | awk '!/^#/ { print $1, $2 }' > blocks
base=$(($("$PPMM" info hostile | grep -oiE '0x[0-9a-f]+' | head -n 1)))
((base > 0)) || fail "no address in: $("$PPMM" info hostile)"
while read -r address bytes; do
  for at in 0 8 16 40; do
    for byte in '\xff' '\x7f' '\x01'; do
      cp hostile damaged
      printf "$byte$byte$byte$byte$byte$byte" | dd of=damaged bs=1 seek=$((address - base + at)) conv=notrunc status=none
      status=0
      "$PPMM" query --pool damaged alpha beta > got 2> log || status=$?
      [[ $status == 0 || $status == 1 ]] || fail "status $status with $byte at $address + $at: $(cat log)"
      [[ $status == 0 ]] || refused=$((refused + 1))
      [[ $status == 0 ]] || grep -qE 'damaged|format' log || fail "with $byte at $address + $at: $(cat log)"
    done
  done
done < blocks
((refused > 5)) || fail "only $refused damages were seen"
echo "all equal; $refused damages seen"
