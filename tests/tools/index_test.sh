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
# ask POOL [WORDS…]: queries, each in all ways.
some=(alpha "beta alpha" gamma)
all=("${some[@]}" beta none nowhere "$(awk 'NR == 77 { print $1 }' first)" a x "beta alpha last" "of gamma line" "alpha none")
ask() {
  local pool=$1 w
  shift
  for w in "$@"; do
    status=0
    "$PPMM" query --pool "$pool" $w > got 2> log || status=$?
    cmp got <(lines $w) || fail "query $w: $(cat log)"
    [[ $status == $([[ -s got ]] && echo 0 || echo 4) && ! -s log ]] || fail "query $w: status $status, $(cat log)"
    cmp <("$PPMM" query --files --pool "$pool" $w) <(
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
chmod 444 pool
ask pool "${all[@]}"
chmod 644 pool
[[ $(cksum < pool) == "$before" ]] || fail "a query has changed the pool"

# Made anew in the same pool, again and again: the same room.
for ((i = 0; i < 4; ++i)); do
  blocks[i]=$("$PPMM" dump pool | grep -vc '^#')
  "$PPMM" index --pool pool --fold-case --progress none "${files[@]}" > /dev/null
done
# Six arrays and a list of what is to be freed; then also those before.
[[ ${blocks[*]} == "7 14 14 14" ]] || fail "allocated blocks: ${blocks[*]}"
fold=1
ask pool "${some[@]}"
cmp <("$PPMM" query --pool pool ALPHA) <(lines alpha) || fail "a query in capital letters"
fold=
for options in "--workers 4 --commit every-task" "--soft-fault-rate 0.001 --fault-seed $seed" "--durability emulated --workers 2"; do
  "$PPMM" index --pool other $options --progress none "${files[@]}" > /dev/null || fail "index $options"
  ask other "${some[@]}"
  rm other
done

# Killed at random moments: the earlier index answers until the new one is finished; then that does.
files=(first 'third file')
timed "$PPMM" index --pool other --progress none "${files[@]}" > /dev/null
for ((rounds = 0; resumes < 2; ++rounds)); do
  ((rounds < 100)) || fail "never resumed"
  ((rounds % 5 != 4)) || ms=$((ms / 2 + 1))  # it took so long only because others were at work
  files=(second)
  "$PPMM" index --pool pool --restart --progress none "${files[@]}" > /dev/null
  for ((round = 0; ; ++round)); do
    killed $ms $round "$PPMM" index --pool pool --progress plain --workers $((1 + RANDOM % 4)) second first 'third file' || break
    "$PPMM" check pool > check.log || fail "check: $(cat check.log)"
    ! "$PPMM" jobs pool | says unfinished || cmp <("$PPMM" query --pool pool beta) <(lines beta) || fail "the earlier index after a kill"
  done
  files=(second first 'third file')
  ask pool "${some[@]}"
done
echo "$kills kills, $resumes resumes"

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

# Bytes of the index that are wrong are never followed: the right answer, or an error.
"$PPMM" index --pool hostile --progress none second empty > /dev/null
"$PPMM" query --pool hostile alpha beta > good
refused=0
"$PPMM" dump hostile | awk '!/^#/ { print $1, $2 }' > blocks
base=$(($("$PPMM" info hostile | grep -oiE '0x[0-9a-f]+' | head -n 1)))
((base > 0)) || fail "no address in: $("$PPMM" info hostile)"
cp hostile damaged
while read -r address bytes; do
  for at in 0 8 16 40; do
    for byte in '\xff' '\x01'; do
      place=$((address - base + at))
      printf "$byte$byte$byte$byte$byte$byte" | dd of=damaged bs=1 seek=$place conv=notrunc status=none
      status=0
      "$PPMM" query --pool damaged alpha beta > got 2> log || status=$?
      [[ $status == 0 || $status == 1 ]] || fail "status $status with $byte at $address + $at: $(cat log)"
      if [[ $status == 0 ]]; then
        cmp got good || fail "a wrong answer with $byte at $address + $at"
      else
        refused=$((refused + 1))
        grep -qE 'index in damaged (is damaged|has format).*ppmm index' log || fail "with $byte at $address + $at: $(cat log)"
      fi
      dd if=hostile of=damaged bs=1 skip=$place seek=$place count=6 conv=notrunc status=none
    done
  done
done < blocks
cmp hostile damaged || fail "the test has not put back what it has changed"
((refused > 5)) || fail "only $refused damages were seen"
echo "all equal; $refused damages seen"
