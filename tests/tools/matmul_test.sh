#!/bin/bash
# `ppmm matmul` prints the checksum of the product, killed or not.
. "$(dirname "$0")/lib.sh"

command -v python3 > /dev/null || { echo "no python3 to compare with"; exit 77; }

# serial N SEED: the same, in three loops.
serial() {
  python3 - "$1" "$2" << 'END'
import sys
n, seed, mask = int(sys.argv[1]), int(sys.argv[2]), (1 << 64) - 1
def word(seed, i):
    x = (seed + (i + 1) * 0x9E3779B97F4A7C15) & mask
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return x ^ x >> 31
a, b = ([[word(seed, first + i * n + j) % 1024 - 512 for j in range(n)] for i in range(n)] for first in (0, n * n))
columns = list(zip(*b))
total = 0
for i in range(n):
    for j in range(n):
        total += sum(x * y for x, y in zip(a[i], columns[j])) * (word(0, i * n + j) | 1)
print("%016x" % (total & mask))
END
}
for n in 0 1 2 7 63 64 65 130; do
  [[ $("$PPMM" matmul $n --progress none --workers $((1 + RANDOM % 4))) == "$(serial $n 1)" ]] || fail "matmul $n"
done
[[ $("$PPMM" matmul 50 --seed 12345678901234567890 --progress none) == "$(serial 50 12345678901234567890)" ]] || fail "--seed"
[[ $("$PPMM" matmul 100 --commit every-task --progress none) == "$(serial 100 1)" ]] || fail "--commit every-task"
[[ $("$PPMM" matmul 100 --soft-fault-rate 0.0005 --fault-seed "$seed" --progress none) == "$(serial 100 1)" ]] || fail "faults"
[[ -z $(ls ./*.ppmm 2> /dev/null) ]] || fail "left behind: $(ls)"
"$PPMM" matmul 30 --pool pool --progress none > got
[[ $(cat got) == "$("$PPMM" matmul 30 --pool pool --progress none)" && $(cat got) == "$(serial 30 1)" ]] || fail "again"
[[ -z $("$PPMM" dump pool | grep -v '^#') ]] || fail "left in the heap: $("$PPMM" dump pool)"
expect 2 'N' "$PPMM" matmul
expect 2 'N' "$PPMM" matmul -- -3

# Killed at random moments. More than one turn of the inner dimension.
n=1100
[[ -z ${PPMM_LINES:-} ]] || n=530
timed "$PPMM" matmul $n --progress none --workers 1 > expected
for ((rounds = 0; resumes == 0; ++rounds)); do
  ((rounds < 50)) || fail "never resumed"
  ((rounds % 5 != 4)) || ms=$((ms / 2 + 1))  # it took so long only because others were at work
  for ((round = 0; ; ++round)); do
    killed $ms $round "$PPMM" matmul $n --progress plain --workers $((1 + RANDOM % 4)) || break
    [[ ! -e ppmm-matmul-$n.ppmm ]] || "$PPMM" check ppmm-matmul-$n.ppmm > check.log || fail "check: $(cat check.log)"
  done
  cmp told expected || fail "after $kills kills: $(cat told), expected $(cat expected)"
done
echo "$kills kills, $resumes resumes; all equal"
