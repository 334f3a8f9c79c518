#!/usr/bin/env python3
"""check_trace.py FILE: a trace is JSON as Chrome's viewer wants it; slices of a worker nest; arrows begin and end once, in slices."""
import json
import sys

trace = json.load(open(sys.argv[1]))
events = trace["traceEvents"]
slices, arrows = {}, {}
for e in events:
    assert e["ph"] in "MXsfi", e
    if e["ph"] != "M":
        assert isinstance(e["ts"], (int, float)) and e["ts"] >= 0 and isinstance(e["tid"], int) and e["tid"] > 0, e
    if e["ph"] == "X":
        assert e["dur"] >= 0, e
        slices.setdefault(e["tid"], []).append((round(e["ts"] * 1000), round((e["ts"] + e["dur"]) * 1000), e))
    if e["ph"] in "sf":
        arrows.setdefault(e["id"], {}).setdefault(e["ph"], []).append(e)
for tid, all_of in slices.items():
    assert [s[0] for s in all_of] == sorted(s[0] for s in all_of), "slices in order"
    ends = []
    for begin, end, e in all_of:
        while ends and ends[-1] <= begin:
            ends.pop()
        assert not ends or end <= ends[-1] + 1, ("does not nest", e)  # times are told to the nanosecond
        ends.append(end)
for arrow in arrows.values():
    assert len(arrow.get("s", [])) == 1 and len(arrow.get("f", [])) == 1, arrow
    begin, end = arrow["s"][0], arrow["f"][0]
    assert begin["name"] == end["name"] and begin["ts"] <= end["ts"] and begin["tid"] != end["tid"], arrow
    for e in (begin, end):
        at = round(e["ts"] * 1000)
        assert any(s[0] <= at <= s[1] for s in slices[e["tid"]]), ("in no slice", e)
kinds = {e.get("cat") for e in events}
print(len(events), "events,", len(arrows), "arrows:", " ".join(sorted(k for k in kinds if k)))
