#!/bin/bash
# Traces, in the viewer that was chrome://tracing, which Debian has in the sources of Go: it understands all of them, and shows
# what is in them; and what is wrong with a trace is found there. Leaves pictures in $PPMM_PICTURES, for people to look at.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || { echo "no Chromium"; exit 77; }
command -v chromedriver > /dev/null || { echo "no chromedriver"; exit 77; }
command -v python3 > /dev/null || { echo "no python3 to drive it with"; exit 77; }
viewer=
for folder in /usr/share/go-*/src/cmd/trace/static /usr/share/go-*/src/internal/trace/traceviewer/static /usr/share/go-*/misc/trace; do
  [[ ! -e $folder/trace_viewer_full.html || ! -e $folder/webcomponents.min.js ]] || viewer=$folder
done
[[ -n $viewer ]] || { echo "no trace viewer (Debian's golang-src has it)"; exit 77; }
open_traces() { python3 "$here/trace_viewer.py" --chromium "$browser" --viewer "$viewer" "$@"; }

# Thefts, and their joins.
for ((i = 0; ; ++i)); do
  "$PPMM" profile run --trace thefts.json -- fib 27 --durability emulated --workers 2 > /dev/null 2> log || fail "fib 27: $(cat log)"
  ! grep -q '"ph":"s","cat":"steal"' thefts.json || break
  ((i < 50)) || fail "no theft in any trace"
done
# Faults, and graves that were robbed.
for ((i = 0; ; ++i)); do
  status=0
  "$PPMM" fib 14 --workers 3 --commit every-task --soft-fault-rate 0.01 --hard-fault-rate 0.0005 --fault-seed "$((seed % 1000 + i))" --trace faults.json > /dev/null 2> log || status=$?
  [[ $status == 0 || $status == 3 ]] || fail "faults: status $status, $(cat log)"
  rm -f ./*.ppmm
  ! grep -q '"ph":"s","cat":"adoption"' faults.json || break
  ((i < 200)) || fail "no fault, or no adoption, in any trace"
done
# More than ten workers, whose names are not in the order of the alphabet.
random_lines 200000 50000 > lines
for ((i = 0; ; ++i)); do
  "$PPMM" sort lines --output sorted --durability emulated --workers 12 --trace workers.json --progress none 2> log || fail "sort: $(cat log)"
  [[ $(grep -o '"ph":"X".*"tid":[0-9]*' workers.json | sed 's/.*://' | sort -u | wc -l) != 12 ]] || break
  ((i < 50)) || fail "never 12 workers that had anything to do"
done

for trace in thefts faults workers; do
  python3 "$here/check_trace.py" $trace.json > kinds || fail "$trace.json"
done
open_traces ${PPMM_PICTURES:+--pictures "$PPMM_PICTURES"} thefts.json faults.json workers.json || fail "the viewer shows something else"

# The same traces with something wrong in each. The viewer itself passes over most of that in silence.
mkdir broken
python3 - << 'END'
import json
def first(events, **those):
    return next(e for e in events if all(e.get(key) == value for key, value in those.items()))
def broken(name, file, change):
    trace = json.load(open(file))
    change(trace["traceEvents"])
    json.dump(trace, open(f"broken/{name}.json", "w"))
def overlap(events):  # into the next slice beside it
    for e, after in zip(events, events[1:]):
        if e["ph"] == after["ph"] == "X" and e["cat"] == "capsule" and e["tid"] == after["tid"] and min(e["dur"], after["dur"]) > 0.1:
            e["dur"] = round(after["ts"] + after["dur"] / 2 - e["ts"], 3)
            return
def elsewhere(events):  # from the capsule before the commit
    start = first(events, ph="s", cat="steal")
    before = [e for e in events if e.get("cat") == "capsule" and e["tid"] == start["tid"] and e["ts"] < start["ts"] and e["dur"] > 0.1]
    start["ts"] = round(before[-1]["ts"] + before[-1]["dur"] / 2, 3)
broken("overlap", "thefts.json", overlap)
broken("elsewhere", "thefts.json", elsewhere)
broken("nowhere", "thefts.json", lambda events: first(events, ph="f").update(ts=1e9))
broken("endless", "thefts.json", lambda events: events.remove(first(events, ph="f")))
broken("unknown", "thefts.json", lambda events: events.append({"ph": "M", "pid": 1, "tid": 1, "name": "thread_labels", "args": {"labels": "x"}}))
broken("nameless", "thefts.json", lambda events: events.remove(first(events, ph="M", name="thread_name")))
broken("colour", "thefts.json", lambda events: first(events, cat="strand").update(cname="mauve"))
broken("order", "workers.json", lambda events: [events.remove(e) for e in list(events) if e["name"] == "thread_sort_index"])
broken("empty", "thefts.json", lambda events: events.clear())
text = open("thefts.json").read()
open("broken/half.json", "w").write(text[:len(text) // 2])
END
open_traces --broken broken/*.json > told || fail "nothing was said to be wrong: $(cat told)"
while read -r name complaint; do
  grep -q "^broken/$name.json: .*$complaint" told || fail "$name.json: expected /$complaint/, got: $(grep "$name.json" told)"
done << 'END'
overlap nesting in worker
elsewhere an arrow's start
nowhere not end at an actual slice
endless half an arrow
unknown Unrecognized metadata name
nameless worker
colour Unrecognized color
order headed
empty 0 tracks
half
END
echo "good"
