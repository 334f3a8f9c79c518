/// Views that change what is there: updates in place, shared cells, tiles.
#include "sched_test.hpp"

#include <ppmm/alloc/inspect.hpp>
#include <ppmm/sched/image.hpp>

#include <algorithm>
#include <random>
#include <span>
#include <vector>

namespace ppmm::test {
namespace {

class Views : public Sched {
 public:
  using Sched::with;
  static constexpr std::uint64_t bytes = 4 << 20;

 protected:
  static run_options region(unsigned workers) {
    run_options o = with(workers);
    o.region = bytes;
    return o;
  }
  template <class T>
  T* memory() {
    return reinterpret_cast<T*>(region_of(the_pool(), bytes).data());
  }
};

#if !defined(NDEBUG)
/// In builds with assertions, a part that is not inside its view, and a cell that is not aligned, end the process.
TEST(ViewsDeathTest, PartsLieInside) {
  std::uint64_t memory[8] = {};
  const in<std::uint64_t> v(memory, 8);
  EXPECT_EQ(v.sub(3, 5).address(), memory + 3);
  EXPECT_TRUE(v.drop(8).empty());
  EXPECT_DEATH(v.sub(3, 6), "from <= size_");
  EXPECT_DEATH(v.sub(9, 0), "from <= size_");
  EXPECT_DEATH(v.sub(1, ~std::size_t{0}), "from <= size_") << "their sum is inside";
  EXPECT_DEATH(v.first(9), "from <= size_");
  EXPECT_DEATH(v.drop(9), "from <= size_");
  EXPECT_DEATH(v.sub(4, 4).sub(0, 5), "from <= size_") << "inside the whole, not the part";
  EXPECT_DEATH(out<std::uint64_t>(memory, 8).first(9), "from <= size_");
  EXPECT_DEATH(inout<std::uint64_t>(memory, 8).drop(9), "from <= size_");
  EXPECT_DEATH(array<std::uint64_t>(memory, 8)[8], "i < size_");

  const tile<in<std::uint64_t>> t(v, 4);
  EXPECT_EQ(t.row(1).address(), memory + 4);
  EXPECT_EQ(t.sub(1, 2, 1, 2).row(0).address(), memory + 6);
  EXPECT_DEATH(t.row(2), "r < rows_");
  EXPECT_DEATH(t.sub(0, 0, 3, 1), "row <= rows_");
  EXPECT_DEATH(t.sub(0, 2, 1, 3), "row <= rows_") << "the next row's elements";
  EXPECT_DEATH(t.sub(1, 0, ~std::size_t{0}, 1), "row <= rows_");
  EXPECT_DEATH((tile<in<std::uint64_t>>(v, 3)), "all.size()");

  EXPECT_DEATH(shared<std::uint64_t>(reinterpret_cast<std::uint64_t*>(reinterpret_cast<char*>(memory) + 4)), "address_ % sizeof");
}
#endif

/// Each round changes every element, some bytes twice: a round that is repeated after a part of it was done would show.
step<int> triple(context& cx, inout<std::uint64_t> v, std::uint64_t round) {
  if (v.size() > 300) {
    const std::size_t half = v.size() / 2;
    return cx.fork(task<triple>(v.first(half), round), task<triple>(v.drop(half), round)).then([](context&, int, int) -> step<int> { return 0; });
  }
  for (std::uint64_t& x : cx.update(v)) x = x * 3 + round;
  cx.update(v.first(1))[0] += 1;
  for (std::uint64_t& x : cx.update(v)) x ^= round << 40;
  return 0;
}
void serial_triple(std::uint64_t* v, std::size_t n, std::uint64_t round) {
  if (n > 300) {
    serial_triple(v, n / 2, round);
    serial_triple(v + n / 2, n - n / 2, round);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) v[i] = v[i] * 3 + round;
  v[0] += 1;
  for (std::size_t i = 0; i < n; ++i) v[i] ^= round << 40;
}
step<int> rounds_of(context& cx, inout<std::uint64_t> v, std::uint64_t round, std::uint64_t rounds) {
  if (round == rounds) return 0;
  return cx.call(task<triple>(v, round)).then([v, round, rounds](context& c, int) { return c.tail(task<rounds_of>(v, round + 1, rounds)); });
}

void expect_rounds(pool& p, std::uint64_t* v, const run_options& o, std::size_t n, std::uint64_t rounds) {
  std::fill_n(v, n, 7);
  std::vector<std::uint64_t> serial(n, 7);
  for (std::uint64_t r = 0; r < rounds; ++r) serial_triple(serial.data(), n, r);
  for (;;) try {
      run(p, "rounds", task<rounds_of>(inout<std::uint64_t>(v, n), std::uint64_t{0}, rounds), o);
      break;
    } catch (const workers_lost&) {
    }
  EXPECT_TRUE(std::equal(serial.begin(), serial.end(), v));
  p.drop_job("rounds");
}

TEST_F(Views, UpdatesInPlace) { expect_rounds(the_pool(), memory<std::uint64_t>(), region(2), 20'000, 20); }

TEST_F(Views, UpdatesInPlaceUnderFaults) {
  for (const bool hard : {false, true})
    for (std::uint64_t i = 0; i < 12; ++i) {
      run_options o = region(3 + i % 2);
      (hard ? o.hard_fault_rate : o.soft_fault_rate) = hard ? 0.0003 : 0.005;
      o.fault_seed = seed() + i;
      expect_rounds(the_pool(), memory<std::uint64_t>(), o, 20'000, 10);
    }
}

step<int> triple_at_once(context& cx, inout<std::uint64_t> v, std::uint64_t rounds) {
  if (rounds == 0) return 0;
  for (std::uint64_t& x : cx.update(v)) x = x * 3 + rounds;
  cx.commit_next();
  return cx.tail(task<triple_at_once>(v, rounds - 1));
}
TEST_F(Views, UpdatesOfMoreThanAChunk) {
  run_options o = region(1);
  o.soft_fault_rate = 0.05;
  o.fault_seed = seed();
  std::uint64_t* v = memory<std::uint64_t>();
  constexpr std::size_t n = 30'000;  // 240 KB in one view
  std::fill_n(v, n, 1);
  run_statistics s;
  o.statistics = &s;
  run(the_pool(), "big", task<triple_at_once>(inout<std::uint64_t>(v, n), std::uint64_t{60}), o);
  std::uint64_t x = 1;
  for (std::uint64_t r = 60; r > 0; --r) x = x * 3 + r;
  EXPECT_EQ(static_cast<std::size_t>(std::count(v, v + n, x)), n);
  EXPECT_GT(s.soft_faults, 0u);
}

/// Elements of eight bytes, and of a size that no block is a multiple of.
struct odd {
  std::uint32_t a, b, c;
  friend bool operator==(const odd&, const odd&) = default;
};
std::uint64_t numbered(std::size_t i, std::uint64_t) { return i * 3 + 1; }
odd numbered(std::size_t i, odd) {
  const auto n = static_cast<std::uint32_t>(i);
  return {n, ~n, n * 7};
}
template <class T>
step<std::uint64_t> fill_all(context& cx, out<T> v, std::uint64_t parts) {
  std::size_t next = 0, largest = 0;
  cx.fill(v, [&](std::span<T> part, std::size_t at) {
    if (at != next) throw error("a part is not where the last one ended");
    next = at + part.size();
    largest = std::max(largest, part.size_bytes());
    for (std::size_t i = 0; i < part.size(); ++i) part[i] = numbered(at + i, T());
  });
  if (next != v.size()) throw error("not all was filled");
  if (parts > 1) return cx.tail(task<fill_all<T>>(v, parts - 1));
  return largest;
}
template <class T>
void expect_filled(pool& p, T* memory, durability level, double soft_fault_rate) {
  for (const std::size_t n : {0u, 1u, 5u, 511u, 512u, 513u, 2000u, 30'000u})
    for (const std::size_t from : {1u, 9u}) {
      std::fill_n(memory, n + 20, T());
      run_options o = Views::with(1);
      o.region = Views::bytes;
      o.soft_fault_rate = soft_fault_rate;
      o.fault_seed = seed();
      run_statistics s;
      o.statistics = &s;
      const std::uint64_t largest = run(p, "fill", task<fill_all<T>>(out<T>(memory + from, n), std::uint64_t{3}), o);
      p.drop_job("fill");
      for (std::size_t i = 0; i < n + 20; ++i)
        ASSERT_EQ(memory[i], i >= from && i < from + n ? numbered(i - from, T()) : T()) << i << " of " << n << " from " << from;
      if (level == durability::process || n * sizeof(T) <= 4096)
        EXPECT_EQ(largest, n * sizeof(T)) << "in place";
      else
        EXPECT_LE(largest, 4096u);
      EXPECT_GE(s.flushed.bytes, 3 * n * sizeof(T)) << "what was not flushed is not durable";
    }
}
TEST_F(Views, FillsWithoutAGap) {
  for (const durability level : {durability::process, durability::emulated})
    for (const double rate : {0.0, 0.02}) {
      pool_options how;
      how.level = level;
      make(how);
      expect_filled(the_pool(), memory<std::uint64_t>(), level, rate);
      expect_filled(the_pool(), memory<odd>(), level, rate);
    }
}

struct four_words {
  std::uint64_t w[4];
  friend bool operator==(const four_words&, const four_words&) = default;
};
four_words numbered(std::size_t i, four_words) { return {{i, ~i, 3 * i, 0}}; }
std::uint32_t numbered(std::size_t i, std::uint32_t) { return static_cast<std::uint32_t>(i * 5 + 1); }
std::uint8_t numbered(std::size_t i, std::uint8_t) { return static_cast<std::uint8_t>(i | 1); }

/// As fill_all, element by element: a view's middle, its state going from one element to the next.
template <class T>
struct numbering {
  std::size_t next;
  T operator()(std::size_t i) {
    if (i != next++) throw error("an element is not where the last one ended");
    return numbered(i, T());
  }
};
template <class T>
step<std::uint64_t> fill_each_of(context& cx, out<T> v, std::uint64_t margin, std::uint64_t times) {
  const std::size_t end = v.size() - margin;
  if (cx.fill_each(v, margin, end, numbering<T>{margin}).next != end) throw error("not all was filled");
  if (times > 1) return cx.tail(task<fill_each_of<T>>(v, margin, times - 1));
  return end - margin;
}
template <class T>
void expect_each_filled(pool& p, T* memory, const numa::topology& machine, double soft_fault_rate) {
  for (const std::size_t n : {10u, 11u, 522u, 523u, 2000u, 30'000u})
    for (const std::size_t from : {1u, 9u}) {
      constexpr std::size_t margin = 5;
      std::fill_n(memory, n + 20, T());
      run_options o = Views::with(1);
      o.region = Views::bytes;
      o.machine = &machine;
      o.soft_fault_rate = soft_fault_rate;
      o.fault_seed = seed();
      run_statistics s;
      o.statistics = &s;
      const std::size_t filled = n - 2 * margin;
      EXPECT_EQ(run(p, "fill", task<fill_each_of<T>>(out<T>(memory + from, n), std::uint64_t{margin}, std::uint64_t{3}), o), filled);
      p.drop_job("fill");
      for (std::size_t i = 0; i < n + 20; ++i)
        ASSERT_EQ(memory[i], i >= from + margin && i < from + n - margin ? numbered(i - from, T()) : T()) << i << " of " << n << " from " << from;
      EXPECT_GE(s.flushed.bytes, 3 * filled * sizeof(T)) << "what was not flushed is not durable";
    }
}
TEST_F(Views, FillsEachOnce) {
  // Past the caches where they cost flushes, and where the view is larger than they are.
  const auto small_caches = numa::topology::from_synthetic("l3:1(size=65536) l2:1(size=16384) core:2 pu:1"),
             large_caches = numa::topology::from_synthetic("l3:1(size=33554432) core:2 pu:1");
  for (const durability level : {durability::process, durability::emulated})
    for (const numa::topology* machine : {&small_caches, &large_caches})
      for (const double rate : {0.0, 0.02}) {
        pool_options how;
        how.level = level;
        make(how);
        expect_each_filled(the_pool(), memory<std::uint64_t>(), *machine, rate);
        expect_each_filled(the_pool(), memory<std::uint32_t>(), *machine, rate);
        expect_each_filled(the_pool(), memory<odd>(), *machine, rate);
        expect_each_filled(the_pool(), memory<four_words>(), *machine, rate);
        expect_each_filled(the_pool(), memory<std::uint8_t>(), *machine, rate);
      }
}

step<std::uint64_t> read_then_fill(context& cx, out<std::uint64_t> v) {
  const std::uint64_t first = cx.read(v.as_in())[0];
  cx.fill(v, [first](std::span<std::uint64_t> part, std::size_t) { std::ranges::fill(part, first); });
  return first;
}
TEST_F(Views, AFillOfWhatItsTaskHasReadIsRefused) {
  EXPECT_THROW(run(the_pool(), "fill", task<read_then_fill>(out<std::uint64_t>(memory<std::uint64_t>(), 5000)), region(1)), job_failed);
}

step<std::uint64_t> read_then_fill_each(context& cx, out<std::uint64_t> v) {
  const std::uint64_t first = cx.read(v.as_in())[0];
  cx.fill_each(v, 0, v.size(), [first](std::size_t) { return first; });
  return first;
}
TEST_F(Views, AFillOfEachThatItsTaskHasReadIsRefused) {
  for (const durability level : {durability::process, durability::emulated}) {
    pool_options how;
    how.level = level;
    make(how);
    EXPECT_THROW(run(the_pool(), "fill", task<read_then_fill_each>(out<std::uint64_t>(memory<std::uint64_t>(), 5000)), region(1)), job_failed);
  }
}

step<int> update_outside(context& cx, std::uint64_t at) {
  cx.update(inout<std::uint64_t>(reinterpret_cast<std::uint64_t*>(at), 8));
  return 0;
}
TEST_F(Views, AnUpdateOutsideThePoolsDataIsRefused) {
  const detail::image img(the_pool());
  for (const void* p : {static_cast<const void*>(&img.worker(0)), static_cast<const void*>(&img), static_cast<const void*>(img.heap().control)}) {
    EXPECT_THROW(run(the_pool(), "outside", task<update_outside>(reinterpret_cast<std::uint64_t>(p)), with(1)), job_failed);
    the_pool().drop_job("outside");
  }
}

TEST_F(Views, AnUpdateThatIsNotAlignedIsRefused) {
  const auto at = reinterpret_cast<std::uint64_t>(region_of(the_pool(), bytes).data());
  const auto tell = [&](std::uint64_t where) -> std::string {
    try {
      run(the_pool(), "odd", task<update_outside>(where), region(1));
    } catch (const job_failed& e) {
      the_pool().drop_job("odd");
      return e.what();
    }
    the_pool().drop_job("odd");
    return "";
  };
  EXPECT_EQ(tell(at + 8), "");
  EXPECT_NE(tell(at + 4).find("not a multiple of 8 as their type needs"), std::string::npos);
}

/// A task that has updated in place, and then opens for writing what its capsule has read, is run again: as if it had
/// not updated. Also where it updates what the capsule has allocated, which no log saves.
step<std::uint64_t> peek_at(context& cx, in<std::uint64_t> v) { return cx.read(v)[0]; }
step<std::uint64_t> update_then_write(context& cx, inout<std::uint64_t> v, out<std::uint64_t> w) {
  for (std::uint64_t& x : cx.update(v)) ++x;
  const std::uint64_t now = cx.read(v.as_in())[0];
  cx.write(w)[0] = now;
  return now;
}
step<std::uint64_t> conflict_after_update(context& cx, inout<std::uint64_t> v, out<std::uint64_t> w) {
  return cx.call(task<peek_at>(w.as_in())).then([v, w](context& c, std::uint64_t) { return c.tail(task<update_then_write>(v, w)); });
}
step<std::uint64_t> conflict_after_update_of_own(context& cx, out<std::uint64_t> w) {
  const auto own = cx.alloc<std::uint64_t>(4);
  for (std::uint64_t& x : cx.write(own)) x = 5;
  return cx.tail(task<conflict_after_update>(inout<std::uint64_t>(own.address(), own.size()), w));
}
TEST_F(Views, AnUpdateBeforeAConflictIsDoneOnce) {
  run_options o = region(1);
  o.heartbeat = std::chrono::seconds(10);
  std::uint64_t* v = memory<std::uint64_t>();
  v[0] = 5;
  const out<std::uint64_t> w(v + 100, 1);
  run_statistics s;
  o.statistics = &s;
  EXPECT_EQ(run(the_pool(), "update", task<conflict_after_update>(inout<std::uint64_t>(v, 1), w), o), 6u);
  EXPECT_EQ(s.restarts_of_tasks, 1u);
  EXPECT_EQ(v[0], 6u);
  EXPECT_EQ(run(the_pool(), "own", task<conflict_after_update_of_own>(w), o), 6u);
  EXPECT_EQ(s.restarts_of_tasks, 1u);
}

/// What a capsule has allocated is not saved, wherever in the block it is: after a crash it may be somebody else's.
step<std::uint64_t> update_own(context& cx, std::uint64_t from) {
  const auto own = cx.alloc<std::uint64_t>(50'000);  // chunks in a row
  for (std::uint64_t& x : cx.write(own)) x = 1;
  for (std::uint64_t& x : cx.update(inout<std::uint64_t>(own.address() + from, 100))) ++x;
  return cx.read(own)[from];
}
TEST_F(Views, UpdatesOfOwnBlocksAreNotSaved) {
  std::uint64_t fences[2];
  for (const bool late : {false, true}) {
    run_options o = with(1);
    o.heartbeat = std::chrono::seconds(10);
    run_statistics s;
    o.statistics = &s;
    EXPECT_EQ(run(the_pool(), late ? "late" : "early", task<update_own>(late ? std::uint64_t{40'000} : std::uint64_t{0}), o), 2u);
    fences[late] = s.flushed.fences;
  }
  EXPECT_EQ(fences[0], fences[1]);
}

// ---- shared cells: a set of keys in an open hash table, filled by strands in parallel. Cells go from 0 to a value, once.

struct entry16 {
  std::uint64_t key, who;
};
template <class Cell>
Cell cell_of(std::uint64_t key, std::uint64_t who) {
  if constexpr (sizeof(Cell) == 8)
    return key << 32 | who;
  else
    return {key, who};
}
std::uint64_t key_of(std::uint64_t c) { return c >> 32; }
std::uint64_t key_of(entry16 c) { return c.key; }
bool same(std::uint64_t a, std::uint64_t b) { return a == b; }
bool same(entry16 a, entry16 b) { return a.key == b.key && a.who == b.who; }

constexpr std::uint64_t keys = 500;
inline std::uint64_t key_for(std::uint64_t i) { return 1 + mix(i) % keys; }

/// 1 if this insertion put the key there.
template <class Cell>
step<std::uint64_t> insert(context& cx, array<Cell> table, std::uint64_t i, std::uint64_t at) {
  const shared<Cell> cell(table[at % table.size()].address());
  const Cell mine = cell_of<Cell>(key_for(i), i + 1);
  cx.cam(cell, Cell{}, mine);
  const Cell now = cx.load(cell);
  if (same(now, mine)) {
    cx.advance(1);
    return 1u;
  }
  if (key_of(now) == key_for(i)) return 0u;
  return cx.tail(task<insert<Cell>>(table, i, at + 1));
}
template <class Cell>
step<std::uint64_t> insert_all(context& cx, array<Cell> table, std::uint64_t from, std::uint64_t to) {
  if (to - from == 1) return cx.tail(task<insert<Cell>>(table, from, mix(key_for(from) + 99)));
  const std::uint64_t middle = from + (to - from) / 2;
  return cx.fork(task<insert_all<Cell>>(table, from, middle), task<insert_all<Cell>>(table, middle, to))
      .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}
template <class Cell>
step<std::uint64_t> fill_table(context& cx, std::uint64_t n) {
  const auto table = cx.alloc<Cell>(2 * keys);
  for (Cell& c : cx.write(table)) c = Cell{};
  cx.set_root("table", table);
  return cx.tail(task<insert_all<Cell>>(table, std::uint64_t{0}, n));
}

template <class Cell>
void fill_under(pool& p, run_options o) {
  constexpr std::uint64_t n = 3000;
  std::vector<bool> wanted(keys + 1);
  for (std::uint64_t i = 0; i < n; ++i) wanted[key_for(i)] = true;
  const auto distinct = static_cast<std::uint64_t>(std::count(wanted.begin(), wanted.end(), true));
  run_statistics s;
  o.statistics = &s;
  std::uint64_t inserted = 0;
  for (;;) try {
      inserted = run(p, "fill", task<fill_table<Cell>>(n), o);
      break;
    } catch (const workers_lost&) {
      o.fault_seed += 1000;
    }
  p.drop_job("fill");
  EXPECT_EQ(inserted, distinct);
  EXPECT_EQ(s.units, distinct);
  std::vector<unsigned> there(keys + 1);
  const auto table = find_root<Cell>(p, "table");
  for (std::size_t i = 0; i < table.size(); ++i)
    if (const std::uint64_t key = key_of(*table[i].address()); key != 0) ++there[key];
  for (std::uint64_t k = 1; k <= keys; ++k) EXPECT_EQ(there[k], wanted[k] ? 1u : 0u) << k;
}

TEST_F(Views, SharedCellsOf8And16Bytes) {
  fill_under<std::uint64_t>(the_pool(), with(3));
  fill_under<entry16>(the_pool(), with(3));
}
TEST_F(Views, SharedCellsUnderFaults) {
  for (std::uint64_t i = 0; i < 3; ++i) {
    run_options o = with(3);
    o.fault_seed = seed() + i;
    o.soft_fault_rate = 0.003;
    fill_under<entry16>(the_pool(), o);
    o.soft_fault_rate = 0;
    o.hard_fault_rate = 0.0001;
    fill_under<std::uint64_t>(the_pool(), o);
  }
}

step<int> load_then_cam(context& cx, ptr<std::uint64_t> p) {
  const shared<std::uint64_t> cell(p.address());
  const std::uint64_t v = cx.load(cell);
  cx.cam(cell, v, v + 1);
  return 0;
}
step<int> make_cell_and_misuse(context& cx) {
  const auto p = cx.alloc<std::uint64_t>();
  cx.write(p)[0] = 1;
  return cx.tail(task<load_then_cam>(p));
}
TEST_F(Views, ACamAfterALoadInTheSameTaskIsAnError) {
  try {
    run(the_pool(), "misuse", task<make_cell_and_misuse>(), with(1));
    FAIL();
  } catch (const job_failed& e) {
    EXPECT_NE(std::string(e.what()).find("do the CAM first"), std::string::npos) << e.what();
  }
}

// ---- tiles

/// A task that reads a tile, and then writes a part of the same memory. Refused if, and only if, it writes in a row.
step<int> read_tile_then_write(context& cx, tile<in<std::uint64_t>> t, out<std::uint64_t> w) {
  const auto all = cx.read(t);
  for (std::size_t r = 0; r < t.rows() && !t.empty(); ++r)
    if (all[r] != t.row(r).address()) throw error("a row is elsewhere");
  for (std::uint64_t& x : cx.write(w)) x = 1;
  return 0;
}
TEST_F(Views, ATileThatIsReadIsItsRows) {
  constexpr std::size_t columns = 12, n = 20 * columns;
  std::uint64_t* v = memory<std::uint64_t>();
  std::mt19937_64 random(seed());
  const auto below = [&](std::size_t m) { return random() % m; };
  unsigned refused = 0;
  for (int i = 0; i < 300; ++i) {
    const std::size_t row = below(20), column = below(columns), some_rows = below(20 - row + 1), some_columns = below(columns - column + 1);
    const std::size_t from = below(n), many = below(std::min<std::size_t>(n - from, 3 * columns));
    const auto t = tile(in<std::uint64_t>(v, n), columns).sub(row, column, some_rows, some_columns);
    bool overlap = false;
    for (std::size_t r = row; r < row + some_rows; ++r)
      for (std::size_t c = column; c < column + some_columns; ++c) overlap = overlap || (r * columns + c >= from && r * columns + c < from + many);
    bool was_refused = false;
    try {
      run(the_pool(), "tile", task<read_tile_then_write>(t, out<std::uint64_t>(v + from, many)), region(1));
    } catch (const job_failed&) {
      was_refused = true;
    }
    the_pool().drop_job("tile");
    ASSERT_EQ(was_refused, overlap) << row << ',' << column << " of " << some_rows << " × " << some_columns << "; " << from << " +" << many;
    refused += was_refused;
  }
  EXPECT_GT(refused, 20u);
  EXPECT_LT(refused, 280u);
}

/// What the capsule wrote itself it may read as a tile, and write again.
step<int> write_tile_twice(context& cx, out<std::uint64_t> v) {
  for (int i = 0; i < 2; ++i) {
    for (std::uint64_t& x : cx.write(v)) x = 2;
    const auto rows = cx.read(tile(v.as_in(), 10).sub(1, 2, 3, 4));
    if (rows[2][3] != 2) throw error("it has another value");
    const auto to = cx.write(tile(v, 10).sub(0, 1, 2, 2));
    to[1][1] = 7;
  }
  return 0;
}
TEST_F(Views, ATileOfWhatTheCapsuleWroteMayBeWrittenAgain) {
  std::uint64_t* v = memory<std::uint64_t>();
  run(the_pool(), "tile", task<write_tile_twice>(out<std::uint64_t>(v, 100)), region(1));
  EXPECT_EQ(v[12], 7u);
  EXPECT_EQ(v[13], 2u);
}

step<int> transpose(context& cx, tile<in<std::uint32_t>> from, tile<out<std::uint32_t>> to) {
  if (from.rows() > 8) {
    const std::size_t h = from.rows() / 2, w = from.columns() / 2, h2 = from.rows() - h, w2 = from.columns() - w;
    return cx.fork(task<transpose>(from.sub(0, 0, h, w), to.sub(0, 0, w, h)), task<transpose>(from.sub(0, w, h, w2), to.sub(w, 0, w2, h)),
                   task<transpose>(from.sub(h, 0, h2, w), to.sub(0, h, w, h2)), task<transpose>(from.sub(h, w, h2, w2), to.sub(w, h, w2, h2)))
        .then([](context&, int, int, int, int) -> step<int> { return 0; });
  }
  for (std::size_t r = 0; r < to.rows(); ++r) {
    const auto row = cx.write(to.row(r));
    for (std::size_t c = 0; c < to.columns(); ++c) row[c] = cx.read(from.row(c))[r];
  }
  return 0;
}
TEST_F(Views, TilesOfAMatrix) {
  constexpr std::size_t rows = 120, columns = 90;
  auto* a = memory<std::uint32_t>();
  auto* b = a + rows * columns;
  for (std::size_t i = 0; i < rows * columns; ++i) a[i] = static_cast<std::uint32_t>(i);
  run(the_pool(), "transpose", task<transpose>(tile(in<std::uint32_t>(a, rows * columns), columns), tile(out<std::uint32_t>(b, rows * columns), rows)), region(2));
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) ASSERT_EQ(b[c * rows + r], r * columns + c);
}

}  // namespace
}  // namespace ppmm::test
