#!/bin/bash
# A real graph that the machine makes itself: Debian's packages and what they depend on.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

command -v python3 > /dev/null || { echo "no python3 to compare with"; exit 77; }
[[ -s /var/lib/dpkg/status ]] || { echo "no Debian"; exit 77; }
reference() { python3 "$here/graph_reference.py" "$@"; }

# What the script takes from a package's entry, and what not.
cat > control << 'END'
Package: one
Depends: two, three (>= 1.0) | four:any [amd64],
 five, two
Recommends: no
Pre-Depends: six

Package: lonely
Description: words
 Depends: no
END
printf 'Package: two\nDepends:one' > more
"$here/../../tools/debian-graph" control more > got
printf 'one\t%s\n' two three four five six | cat - <(printf 'two\tone\n') | cmp - <(grep -v '^#' got) || fail "debian-graph: $(cat got)"
grep -qx '# Nodes: 6 Edges: 6' got || fail "debian-graph: $(cat got)"
! "$here/../../tools/debian-graph" missing > got 2> log || fail "debian-graph of a missing file"

"$here/../../tools/debian-graph" > packages
[[ -z ${PPMM_LINES:-} ]] || "$here/../../tools/debian-graph" /var/lib/dpkg/status > packages
sed -n 2p packages

reference components packages > expected
"$PPMM" graph components --progress none packages | cmp - expected || fail "components"
source=$(awk '!/^#/ { print $1; exit }' packages)
for undirected in '' undirected; do
  reference bfs packages source "$source" $undirected > expected
  "$PPMM" graph bfs ${undirected:+--undirected} --source "$source" --progress none packages | cmp - expected || fail "bfs $undirected"
done
reference pagerank packages iterations 5 > expected
"$PPMM" graph pagerank --iterations 5 --progress none packages > got
reference same-ranks got expected || fail "pagerank"
echo "most depended on: $(sort -t $'\t' -k 2gr got | head -n 5 | cut -f 1 | xargs)"
