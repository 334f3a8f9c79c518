/// A persistent hash map that tasks share: how long is n's Collatz sequence (n / 2 if even, else 3n + 1, down to 1)?
///
///     hashmap 27     makes a map with the lengths for all numbers below 10000, and looks one up; leaves hashmap.pool
///     hashmap 871    looks another one up, in the map that the first process left
///
/// Sequences run into each other: tasks in parallel look into the map for what others have found, and two may put the
/// same key there at once. After a kill, give the same command again: the map is completed, or used if it is complete.
#include <ppmm/ppmm.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>

struct entry { std::uint64_t key = 0, value = 0; };  // key 0: free. It is filled once, and then stays as it is
using map = ppmm::array<entry>;
using number = ppmm::step<std::uint64_t>;

// Where to look for a key at the first, second, ... attempt: a cell that is changed by compare-and-modify only.
static ppmm::shared<entry> cell(map m, std::uint64_t key, std::size_t attempt) {
  if (attempt == m.size()) throw ppmm::error("the map is full; make a larger one");
  return ppmm::shared<entry>(m[((key * 0x9e3779b97f4a7c15 >> 32) + attempt) % m.size()].address());
}

// Puts an entry into the map, if its key is not there. Whether the CAM did it is learned by reading the cell, so a task
// that is repeated after a crash may repeat it. A CAM comes first in its task: each attempt is a task of its own.
static number insert(ppmm::context& cx, map m, entry e, std::size_t attempt) {
  cx.cam(cell(m, e.key, attempt), entry{}, e);
  if (cx.load(cell(m, e.key, attempt)).key == e.key) return e.value;
  return cx.tail(ppmm::task<insert>(m, e, attempt + 1));
}

// The value; 0 if the key is not there.
static std::uint64_t look_up(ppmm::context& cx, map m, std::uint64_t key) {
  for (std::size_t attempt = 0;; ++attempt)
    if (const entry e = cx.load(cell(m, key, attempt)); e.key == key || e.key == 0) return e.value;
}

// The length of n's sequence. All that is in the sequence is in the map then, but 1.
static number length(ppmm::context& cx, map m, std::uint64_t n) {
  if (n == 1) return 1u;
  if (const std::uint64_t known = look_up(cx, m, n)) return known;
  return cx.call(ppmm::task<length>(m, n % 2 == 0 ? n / 2 : 3 * n + 1)).then([m, n](ppmm::context& c, std::uint64_t rest) {
    return c.tail(ppmm::task<insert>(m, entry{n, rest + 1}, std::size_t{0}));
  });
}

// The greatest length in [from, to).
static number greatest(ppmm::context& cx, map m, std::uint64_t from, std::uint64_t to) {
  if (to - from == 1) return cx.tail(ppmm::task<length>(m, from));
  return cx.fork(ppmm::task<greatest>(m, from, from + (to - from) / 2), ppmm::task<greatest>(m, from + (to - from) / 2, to))
      .then([](ppmm::context&, std::uint64_t a, std::uint64_t b) -> number { return std::max(a, b); });
}

static number make(ppmm::context& cx) {
  const map m = cx.alloc<entry>(1 << 16);
  std::ranges::fill(cx.write(m), entry{});
  cx.set_root("lengths", m);  // keeps it when the job is done; later jobs find it by this name
  return cx.tail(ppmm::task<greatest>(m, 1u, 10000u));
}
static number find(ppmm::context& cx, std::uint64_t n) { return look_up(cx, cx.find_root<entry>("lengths"), n); }

int main(int argc, char** argv) try {
  const std::string text = argc == 2 ? argv[1] : "", job = "find " + text;
  std::uint64_t n = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), n).ptr != text.data() + text.size() || n < 2 || n > 9999)
    return std::fputs("usage: hashmap N    (N: the number to look up, 2 to 9999)\n", stderr), 2;
  // Level `process` is enough for kill -9. To survive a power loss too, each CAM would take milliseconds on a disk.
  ppmm::pool pool = ppmm::pool::open_or_create("hashmap.pool", {.level = ppmm::durability::process});
  const std::uint64_t most = ppmm::run(pool, "make", ppmm::task<make>());  // computed once, then read from the pool
  const std::uint64_t found = ppmm::run(pool, job, ppmm::task<find>(n));
  std::printf("%s: a sequence of %ju numbers, of %ju at most\n", text.c_str(), found, most);
  pool.drop_job(job);
} catch (const std::exception& e) {
  return std::fprintf(stderr, "hashmap: %s\n", e.what()), 1;
}
