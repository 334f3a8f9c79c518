#!/bin/bash
# `ppmm graph` prints what a serial program finds, for all kinds of graphs, killed or not.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

command -v python3 > /dev/null || { echo "no python3 to compare with"; exit 77; }
reference() { python3 "$here/graph_reference.py" "$@"; }

# random_graph VERTICES EDGES [PREFIX]
random_graph() {
  awk -v v="$1" -v e="$2" -v prefix="${3:-}" -v seed="$((seed + $1))" 'BEGIN {
    srand(seed);
    for (i = 0; i < e; ++i) printf "%s%d%s%s%d\n", prefix, rand() * v, (i % 3 ? " " : "\t "), prefix, rand() * v
  }'
}
random_graph 1000 800 > sparse          # many small components
random_graph 2000 20000 n > dense       # one large one
random_graph 300 3000 > multi           # loops, edges given twice
awk 'BEGIN { for (i = 0; i < 3000; ++i) print i, i + 1 }' > path
cat dense <(awk '{ print $1, "p0"; exit }' dense) <(sed 's/[0-9]*/p&/g' path | head -100) <(sed 's/n/m/g; 1s/^/p100 m1\n/' dense) > pans  # two large ones, a path between them
awk 'BEGIN { for (i = 1; i < 12000; ++i) print (i % 2 ? "hub " i : i " hub") }' > star
awk 'BEGIN { for (i = 1; i < 12000; ++i) print i, int(i / 2) }' | shuf --random-source=<(random_bytes 500000) > tree
: > empty
printf '# nothing\n\n  # here\n \t\n' > comments
printf '# FromNodeId\tToNodeId\r\na b\r\n\tb\t\tc  \nc a\nd d\n\377 \0\n' > odd
printf 'a b' > no_newline

ways_there=('' undirected)
[[ -z ${PPMM_LINES:-} ]] || ways_there=("${ways_there[RANDOM % 2]}")  # where the command is slow
# same FILE…: all algorithms, in one file.
same() {
  local file=$1 workers=$((1 + RANDOM % 4)) source
  shift
  source=$(grep -av '^[[:space:]]*#' $file | awk 'NF == 2 { print $1; exit }') || true
  reference components $file > expected
  "$PPMM" graph components --progress none --workers $workers "$@" $file > got || fail "graph components $* $file"
  cmp expected got || fail "graph components $* $file"
  for undirected in "${ways_there[@]}"; do
    if [[ -n $source ]]; then
      reference bfs $file source "$source" $undirected > expected
      "$PPMM" graph bfs ${undirected:+--undirected} --source "$source" --progress none --workers $workers "$@" $file > got || fail "graph bfs $* $file"
      cmp expected got || fail "graph bfs $undirected --source $source $* $file"
    fi
    reference pagerank $file iterations 12 $undirected > expected
    "$PPMM" graph pagerank --iterations 12 ${undirected:+--undirected} --progress none --workers $workers "$@" $file > got || fail "graph pagerank $* $file"
    reference same-ranks got expected || fail "graph pagerank $undirected $* $file"
  done
}
for file in sparse dense multi path pans star tree empty comments odd no_newline; do same $file; done
same dense --commit every-task
same pans --commit every-task
same multi --soft-fault-rate 0.002 --fault-seed "$seed"
same sparse --durability emulated

# Several files are one graph; the options of PageRank.
cat path sparse > together
reference components together > expected
"$PPMM" graph components --progress none path sparse | cmp - expected || fail "several files"
for options in "" "iterations 1" "iterations 7 tolerance 0" "tolerance 0.01"; do
  reference pagerank dense $options > expected
  "$PPMM" graph pagerank $(sed -E 's/(^| )([a-z])/ --\2/g' <<< "$options") --progress plain dense > got 2> log
  reference same-ranks got expected || fail "pagerank $options"
  grep -qE "[0-9]+ iterations" log || fail "no word on the iterations: $(cat log)"
done
# The same bits, whatever the workers.
"$PPMM" graph pagerank --progress none --workers 1 dense > one
"$PPMM" graph pagerank --progress none --workers 4 --soft-fault-rate 0.001 dense | cmp - one || fail "ranks depend on the workers"

# Bad lines: told, counted, left out; all others count.
awk '{ print; if (NR % 50 == 7) print "lonely"; if (NR % 50 == 9) print "a b c" }' sparse > bad
reference components sparse > expected
"$PPMM" graph components --progress none no_newline bad > got 2> log
cmp got <(cat <(reference components <(cat no_newline <(echo) sparse))) || fail "bad lines changed the result"
line=$(awk 'NF != 2 { print NR; exit }' bad)
grep -q "ppmm: bad:$line: " log || fail "the first bad line: $(cat log)"
[[ $(grep -c ': no edge' log) == 10 ]] || fail "the first ten: $(cat log)"
grep -q "left out: $(awk 'NF != 2' bad | wc -l)\$" log || fail "the number of bad lines: $(cat log)"

expect 1 'no edge has the vertex nobody' "$PPMM" graph bfs --source nobody dense --pool nobody
expect 2 'source' "$PPMM" graph bfs dense
expect 2 '' "$PPMM" graph
expect 2 'tolerance' "$PPMM" graph pagerank --tolerance -1 dense
expect 1 'cannot open missing' "$PPMM" graph components missing

# Killed at random moments.
random_graph "${PPMM_LINES:-120000}" "${PPMM_LINES:-120000}" > large
source=$(awk '{ print $1; exit }' large)
ways=(components "bfs --undirected --source $source" "pagerank --iterations 20")
[[ -z ${PPMM_LINES:-} ]] || ways=("${ways[RANDOM % 3]}")  # where the command is slow
for how in "${ways[@]}"; do
  timed "$PPMM" graph $how --progress none --workers 2 --output expected large
  [[ $how != comp* ]] || cmp expected <(reference components large) || fail "graph $how"
  kill_until_resumed $ms graph $how large
done
echo "all equal"
