#!/usr/bin/env python3
"""What `ppmm graph` must print, computed one vertex after the other.

graph_reference.py bfs|components|pagerank FILE [source NAME] [undirected] [iterations N] [tolerance X]
graph_reference.py same-ranks A B: whether two lists of ranks are equal but for rounding.
"""
import re
import sys
from collections import deque


def edges_of(path):
    for line in open(path, "rb").read().split(b"\n"):
        fields = re.findall(rb"[^ \t\r\v\f]+", line)
        if fields and not fields[0].startswith(b"#") and len(fields) == 2:
            yield tuple(fields)


def rows(edges, undirected):
    names = sorted({name for edge in edges for name in edge})
    to = {name: [] for name in names}
    for a, b in edges:
        to[a].append(b)
        if undirected and a != b:
            to[b].append(a)
    return names, to


def bfs(to, source):
    distance, waiting = {source: 0}, deque([source])
    while waiting:
        v = waiting.popleft()
        for w in to[v]:
            if w not in distance:
                distance[w] = distance[v] + 1
                waiting.append(w)
    return {v: str(distance.get(v, "-")).encode() for v in to}


def components(names, to):
    first = {}
    for v in names:
        if v not in first:
            for w in (w for w, d in bfs_from(to, v)):
                first[w] = v
    return first


def bfs_from(to, source):
    seen, waiting = {source}, deque([source])
    while waiting:
        v = waiting.popleft()
        yield v, 0
        for w in to[v]:
            if w not in seen:
                seen.add(w)
                waiting.append(w)


def pagerank(names, to, iterations, tolerance):
    n, damping = len(names), 0.85
    rank = dict.fromkeys(names, 1 / n) if n else {}
    for _ in range(iterations if n else 0):
        idle = sum(rank[v] for v in names if not to[v])
        new = dict.fromkeys(names, (1 - damping) / n + damping * idle / n)
        for v in names:
            for w in to[v]:
                new[w] += damping * rank[v] / len(to[v])
        change = sum(abs(new[v] - rank[v]) for v in names)
        rank = new
        if change < tolerance:
            break
    return {v: repr(rank[v]).encode() for v in names}


def same_ranks(a, b):
    a, b = ([line.split(b"\t") for line in open(f, "rb").read().split(b"\n") if line] for f in (a, b))
    assert [x[0] for x in a] == [x[0] for x in b], "other vertices"
    assert abs(sum(float(x[1]) for x in a) - (1 if a else 0)) < 1e-6, "the sum is not 1"
    for (name, x), (_, y) in zip(a, b):
        assert abs(float(x) - float(y)) <= 1e-9 * float(y) + 1e-15, (name, x, y)


def main():
    if sys.argv[1] == "same-ranks":
        return same_ranks(sys.argv[2], sys.argv[3])
    how, path, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    value = lambda name, default: rest[rest.index(name) + 1] if name in rest else default
    edges = list(edges_of(path))
    names, to = rows(edges, "undirected" in rest or how == "components")
    if how == "bfs":
        result = bfs(to, value("source", "").encode())
    elif how == "components":
        result = components(names, to)
    else:
        result = pagerank(names, to, int(value("iterations", 100)), float(value("tolerance", 1e-9)))
    for v in names:
        sys.stdout.buffer.write(v + b"\t" + result[v] + b"\n")


main()
