#!/bin/bash
# `ppmm profile medium`: figures for every medium, and nothing of the user's changed.
. "$(dirname "$0")/lib.sh"

command -v python3 > /dev/null || { echo "no python3 to read JSON and XML with"; exit 77; }

mkdir folder
echo "mine" > folder/file
"$PPMM" profile medium --quick --size 4M --progress none --json m.json --svg m.svg folder folder/file > told || fail "profile medium"
[[ $(ls folder) == file && $(cat folder/file) == mine ]] || fail "changed the folder: $(ls -la folder)"
grep -q 'Advice' told && grep -q 'because' told && grep -q '4096 lines' told || fail "table: $(cat told)"
[[ $(stat -f -c %T folder) != tmpfs ]] || grep -q 'is memory' told || fail "no word that tmpfs is memory: $(cat told)"

python3 - << 'END' || fail "m.json, m.svg"
import json, xml.etree.ElementTree as xml
j = json.load(open("m.json"))
assert len(j["media"]) == 2, j
for m in j["media"]:
    cells = {(c["way"], c["pattern"], c["lines"]) for c in m["lines"]}
    ways = {c["way"] for c in m["lines"]}
    assert {"sfence", "clflush", "movnti", "pmem2 flush", "pmem2 copy", "msync"} <= ways, ways
    assert len(cells) == len(m["lines"]) == len(ways) * 4 * 9, (len(cells), len(m["lines"]), ways)
    for c in m["lines"]:
        assert 0 < c["ns"]["p10"] <= c["ns"]["median"] <= c["ns"]["p90"] and c["ns"]["samples"] > 0, c
    assert m["commit_ns"] > 0 and m["threads"] and m["nodes"], m
    assert all(a["why"] for a in m["advice"]) and {"level", "heartbeat", "stores", "threads"} <= {a["topic"] for a in m["advice"]}, m["advice"]
root = xml.parse("m.svg").getroot()
ns = "{http://www.w3.org/2000/svg}"
assert root.tag == ns + "svg" and len(root.findall(f"{ns}g/{ns}svg")) == 10
END
"$PPMM" profile medium --quick --size 1M --progress none --threads 1 --json - folder | python3 -m json.tool > /dev/null || fail "--json -"

expect 2 'PATH' "$PPMM" profile medium
expect 2 '' "$PPMM" profile
expect 2 'size' "$PPMM" profile medium --size 1K folder
expect 1 'there is no missing' "$PPMM" profile medium --quick missing
expect 1 'neither a folder nor a file' "$PPMM" profile medium --quick /dev/null
expect 1 'folder' "$PPMM" profile medium --quick --json folder folder
"$PPMM" profile medium --seconds 3600 --progress none --json later.json folder > told & pid=$!
sleep 0.3
kill -TERM $pid
status=0
wait $pid || status=$?
[[ $status == 143 ]] || fail "interrupted: status $status"
[[ $(ls folder) == file && ! -e later.json && ! -e later.json.part ]] || fail "left behind: $(ls . folder)"
echo "good"
