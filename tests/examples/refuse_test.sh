#!/bin/bash
# refuse_test.sh FOLDER: what examples in it say to bad arguments, bad input, and an unfinished job with another one.
. "$(dirname "$0")/lib.sh"
folder=$1

# refuses STATUS PATTERN EXAMPLE ARGUMENT…
refuses() {
  local expected=$1 pattern=$2
  shift 2
  status=0
  "$folder/$@" > stdout 2> stderr || status=$?
  ((status == expected)) || fail "$*: expected status $expected, got $status: $(cat stdout stderr)"
  grep -qE -- "$pattern" stderr || fail "$*: expected /$pattern/, got: $(cat stderr)"
  [[ ! -s stdout ]] || fail "$*: has an answer: $(cat stdout)"
}

for argument in "" x 0 21 -1 8x 99999999999999999999; do refuses 2 'usage: queens N' queens "$argument"; done
refuses 2 'usage: queens N' queens
refuses 2 'usage: queens N' queens 8 8
for argument in "" x 1 10000 -1 8x 99999999999999999999; do refuses 2 'usage: hashmap N' hashmap "$argument"; done
refuses 2 'usage: hashmap N' hashmap
refuses 2 'usage: crash' crash always
refuses 2 'usage: crash' crash never never
refuses 2 'usage: filesum FILE' filesum
refuses 1 'missing: No such file' filesum missing
refuses 1 'not a regular file' filesum .
[[ -z $(ls ./*.pool 2> /dev/null) ]] || fail "a pool was made for nothing: $(ls)"

echo "this is no pool" > hello.pool
refuses 1 'hello: hello.pool' hello

printf '1\n2\nthree\n4\n' > numbers
refuses 1 'the line at byte 4 does not begin with a whole number' filesum numbers
refuses 1 'the line at byte 4 does not begin with a whole number' filesum numbers
rm filesum.pool
for text in '' '7' '7\n' '\x2d1 one\n3' '10 a\n20 b\n'; do
  printf "$text" > numbers
  [[ $("$folder/filesum" numbers) == "$(awk '{ s += $1 } END { print s + 0 }' numbers)" ]] || fail "filesum of '$text'"
done

# A file that has changed since its sum was begun. The sum may be faster than the kill, or not begun: then again.
seq 3000000 > numbers
for ((attempt = 0; ; ++attempt)); do
  ((attempt < 200)) || fail "filesum was never killed in the middle"
  run_and_kill $((10 + attempt)) "$folder/filesum" numbers
  ((status == 137)) || continue
  touch numbers
  ! "$folder/filesum" numbers > stdout 2> stderr || continue
  grep -q 'on other input: it was changed since' stderr || fail "a changed file: $(cat stderr)"
  break
done
