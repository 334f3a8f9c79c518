#!/bin/bash
# --profile, --trace and `ppmm profile run`: figures that fit together, traces and pages that others can read.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

command -v python3 > /dev/null || { echo "no python3 to read JSON and XML with"; exit 77; }

# The job's own output stays as it is.
[[ $("$PPMM" profile run --json p.json --html p.html --trace t.json -- fib 27 --durability emulated --workers 2 2> told) == 196418 ]] || fail "fib 27: $(cat told)"
grep -q 'By function' told && grep -q 'fib' told && grep -q 'Advice' told && grep -q 'because' told || fail "profile: $(cat told)"
grep -q 'heartbeat' told || fail "no causes: $(cat told)"
grep -q 'left out' told || grep -q cycles told || fail "nothing of hardware counters: $(cat told)"
python3 "$here/check_trace.py" t.json || fail "t.json"
python3 - << 'END' || fail "p.json, p.html"
import json, html.parser, re
j = json.load(open("p.json"))
assert j["job"] == "fib 27" and j["workers"] == 2 and j["seconds"] > 0
told = sum(j["ns"].values())
assert abs(told - j["seconds"] * 2e9) < 0.02 * told, (told, j["seconds"])
assert j["causes"]["start"]["commits"] == 1 and j["causes"]["end"]["commits"] == 1
assert j["causes"].get("steal", {"commits": 0})["commits"] == j["steals"]["won"]
assert any(f["function"].endswith("fib") for f in j["functions"]), j["functions"]
assert sum(f["cost"]["lines"] for f in j["functions"]) == j["program"]["lines"] <= j["flushed"]["lines"]
assert all(a["why"] for a in j["advice"]) and j["advice"]
assert j["counters"] or j["counters_missing"]

page = open("p.html").read()
class Checker(html.parser.HTMLParser):
    open_, svgs = [], 0
    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "link", "img", "iframe"), tag
        for name, value in attributes:
            assert name not in ("src", "href") and "url(" not in (value or ""), (tag, name, value)
        self.svgs += tag == "svg"
        if tag not in ("meta", "br"): self.open_.append(tag)
    def handle_startendtag(self, tag, attributes): pass
    def handle_endtag(self, tag):
        assert self.open_.pop() == tag, tag
c = Checker()
c.feed(page)
assert not c.open_ and c.svgs >= 4, (c.open_, c.svgs)
import xml.etree.ElementTree as xml
for svg in re.findall(r"<svg.*?</svg>", page, re.S): xml.fromstring(svg)
END

# A job with views, on a medium whose figures are known; as options of the job itself.
random_lines 30000 5000 > lines
mkdir media
"$PPMM" profile medium --quick --size 1M --progress none --json m.json media > /dev/null
"$PPMM" sort lines --output sorted --durability emulated --profile --profile-html s.html --profile-json s.json --medium-costs m.json --trace s.trace --progress none 2> told || fail "sort: $(cat told)"
LC_ALL=C sort lines | cmp - sorted || fail "sort is wrong when it is profiled"
python3 "$here/check_trace.py" s.trace || fail "s.trace"
python3 - << 'END' || fail "s.json, s.html"
import json
j = json.load(open("s.json"))
assert j["program"]["bytes"] > 0 and j["program"]["amplification_64"] > 0 and j["program"]["blocks_256"] > 0, j["program"]
assert "The medium" in open("s.html").read()
END

# Faults: injected ones are in the trace, and the graves that were robbed.
for ((i = 0; ; ++i)); do
  status=0
  "$PPMM" fib 20 --workers 3 --commit every-task --soft-fault-rate 0.01 --hard-fault-rate 0.0005 --fault-seed "$((seed % 1000 + i))" --trace f.json --profile > got 2> told || status=$?
  [[ $status == 0 || $status == 3 ]] || fail "faults: status $status, $(cat told)"
  python3 "$here/check_trace.py" f.json > kinds || fail "f.json"
  grep -q 'profile of' told || fail "no profile after status $status: $(cat told)"
  ! { grep -q 'fault' kinds && grep -q 'adoption' kinds; } || break
  ((i < 50)) || fail "no fault, or no adoption, in any trace: $(cat kinds)"
  [[ $status == 3 ]] || rm -f ./*.ppmm
done
rm -f ./*.ppmm

expect 2 'JOB' "$PPMM" profile run
expect 2 '' "$PPMM" profile run -- nonsense
expect 2 'N' "$PPMM" profile run -- fib
expect 1 'media' "$PPMM" fib 20 --trace media
expect 2 'missing' "$PPMM" fib 20 --profile-html x.html --medium-costs missing
expect 1 'figures of a medium' "$PPMM" fib 20 --profile-html x.html --medium-costs lines
[[ ! -e x.html && ! -e x.html.part ]] || fail "half a page was left"
echo "good"
