#include "scenario.hpp"

#include <numeric>
#include <utility>

namespace ppmm::test {
namespace {

using word = std::uint64_t;

// ---- tasks ---------------------------------------------------------------------------------------------------------

step<word> leaf(context& cx, word n) {
  cx.advance(1);
  return n;
}
step<word> sum(context&, word a, word b) { return a + b; }

step<word> a_fork(context& cx) { return cx.fork(task<leaf>(word{1}), task<leaf>(word{2})).then(task<sum>()); }
step<word> a_call(context& cx) {
  return cx.call(task<leaf>(word{5})).then([](context& c, word n) -> step<word> {
    c.advance(1);
    return n + 1;
  });
}
step<word> a_tail(context& cx, word n) {
  if (n == 0) return cx.tail(task<leaf>(word{7}));
  return cx.tail(task<a_tail>(n - 1));
}

/// A child that takes some steps, so that the other one can be stolen meanwhile.
step<word> slow(context& cx, word steps) {
  if (steps == 0) {
    cx.advance(1);
    return 1u;
  }
  return cx.call(task<slow>(steps - 1)).then([](context&, word n) -> step<word> { return n + 1; });
}
step<word> a_stolen_fork(context& cx, word left, word right) { return cx.fork(task<slow>(left), task<slow>(right)).then(task<sum>()); }

/// The continuation of a join forks again at once: into the slot of that join, if it were free already.
step<word> a_fork_again(context& cx) {
  return cx.fork(task<slow>(word{2}), task<slow>(word{1})).then([](context& c, word a, word b) {
    return c.fork(task<slow>(word{1}), task<leaf>(a + b)).then(task<sum>());
  });
}

step<word> fib(context& cx, int n);
/// A join of slow children beside other work, which its first arrival can turn to, and expose frames of.
step<word> a_reuse(context& cx) { return cx.fork(task<a_stolen_fork>(word{3}, word{4}), task<fib>(4)).then(task<sum>()); }

step<word> fib(context& cx, int n) {
  if (n < 2) return static_cast<word>(n);
  return cx.fork(task<fib>(n - 1), task<fib>(n - 2)).then([](context& c, word a, word b) -> step<word> {
    c.advance(1);
    return a + b;
  });
}
word serial_fib(int n) { return n < 2 ? static_cast<word>(n) : serial_fib(n - 1) + serial_fib(n - 2); }

/// Commits only where it says so: frames pile up between, so a commit has several new ones.
step<word> rare(context& cx, int n) {
  if (n < 2) return static_cast<word>(n);
  if (n % 3 == 0) cx.commit_next();
  return cx.fork(task<rare>(n - 1), task<rare>(n - 2)).then([](context& c, word a, word b) -> step<word> {
    c.advance(1);
    return a + b;
  });
}

/// A task whose arguments need several lines of a record, and a result that needs some of a frame.
struct wide {
  word w[20];
};
step<wide> widen(context& cx, const wide& in) {
  cx.advance(1);
  wide out = in;
  for (word& w : out.w) ++w;
  return out;
}
step<word> a_wide_call(context& cx) {
  wide start{};
  std::iota(std::begin(start.w), std::end(start.w), word{1});
  return cx.fork(task<widen>(start), task<widen>(start)).then([](context&, const wide& a, const wide& b) -> step<word> {
    word s = 0;
    for (int i = 0; i < 20; ++i) s += a.w[i] * b.w[i];
    return s;
  });
}
word wide_answer() {
  word s = 0;
  for (word i = 2; i <= 21; ++i) s += i * i;
  return s;
}

// ---- tasks on pool memory --------------------------------------------------------------------------------------------

constexpr std::size_t elements = 24;
constexpr std::uint64_t array_bytes = 4096;

template <class T>
out<T> all(pool& p) {
  return {reinterpret_cast<T*>(region_of(p, array_bytes).data()), elements};
}

/// Writes squares in a loop, which splits when a thief has asked.
step<word> a_loop(context& cx, out<word> to) {
  return cx.call([to](context& c) {
             return for_each(c, 0, to.size(), [to](context& d, std::size_t lo, std::size_t hi) {
               const auto span = d.write(to.sub(lo, hi - lo));
               for (std::size_t i = lo; i < hi; ++i) span[i - lo] = i * i;
               d.advance(hi - lo);
             });
           })
      .then([to](context& c) {
        return reduce(
            c, 0, to.size(), word{0},
            [from = to.as_in()](context& d, std::size_t lo, std::size_t hi) {
              word s = 0;
              for (const word x : d.read(from.sub(lo, hi - lo))) s += x;
              return s;
            },
            [](word a, word b) { return a + b; });
      });
}
word loop_answer() {
  word s = 0;
  for (word i = 0; i < elements; ++i) s += i * i;
  return s;
}
bool loop_right(std::span<const std::byte> region) {
  const auto* w = reinterpret_cast<const word*>(region.data());
  for (word i = 0; i < elements; ++i)
    if (w[i] != i * i) return false;
  return true;
}

/// Fills some blocks, which are copied past the caches, and in a later capsule adds them up.
constexpr std::size_t fill_elements = 1100;
constexpr std::uint64_t fill_bytes = 3 * 4096;

step<word> add_up(context& cx, in<word> v) {
  word s = 0;
  for (const word x : cx.read(v)) s += x;
  cx.advance(1);
  return s;
}
step<word> a_fill(context& cx, out<word> v) {
  cx.fill(v, [](std::span<word> part, std::size_t at) { std::iota(part.begin(), part.end(), at + 1); });
  cx.advance(1);
  cx.commit_next();
  return cx.tail(task<add_up>(v.as_in()));
}
/// The same, element by element past the caches: more than a block, or it is done as above.
constexpr std::size_t store_elements = 4096 / sizeof(word) + 8;
step<word> some_stores(context& cx, out<word> v) {
  cx.fill_each(v, 0, store_elements, [](std::size_t i) { return i + 1; });
  cx.advance(1);
  cx.commit_next();
  return cx.tail(task<add_up>(v.as_in()));
}
out<word> outputs(pool& p, std::size_t n) { return {reinterpret_cast<word*>(region_of(p, fill_bytes).data()), n}; }
constexpr word sum_to(std::size_t n) { return n * (n + 1) / 2; }
template <std::size_t n>
bool counts_to(std::span<const std::byte> region) {
  const auto* w = reinterpret_cast<const word*>(region.data());
  for (word i = 0; i < n; ++i)
    if (w[i] != i + 1) return false;
  return true;
}

/// Reads cells, then later tasks of the same strand overwrite them: x[i] := 2 x[i] + 1 in a scratch half, then back.
step<void> copy_doubled(context& cx, out<word> to, in<word> from) {
  const auto s = cx.read(from);
  const auto d = cx.write(to);
  for (std::size_t i = 0; i < s.size(); ++i) d[i] = 2 * s[i] + 1;
  cx.advance(1);
  return {};
}
step<word> an_overwrite(context& cx, out<word> a) {
  const auto x = a.first(4), y = a.sub(8, 4);
  return cx.call(task<copy_doubled>(y, x.as_in())).then([x, y](context& c) {
    return c.call(task<copy_doubled>(x, y.as_in())).then([x](context& d) -> step<word> {
      word s = 0;
      for (const word w : d.read(x.as_in())) s = s * 1000 + w;
      return s;
    });
  });
}
void overwrite_prepare(std::span<std::byte> region) {
  auto* w = reinterpret_cast<word*>(region.data());
  for (word i = 0; i < 4; ++i) w[i] = i + 1;
}
word overwrite_answer() {
  word s = 0;
  for (word i = 0; i < 4; ++i) s = s * 1000 + (2 * (2 * (i + 1) + 1) + 1);
  return s;
}

// ---- tasks on the heap -----------------------------------------------------------------------------------------------

step<void> fill(context& cx, array<word> a, word from) {
  const auto s = cx.write(a);
  std::iota(s.begin(), s.end(), from);
  cx.advance(1);
  return {};
}
word total(std::span<const word> s) { return std::accumulate(s.begin(), s.end(), word{0}); }

/// Blocks that are kept, freed by a later capsule, and freed by the same capsule.
step<word> an_allocation(context& cx) {
  const array<word> a = cx.alloc<word>(4);
  return cx.call(task<fill>(a, word{10})).then([a](context& c) {
    const array<word> b = c.alloc<word>(4);
    c.free(c.alloc<word>(4));
    return c.call(task<fill>(b, word{20})).then([a, b](context& d) -> step<word> {
      const word sum = total(d.read(a)) + total(d.read(b));
      d.free(a);
      d.set_root("kept", b);
      return sum;
    });
  });
}

/// Blocks that strands allocate and the continuation frees, on whichever worker; and an extent.
step<array<word>> give(context& cx, word from) {
  return cx.call(task<slow>(word{1})).then([from](context& c, word) -> step<array<word>> {
    const array<word> a = c.alloc<word>(4);
    const auto s = c.write(a);
    std::iota(s.begin(), s.end(), from);
    return a;
  });
}
step<word> a_hand_over(context& cx) {
  return cx.fork(task<give>(word{1}), task<give>(word{100})).then([](context& c, array<word> a, array<word> b) {
    const array<word> e = c.alloc<word>(5000);  // more than the largest size class
    const word sum = total(c.read(a)) + total(c.read(b));
    c.free(a);
    c.free(b);
    c.set_root("extent", e);
    return c.call(task<fill>(array<word>(e.address(), 8), sum)).then([e](context& d) -> step<word> { return total(d.read(in<word>(e.address(), 8))); });
  });
}
word hand_over_answer() {
  const word sum = 1 + 2 + 3 + 4 + 100 + 101 + 102 + 103;
  return 8 * sum + 28;
}

/// Blocks that an earlier job kept; others of the same superblocks that it did not.
step<void> keep_some(context& cx) {
  array<array<word>> kept = cx.alloc<array<word>>(4);
  const auto to = cx.write(kept);
  for (array<word>& a : to) {
    a = cx.alloc<word>(4);
    cx.free(cx.alloc<word>(4));
  }
  cx.set_root("earlier", kept);
  return {};
}
step<void> keep_nothing(context& cx) {
  for (int i = 0; i < 3; ++i) static_cast<void>(cx.alloc<word>(4));
  return {};
}
void run_earlier_jobs(pool& p) {
  run(p, "keeps nothing", task<keep_nothing>(), {.workers = 1, .pin = false});
  run(p, "keeps", task<keep_some>(), {.workers = 1, .pin = false});
}
/// Frees two of those blocks, allocates among the others.
step<word> after_earlier(context& cx) {
  const array<array<word>> kept = cx.find_root<array<word>>("earlier");
  const auto from = cx.read(kept);
  cx.free(from[0]);
  cx.free(from[2]);
  const array<word> a = cx.alloc<word>(4);
  return cx.call(task<fill>(a, word{30})).then([a, kept](context& c) -> step<word> {
    return total(c.read(a)) + kept.size();  // no root is set: a is given back, the earlier job's blocks are not
  });
}

/// A tree of blocks, built in parallel and taken down in parallel by others.
struct tree_node {
  ptr<tree_node> left, right;
};
step<ptr<tree_node>> build(context& cx, int height) {
  if (height == 0) {
    const ptr<tree_node> p = cx.alloc<tree_node>();
    cx.write(p)[0] = {};
    return p;
  }
  return cx.fork(task<build>(height - 1), task<build>(height - 1)).then([](context& c, ptr<tree_node> l, ptr<tree_node> r) -> step<ptr<tree_node>> {
    const ptr<tree_node> p = c.alloc<tree_node>();
    c.write(p)[0] = {l, r};
    return p;
  });
}
step<word> take_down(context& cx, ptr<tree_node> p) {
  const tree_node n = cx.read(p)[0];
  cx.free(p);
  cx.advance(1);
  if (!n.left) return 1u;
  return cx.fork(task<take_down>(n.left), task<take_down>(n.right)).then([](context&, word a, word b) -> step<word> { return a + b + 1; });
}
step<word> a_tree(context& cx, int height) {
  return cx.call(task<build>(height)).then([](context& c, ptr<tree_node> p) { return c.tail(task<take_down>(p)); });
}
constexpr word tree_blocks(int height) { return (word{2} << height) - 1; }

// ---- updates in place, shared cells ----------------------------------------------------------------------------------

step<void> change(context& cx, inout<word> v, word by) {
  for (word& w : cx.update(v)) w = w * by + 1;
  cx.advance(1);
  return {};
}
/// Changes both halves, perhaps at once, then one again, in the capsule that changed it or a later one.
step<word> an_update(context& cx, out<word> region) {
  const inout<word> x(region.address(), 4), y(region.address() + 8, 4);
  return cx.fork(task<change>(x, word{3}), task<change>(y, word{5})).then([x, y](context& c) {
    c.commit_next();
    return c.call(task<change>(x, word{7})).then([x, y](context& d) -> step<word> {
      word s = 0;
      for (const word w : d.read(x.as_in())) s = s * 1000 + w;
      for (const word w : d.read(y.as_in())) s = s * 1000 + w;
      return s;
    });
  });
}
word updated(word i, std::initializer_list<word> by) {
  word w = i + 1;
  for (const word b : by) w = w * b + 1;
  return w;
}
void update_prepare(std::span<std::byte> region) {
  auto* w = reinterpret_cast<word*>(region.data());
  for (word i = 0; i < 16; ++i) w[i] = i + 1;
}
word update_answer() {
  word s = 0;
  for (word i = 0; i < 4; ++i) s = s * 1000 + updated(i, {3, 7});
  for (word i = 8; i < 12; ++i) s = s * 1000 + updated(i, {5});
  return s;
}
bool update_right(std::span<const std::byte> region) {
  const auto* w = reinterpret_cast<const word*>(region.data());
  for (word i = 0; i < 16; ++i)
    if (w[i] != (i < 4 ? updated(i, {3, 7}) : i >= 8 && i < 12 ? updated(i, {5}) : i + 1)) return false;
  return true;
}

/// Rounds over four elements, each forked off again. What goes on after a round has perhaps claimed its join, and changes an
/// element in place before it exposes anything: then its slot is in use and its log is not empty.
step<void> change_each(context& cx, inout<word> v, word by) {
  if (v.size() == 1) return change(cx, v, by);
  const std::size_t half = v.size() / 2;
  cx.commit_next();
  return cx.fork(task<change_each>(v.first(half), by), task<change_each>(v.drop(half), by)).then([](context&) -> step<void> { return {}; });
}
step<word> some_rounds(context& cx, inout<word> v, word rounds) {
  if (rounds == 0) return cx.read(v.as_in())[0];
  return cx.call(task<change_each>(v, rounds)).then([v, rounds](context& c) {
    c.update(v.first(1))[0] += rounds;
    return c.tail(task<some_rounds>(v, rounds - 1));
  });
}
word after_rounds(word i) {
  word w = i + 1;
  for (word round = 3; round > 0; --round) w = w * round + 1 + (i == 0 ? round : 0);
  return w;
}
bool rounds_right(std::span<const std::byte> region) {
  const auto* w = reinterpret_cast<const word*>(region.data());
  for (word i = 0; i < 16; ++i)
    if (w[i] != (i < 4 ? after_rounds(i) : i + 1)) return false;
  return true;
}

/// Nodes go into the first free cell of a row: each cell from none to a node, once.
struct list_node {
  word value, unused;
};
step<void> put_node(context& cx, out<word> cells, word at, ptr<list_node> n) {
  const auto me = reinterpret_cast<word>(n.address());
  const shared<word> cell(cells.address() + at);
  cx.cam(cell, word{0}, me);
  if (cx.load(cell) == me) {
    cx.advance(1);
    return {};
  }
  return cx.tail(task<put_node>(cells, at + 1, n));
}
step<void> put_value(context& cx, out<word> cells, word value) {
  const ptr<list_node> n = cx.alloc<list_node>();
  cx.write(n)[0] = {value, 0};
  return cx.tail(task<put_node>(cells, word{0}, n));
}
step<word> some_cells(context& cx, out<word> cells) {
  return cx.fork(task<put_value>(cells, word{3}), task<put_value>(cells, word{5})).then([cells](context& c) -> step<word> {
    word sum = 0, used = 0;
    ptr<list_node> last;
    for (word i = 0; i < 4; ++i)
      if (const word at = c.load(shared<word>(cells.address() + i)); at != 0) {
        last = ptr<list_node>(reinterpret_cast<list_node*>(at));
        sum += c.read(last)[0].value;
        ++used;
      }
    c.set_root("node", last);
    return used * 100 + sum;
  });
}

bool any(const coverage&) { return true; }

}  // namespace

const std::vector<scenario>& scenarios() {
  static const std::vector<scenario> all_of_them = [] {
    std::vector<scenario> s;
    s.push_back({.name = "fork", .about = "a fork, its child taken by nobody", .expected = {3, 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_fork>(), o); }, .covered = any});
    s.push_back({.name = "call", .about = "a call and its continuation", .expected = {6, 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_call>(), o); }, .covered = any});
    s.push_back({.name = "tail", .about = "tail steps", .expected = {7, 1},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_tail>(word{3}), o); }, .covered = any});
    s.push_back({.name = "wide", .about = "arguments of several record lines, results of several frame lines", .workers = 2, .expected = {wide_answer(), 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_wide_call>(), o); }, .covered = any});
    s.push_back({.name = "steal", .about = "a fork whose child is stolen, and the join in both orders", .workers = 2, .expected = {6, 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_stolen_fork>(word{2}, word{2}), o); },
                 .covered = [](const coverage& c) { return c.steals > 0 && c.left_claims > 0 && c.right_claims > 0 && c.taken_back > 0; }});
    s.push_back({.name = "lost-steal", .about = "three workers, so that two try for the same child", .workers = 3, .expected = {4, 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_stolen_fork>(word{1}, word{1}), o); },
                 .covered = [](const coverage& c) { return c.steals > 0 && c.lost_steals > 0; }});
    s.push_back({.name = "fork-again", .about = "a join whose continuation forks and exposes at once", .workers = 2, .expected = {7, 4},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_fork_again>(), o); },
                 .covered = [](const coverage& c) { return c.steals > 0 && c.left_claims > 0 && c.right_claims > 0; }});
    s.push_back({.name = "nested", .about = "nested forks, stolen at several levels", .workers = 2, .expected = {serial_fib(4), serial_fib(5) - 1},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<fib>(4), o); },
                 .covered = [](const coverage& c) { return c.steals > 0 && c.joins_second > 0; }});
    s.push_back({.name = "rare", .about = "commits with several new frames", .workers = 2, .every_task = false, .expected = {serial_fib(5), serial_fib(6) - 1},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<rare>(5), o); },
                 .covered = [](const coverage& c) { return c.steals > 0; }});
    s.push_back({.name = "busy", .about = "three workers: slots are reused while a join is under way", .workers = 3,
                 .expected = {9 + serial_fib(4), 2 + serial_fib(5) - 1},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_reuse>(), o); },
                 .covered = [](const coverage& c) { return c.steals > 0 && c.joins_second > 0; }});
    s.push_back({.name = "loop", .about = "a loop that writes pool memory and is split, then a reduction of it", .workers = 2, .region = array_bytes,
                 .expected = {loop_answer(), elements},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_loop>(all<word>(p)), o); }, .right = loop_right,
                 .covered = [](const coverage& c) { return c.steals > 0; }});
    s.push_back({.name = "overwrite", .about = "tasks that overwrite what an earlier one has read", .every_task = false, .region = array_bytes,
                 .expected = {overwrite_answer(), 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<an_overwrite>(all<word>(p)), o); }, .prepare = overwrite_prepare,
                 .covered = [](const coverage& c) { return c.restarts > 0; }});
    s.push_back({.name = "fill", .about = "a view of some blocks that is filled, then read", .every_task = false, .region = fill_bytes, .expected = {sum_to(fill_elements), 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_fill>(outputs(p, fill_elements)), o); },
                 .right = counts_to<fill_elements>, .covered = any});
    s.push_back({.name = "stores", .about = "a view that is filled word by word, then read", .every_task = false, .region = fill_bytes, .expected = {sum_to(store_elements), 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<some_stores>(outputs(p, store_elements)), o); },
                 .right = counts_to<store_elements>, .covered = any});
    s.push_back({.name = "soft-alone", .about = "one worker that often loses its ephemeral memory", .soft = 0.1, .expected = {8, 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_stolen_fork>(word{3}, word{3}), o); },
                 .covered = [](const coverage& c) { return c.soft_faults > 0; }});
    s.push_back({.name = "soft-faults", .about = "a stolen fork whose workers lose their ephemeral memory", .workers = 2, .soft = 0.05, .expected = {6, 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_stolen_fork>(word{2}, word{2}), o); },
                 .covered = [](const coverage& c) { return c.soft_faults > 0 && c.steals > 0; }});
    s.push_back({.name = "graves", .about = "a stolen fork whose workers die, and whose graves are robbed", .workers = 3, .hard = 0.02, .expected = {6, 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_stolen_fork>(word{2}, word{2}), o); },
                 .covered = [](const coverage& c) { return c.hard_faults > 0 && c.robberies > 0; }});
    s.push_back({.name = "allocation", .about = "blocks that are kept, and freed by the same and by a later capsule", .blocks = 1, .expected = {46 + 86, 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<an_allocation>(), o); }, .covered = any});
    s.push_back({.name = "later-job", .about = "a job that frees and allocates where earlier ones did", .blocks = 3, .expected = {126 + 4, 1},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<after_earlier>(), o); }, .earlier = run_earlier_jobs,
                 .covered = any});
    s.push_back({.name = "hand-over", .about = "blocks that a thief allocates and its victim frees, and an extent", .workers = 2, .blocks = 1,
                 .expected = {hand_over_answer(), 3},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_hand_over>(), o); },
                 .covered = [](const coverage& c) { return c.steals > 0 && c.left_claims > 0 && c.right_claims > 0; }});
    s.push_back({.name = "heap-tree", .about = "a tree of blocks, built by two workers and taken down by both", .workers = 2,
                 .expected = {tree_blocks(2), tree_blocks(2)},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_tree>(2), o); },
                 .covered = [](const coverage& c) { return c.steals > 0; }});
    s.push_back({.name = "heap-soft", .about = "the same with workers that lose their ephemeral memory", .workers = 2, .soft = 0.03, .blocks = 1,
                 .expected = {hand_over_answer(), 3},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_hand_over>(), o); },
                 .covered = [](const coverage& c) { return c.steals > 0 && c.soft_faults > 0; }});
    s.push_back({.name = "heap-graves", .about = "the same with workers that die, and whose graves are robbed", .workers = 3, .hard = 0.02, .blocks = 1,
                 .expected = {hand_over_answer(), 3},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_hand_over>(), o); },
                 .covered = [](const coverage& c) { return c.hard_faults > 0 && c.robberies > 0; }});
    s.push_back({.name = "update", .about = "memory that is changed in place, several times in one capsule", .every_task = false, .region = array_bytes,
                 .expected = {update_answer(), 3},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<an_update>(all<word>(p)), o); }, .prepare = update_prepare,
                 .right = update_right, .covered = any});
    s.push_back({.name = "update-graves", .about = "the same on three workers that lose their memory or die", .workers = 3, .soft = 0.01, .hard = 0.02,
                 .region = array_bytes, .expected = {update_answer(), 3},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<an_update>(all<word>(p)), o); }, .prepare = update_prepare,
                 .right = update_right,
                 .covered = [](const coverage& c) { return c.steals > 0 && c.robberies > 0 && c.soft_faults > 0; }});
    s.push_back({.name = "update-joins", .about = "rounds of changes in place, by workers that claim joins and lose their memory", .workers = 2, .every_task = false,
                 .soft = 0.04, .region = array_bytes, .expected = {after_rounds(0), 12},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<some_rounds>(inout<word>(all<word>(p).address(), 4), word{3}), o); },
                 .prepare = update_prepare, .right = rounds_right,
                 .covered = [](const coverage& c) { return c.steals > 0 && c.soft_faults > 0 && c.left_claims > 0 && c.right_claims > 0; }});
    s.push_back({.name = "cells", .about = "shared cells that two strands try to fill", .workers = 2, .region = array_bytes, .blocks = 2, .expected = {208, 2},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<some_cells>(all<word>(p)), o); },
                 .covered = [](const coverage& c) { return c.steals > 0; }});
    for (scenario& a : algorithm_scenarios()) s.push_back(std::move(a));
    // Larger ones, for random walks.
    s.push_back({.name = "big-heap", .about = "a tree of blocks, built and taken down by three workers with faults", .workers = 3, .large = true, .soft = 0.002,
                 .hard = 0.001, .expected = {tree_blocks(3), tree_blocks(3)},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_tree>(3), o); }, .covered = any});
    s.push_back({.name = "big-tree", .about = "the same, larger, with rare commits and without faults", .workers = 3, .every_task = false, .large = true,
                 .expected = {tree_blocks(5), tree_blocks(5)},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_tree>(5), o); }, .covered = any});
    s.push_back({.name = "big-fib", .about = "nested forks on three workers", .workers = 3, .large = true, .expected = {serial_fib(9), serial_fib(10) - 1},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<fib>(9), o); }, .covered = any});
    s.push_back({.name = "big-rare", .about = "commits with many new frames, three workers", .workers = 3, .every_task = false, .large = true,
                 .expected = {serial_fib(13), serial_fib(14) - 1},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<rare>(13), o); }, .covered = any});
    s.push_back({.name = "big-loop", .about = "a loop and a reduction on three workers", .workers = 3, .large = true, .region = array_bytes,
                 .expected = {loop_answer(), elements},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<a_loop>(all<word>(p)), o); }, .right = loop_right, .covered = any});
    s.push_back({.name = "big-soft", .about = "nested forks with soft faults", .workers = 3, .large = true, .soft = 0.01,
                 .expected = {serial_fib(8), serial_fib(9) - 1},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<fib>(8), o); }, .covered = any});
    s.push_back({.name = "big-graves", .about = "nested forks with soft and hard faults", .workers = 4, .large = true, .soft = 0.003, .hard = 0.003,
                 .expected = {serial_fib(8), serial_fib(9) - 1},
                 .run = [](pool& p, const run_options& o) { return run(p, job_name, task<fib>(8), o); }, .covered = any});
    return s;
  }();
  return all_of_them;
}

}  // namespace ppmm::test
