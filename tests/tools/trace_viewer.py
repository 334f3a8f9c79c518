#!/usr/bin/env python3
"""trace_viewer.py --chromium PROGRAM --viewer FOLDER [--pictures FOLDER] [--broken] TRACE...: opens traces in the viewer that was
chrome://tracing (catapult's, in FOLDER: trace_viewer_full.html, webcomponents.min.js), under headless Chromium, driven by
chromedriver, and compares what the viewer has made of each with what is in the file: tracks, slices and how they nest,
arrows, and that they are drawn. A picture of each is left in the folder of pictures. --broken: a complaint is wanted about each."""
import argparse
import base64
import collections
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

PATIENCE = 240  # seconds that one step may take: a busy machine is ten times slower than an idle one

# As the pages do it that embed this viewer (catapult's tracing/docs/embedding-trace-viewer.md).
PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>a trace</title>
<script>
'use strict';
window.state = 'loading';
window.complaints = [];
window.addEventListener('error', e => complaints.push(String(e.message)));
window.addEventListener('unhandledrejection', e => complaints.push(String(e.reason)));
</script>
<script src="/viewer/webcomponents.min.js"></script>
<link rel="import" href="/viewer/trace_viewer_full.html">
<style>
html, body { box-sizing: border-box; overflow: hidden; margin: 0; width: 100%; height: 100% }
#trace-viewer { width: 100%; height: 100% }
</style>
<script>
'use strict';
document.addEventListener('WebComponentsReady', async () => {
  try {
    const container = document.createElement('track-view-container');
    container.id = 'track_view_container';
    window.viewer = document.createElement('tr-ui-timeline-view');
    viewer.track_view_container = container;
    Polymer.dom(viewer).appendChild(container);
    viewer.id = 'trace-viewer';
    viewer.globalMode = true;
    Polymer.dom(document.body).appendChild(viewer);
    const model = new tr.Model(), options = new tr.importer.ImportOptions();
    options.shiftWorldToZero = false;
    await new tr.importer.Import(model, options).importTracesWithProgressDialog([await (await fetch('/trace')).text()]);
    viewer.model = window.model = model;
    viewer.viewTitle = 'ppmm';
    window.state = 'loaded';
  } catch (e) {
    complaints.push(String(e && e.message || e));
    window.state = 'failed';
  }
});
</script></head><body></body></html>
"""

# Times in nanoseconds. A slice's parent is told by its number, and -1 is none.
MODEL = """
const ns = ms => Math.round(ms * 1e6), threads = [], numbers = new Map();
for (const t of model.getAllThreads()) {
  const slices = t.sliceGroup.slices;
  slices.forEach((s, i) => numbers.set(s, i));
  threads.push({tid: t.tid, name: t.name, process: t.parent.name, slices: slices.map(
      s => [s.category, s.title, ns(s.start), ns(s.duration), s.parentSlice ? numbers.get(s.parentSlice) : -1, s.args])});
}
const end = s => [s.parentContainer.tid, s.category, s.title, ns(s.start)];
return {
  warnings: model.importWarnings.map(w => w.type + ': ' + w.message),
  complaints: complaints,
  threads: threads,
  arrows: model.flowEvents.map(f => [f.category, f.title, ns(f.start), ns(f.start + f.duration), end(f.startSlice), end(f.endSlice)]),
};
"""

# What stands there to be read, line by line; and how many colours, greys not counted, the tracks are drawn in.
TEXT = "return document.body.innerText.split('\\n').map(line => line.replace(/^\\W+/, '').trim());"
COLOURS = """
const page = ShadowDOMPolyfill.unwrapIfNeeded(document), all = new Set();
for (const canvas of Array.from(page.getElementsByTagName('canvas'))) {
  if (canvas.width === 0 || canvas.height === 0) continue;
  const context = canvas.getContext('2d');
  new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer).forEach(c => all.add(c));
}
const parts = c => [c & 255, c >> 8 & 255, c >> 16 & 255];
return Array.from(all).filter(c => Math.max(...parts(c)) - Math.min(...parts(c)) > 40).length;
"""


class viewer_pages(http.server.BaseHTTPRequestHandler):
    """The page, the viewer and the trace that is to be opened, on a free port of this machine only."""

    viewer = trace = None

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/":
            body, kind = PAGE.encode(), "text/html"
        elif path == "/trace":
            body, kind = open(self.trace, "rb").read(), "application/json"
        elif path in ("/viewer/trace_viewer_full.html", "/viewer/webcomponents.min.js"):
            body = open(os.path.join(self.viewer, os.path.basename(path)), "rb").read()
            kind = "text/html" if path.endswith("html") else "text/javascript"
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind + "; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store" if self.path in ("/", "/trace") else "max-age=3600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class browser:
    """Chromium, through chromedriver (https://www.w3.org/TR/webdriver2). Both end with us, however we end: chromedriver is
    told so by the kernel, and Chromium by the pipe between the two."""

    def __init__(self, chromium, folder):
        environment = dict(os.environ, HOME=folder, XDG_CONFIG_HOME=folder, XDG_CACHE_HOME=folder)
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self.driver = subprocess.Popen([*bound, "chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       text=True, env=environment, cwd=folder)
        self.session = None
        try:
            said = ""
            for line in self.driver.stdout:
                said += line
                if "successfully on port" in line:
                    break
            else:
                raise SystemExit("chromedriver did not start: " + said)
            self.port = int(line.rsplit(None, 1)[1].strip("."))
            threading.Thread(target=self.driver.stdout.read, daemon=True).start()  # or it would wait at a full pipe
            options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
                       "--window-size=1800,1000", "--hide-scrollbars", "--user-data-dir=" + os.path.join(folder, "profile")]
            session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "timeouts": {"script": PATIENCE * 1000, "pageLoad": PATIENCE * 1000},
                "goog:chromeOptions": {"args": options, "binary": chromium}}}})
            self.session = "/session/" + session["sessionId"]
        except BaseException:
            self.end()
            raise

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, data=data,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise SystemExit(f"chromedriver: {method} {path}: {e.read()[:1000].decode(errors='replace')}")

    def go(self, url):
        self.call("POST", self.session + "/url", {"url": url})

    def run(self, script, *arguments):
        return self.call("POST", self.session + "/execute/sync", {"script": script, "args": list(arguments)})

    def picture(self):
        return base64.b64decode(self.call("GET", self.session + "/screenshot"))

    def end(self):
        try:
            if self.session:
                self.call("DELETE", self.session)
        except (SystemExit, OSError):
            pass  # what follows ends it too
        self.driver.kill()
        self.driver.wait()


def until(what, is_so):
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "waited in vain for " + what
        time.sleep(0.1)


def in_ns(us):
    return round(us * 1000)


def read(path):
    """What a viewer should make of a trace: names of tracks, slices with those they are in, arrows. Read on its own, by the
    format's description, not from the viewer."""
    events = json.load(open(path))["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    job = [e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name"]
    slices, arrows = collections.defaultdict(list), collections.defaultdict(dict)
    for e in events:
        if e["ph"] in "Xi":
            slices[e["tid"]].append((in_ns(e["ts"]), in_ns(e.get("dur", 0)), e))
        elif e["ph"] in "sf":
            arrows[e["id"]][e["ph"]] = e
    tracks = {}
    for tid, all_of in slices.items():
        tracks[tid], open_ = [], []
        for start, length, e in sorted(all_of, key=lambda s: (s[0], -s[1])):  # stable: parents stand first
            while open_ and open_[-1][2] + open_[-1][3] <= start:
                open_.pop()
            s = (e["cat"], e["name"], start, length)
            tracks[tid].append((s, open_[-1] if open_ else None, e.get("args", {})))
            open_.append(s)
    names = {tid: name for tid, name in names.items() if tid in tracks}  # where nothing happened the viewer has no track
    for a in arrows.values():
        assert len(a) == 2, ("half an arrow", a)
    return {"job": job, "names": names, "tracks": tracks, "arrows": [(a["s"], a["f"]) for a in arrows.values()]}


def expect_equal(what, got, expected):
    if got != expected:
        differ = list((got - expected).items())[:3], list((expected - got).items())[:3]
        raise AssertionError(f"{what}: {sum(got.values())} in the viewer, {sum(expected.values())} in the file; only in the viewer: "
                             f"{differ[0]}, only in the file: {differ[1]}")


def compare(model, file):
    assert not model["complaints"], model["complaints"]
    assert not model["warnings"], f"{len(model['warnings'])} warnings: {model['warnings'][:3]}"
    tracks = {t["tid"]: t for t in model["threads"]}
    assert len(tracks) == len(model["threads"]) > 0, f"{len(model['threads'])} tracks, with {len(tracks)} numbers"
    assert {n: t["name"] for n, t in tracks.items()} == file["names"], ([t["name"] for t in tracks.values()], file["names"])
    assert all([t["process"]] == file["job"] for t in tracks.values()), ([t["process"] for t in tracks.values()], file["job"])
    for tid, t in tracks.items():
        in_viewer = [(tuple(s[:4]), tuple(t["slices"][s[4]][:4]) if s[4] >= 0 else None, s[5]) for s in t["slices"]]
        in_file = file["tracks"].get(tid, [])
        count = lambda those: collections.Counter((*s, json.dumps(arguments, sort_keys=True)) for s, _, arguments in those)
        expect_equal(f"slices of {t['name']}", count(in_viewer), count(in_file))
        # What takes no time may be said to be in its neighbour.
        nest = lambda those: collections.Counter((s, parent) for s, parent, _ in those if s[3] > 0)
        expect_equal(f"nesting in {t['name']}", nest(in_viewer), nest(in_file))
        inside = collections.defaultdict(list)
        for s, parent, _ in in_viewer:
            inside[parent].append(s)
            assert parent is None or (parent[2] <= s[2] and s[2] + s[3] <= parent[2] + parent[3]), ("not inside", s, parent)
        for those in inside.values():
            those.sort(key=lambda s: (s[2], s[3]))
            for a, b in zip(those, those[1:]):
                assert a[2] + a[3] <= b[2], ("overlap", a, b)
    ends = lambda a, b: (a["cat"], a["name"], in_ns(a["ts"]), in_ns(b["ts"]), a["tid"], b["tid"])
    expect_equal("arrows", collections.Counter((*a[:4], a[4][0], a[5][0]) for a in model["arrows"]),
                 collections.Counter(ends(*a) for a in file["arrows"]))
    for category, _, _, _, start, end in model["arrows"]:
        # From the victim's commit to the theft; from who was first at a join to who goes on behind it; from death to adoption.
        assert end[1] == category and category in ("steal", "join", "adoption"), ("an arrow's end", category, end)
        assert start[1] == {"steal": "commit", "join": "join", "adoption": start[1]}[category], ("an arrow's start", category, start)
        assert start[0] != end[0], ("an arrow in one track", start, end)


def look(at, file):
    """The page as one sees it: names beside the tracks in their order, slices drawn, arrows drawn when they are asked for."""
    text = at.run(TEXT)
    wanted = [file["names"][tid] for tid in sorted(file["names"])]
    assert [line for line in text if line in wanted] == wanted, f"tracks are headed {text}, not {wanted}"
    at.run("for (const b of Array.from(ShadowDOMPolyfill.unwrapIfNeeded(document).getElementsByTagName('button')))"
           " if (b.innerText === 'Hide') b.click();")  # the viewer's word about its age
    until("slices to be drawn", lambda: at.run(COLOURS) >= 3)
    picture = steady(at)
    if file["arrows"]:
        without = picture
        at.run("viewer.trackView.viewport.selectedFlowEvents = new Set(arguments[0]);", sorted({a[0]["cat"] for a in file["arrows"]}))
        until("arrows to be drawn", lambda: at.picture() != without)
        picture = steady(at)
    assert len(picture) > 20000, f"the picture is nearly empty: {len(picture)} bytes"
    return picture


def steady(at):
    """A picture, once nothing moves any more."""
    pictures = [at.picture()]

    def is_still():
        pictures.append(at.picture())
        return pictures[-1] == pictures[-2]

    until("the page to be still", is_still)
    return pictures[-1]


def examine(at, url, trace, pictures):
    """None, or what is wrong."""
    try:
        at.go(url)
        until("the viewer", lambda: at.run("return window.state") != "loading")
        assert at.run("return window.state") == "loaded", at.run("return complaints")
        file = read(trace)
        compare(at.run(MODEL), file)
        picture = look(at, file)
        if pictures:
            with open(os.path.join(pictures, os.path.splitext(os.path.basename(trace))[0] + ".png"), "wb") as out:
                out.write(picture)
        sizes = len(file["names"]), sum(map(len, file["tracks"].values())), len(file["arrows"])
        print(trace + ": {} tracks, {} slices, {} arrows, as in the file".format(*sizes), flush=True)
    except AssertionError as e:
        return str(e)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--chromium", required=True)
    options.add_argument("--viewer", required=True)
    options.add_argument("--pictures")
    options.add_argument("--broken", action="store_true")
    options.add_argument("traces", nargs="+")
    options = options.parse_args()
    viewer_pages.viewer = options.viewer
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), viewer_pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    failed = False
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        at = browser(options.chromium, folder)
        try:
            for trace in options.traces:
                viewer_pages.trace = trace
                wrong = examine(at, f"http://127.0.0.1:{server.server_port}/", trace, options.pictures)
                if options.broken:
                    print(f"{trace}: {wrong or 'NOTHING IS SAID TO BE WRONG'}", flush=True)
                elif wrong:
                    print(f"{trace}: {wrong}", file=sys.stderr, flush=True)
                failed |= (wrong is None) == options.broken
        finally:
            at.end()
    sys.exit(failed)


if __name__ == "__main__":
    main()
