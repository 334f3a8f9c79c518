/// The heap under the scheduler: nothing leaks, nothing is freed twice, whatever faults come; jobs own what they allocate.
#include "sched_test.hpp"

namespace ppmm::test {
namespace {

class Heap : public Sched {
 protected:
  Heap() { make({.size = std::size_t{128} << 20, .sparse = true}); }
  void forests(run_options o, std::uint32_t depth) {
    for (int i = 0; i < 3; ++i) {
      const std::uint64_t key = 1 + mix(seed() + static_cast<std::uint64_t>(i)) % 1000;
      EXPECT_EQ(run(the_pool(), "forest " + std::to_string(i), task<forest>(key, depth, i > 0), o), serial_forest(key, depth));
      EXPECT_EQ(heap_blocks(the_pool()), 1u);
    }
  }
};

TEST_F(Heap, ForestLeavesItsRootOnly) {
  for (const unsigned workers : {1u, 3u}) {
    make({.size = std::size_t{128} << 20, .sparse = true});
    forests(with(workers), 13);
  }
}

TEST_F(Heap, ForestUnderSoftFaults) {
  run_options o = with(3);
  o.soft_fault_rate = 0.001;
  o.fault_seed = seed();
  forests(o, 12);
}

TEST_F(Heap, ForestWithEachTaskItsOwnCapsule) {
  run_options o = with(2);
  o.commit_every_task = true;
  forests(o, 9);
}

TEST_F(Heap, ForestUnderHardFaults) {
  for (int i = 0; i < 6; ++i) {
    run_options o = with(4);
    o.hard_fault_rate = 0.0005;
    o.fault_seed = seed() + static_cast<std::uint64_t>(i);
    for (;;) try {
        EXPECT_EQ(run(the_pool(), "forest " + std::to_string(i), task<forest>(std::uint64_t{7}, 11u, i > 0), o), serial_forest(7, 11));
        break;
      } catch (const workers_lost&) {
        o.fault_seed += 100;
        reopen();
      }
    EXPECT_EQ(heap_blocks(the_pool()), 1u);
  }
}

step<std::uint64_t> keep(context& cx, std::uint64_t n) {
  const auto a = cx.alloc<std::uint64_t>(n);
  for (std::uint64_t& x : cx.write(a)) x = n;
  cx.set_root("kept", a);
  return n;
}
step<std::uint64_t> allocate_and_forget(context& cx, std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) static_cast<void>(cx.alloc<std::uint64_t>(1 + i % 5000));
  return n;
}
step<std::uint64_t> allocate_and_throw(context& cx, std::uint64_t n) {
  return cx.call(task<allocate_and_forget>(n)).then([](context& c, std::uint64_t) -> step<std::uint64_t> {
    c.commit_next();
    return c.call(task<keep>(std::uint64_t{5})).then([](context&, std::uint64_t) -> step<std::uint64_t> { throw std::runtime_error("on purpose"); });
  });
}
step<std::uint64_t> free_kept(context& cx) {
  const auto a = cx.find_root<std::uint64_t>("kept");
  const std::uint64_t n = cx.read(a).back();
  cx.free(a);
  cx.set_root("kept", array<std::uint64_t>());
  return n;
}

TEST_F(Heap, WhatAJobDidNotKeepIsGivenBack) {
  EXPECT_EQ(run(the_pool(), "forget", task<allocate_and_forget>(std::uint64_t{1000}), with(1)), 1000u);
  EXPECT_EQ(heap_blocks(the_pool()), 0u);
  for (const std::uint64_t n : {std::uint64_t{9}, std::uint64_t{9000}}) {  // a block, an extent
    run(the_pool(), "keep " + std::to_string(n), task<keep>(n), with(1));
    EXPECT_EQ(heap_blocks(the_pool()), 1u);
    EXPECT_THROW(run(the_pool(), "throw", task<allocate_and_throw>(std::uint64_t{500}), with(2)), job_failed);
    the_pool().drop_job("throw");
    EXPECT_EQ(heap_blocks(the_pool()), 1u);
    reopen();
    const auto kept = find_root<std::uint64_t>(the_pool(), "kept");
    ASSERT_EQ(kept.size(), n);
    EXPECT_EQ(kept.address()[n - 1], n);
    EXPECT_EQ(run(the_pool(), "free " + std::to_string(n), task<free_kept>(), with(1)), n);
    EXPECT_EQ(heap_blocks(the_pool()), 0u);
    EXPECT_TRUE(find_root<std::uint64_t>(the_pool(), "kept").empty());
  }
}

TEST_F(Heap, MemoryOfJobsThatAreOverIsUsedAgain) {
  for (int i = 0; i < 12; ++i) {  // each takes more than a tenth of the pool
    run(the_pool(), "forget " + std::to_string(i), task<allocate_and_forget>(std::uint64_t{700}), with(1));
    the_pool().drop_job("forget " + std::to_string(i));
  }
}

TEST_F(Heap, RootsAreTyped) {
  EXPECT_THROW(find_root<std::uint64_t>(the_pool(), "kept"), root_error);
  run(the_pool(), "keep", task<keep>(std::uint64_t{3}), with(1));
  EXPECT_THROW(find_root<double>(the_pool(), "kept"), root_error);
  EXPECT_THROW(find_root<std::uint64_t>(the_pool(), "other"), root_error);
  EXPECT_EQ(find_root<std::uint64_t>(the_pool(), "kept").size(), 3u);
}

step<int> free_twice(context& cx, int how) {
  const auto a = cx.alloc<std::uint64_t>(4);
  const auto b = cx.alloc<std::uint64_t>(4);
  if (how == 0) cx.free(ptr<std::uint64_t>(a.address() + 1));
  if (how == 1) cx.free(a), cx.free(a);
  if (how == 2) cx.free(ptr<int>(reinterpret_cast<int*>(64)));
  return cx.call([a](context& c) -> step<int> {
             c.free(a);
             return 0;
           })
      .then([a, b](context& c, int) -> step<int> {
        c.free(b);
        c.free(a);
        return 0;
      });
}

TEST_F(Heap, FreeingTwiceFailsTheJob) {
  for (const bool every_task : {false, true})
    for (int how = 0; how < 4; ++how) {
      run_options o = with(1);
      o.commit_every_task = every_task;
      try {
        run(the_pool(), "twice", task<free_twice>(how), o);
        ADD_FAILURE() << how;
      } catch (const job_failed& e) {
        EXPECT_NE(std::string(e.what()).find("cannot free"), std::string::npos) << e.what();
      }
      the_pool().drop_job("twice");
    }
}

step<int> too_much(context& cx, std::uint64_t each) {
  for (;;) static_cast<void>(cx.alloc<std::byte>(each));
}

TEST_F(Heap, OutOfMemoryStopsTheJobAndSaysHowMuch) {
  make({.size = pool::min_size, .max_workers = 4});
  for (const std::uint64_t each : {std::uint64_t{30'000}, std::uint64_t{1} << 20, std::uint64_t{1} << 36}) {
    for (int again = 0; again < 2; ++again) {
      try {
        run(the_pool(), "greedy", task<too_much>(each), with(1));
        ADD_FAILURE();
      } catch (const out_of_pool_memory& e) {
        const std::string text = e.what();
        EXPECT_NE(text.find("bytes of pool memory are needed by a task"), std::string::npos) << text;
        EXPECT_NE(text.find("`ppmm grow " + file() + " SIZE`"), std::string::npos) << text;
        EXPECT_GE(e.asked, each);
        EXPECT_LE(e.asked, each + each / 4);
        EXPECT_LT(e.free, each < detail::max_block_bytes ? 1 : pool::min_size);
        EXPECT_GT(e.used, 0u);
        EXPECT_LE(e.used + e.free, the_pool().size());
      }
      const auto there = the_pool().find_job("greedy");
      ASSERT_TRUE(there);
      EXPECT_EQ(there->state, layout::job_state::running);
      EXPECT_NE(std::string(there->text).find("are needed by a task"), std::string::npos) << there->text;
      EXPECT_THROW(run(the_pool(), "small", task<keep>(std::uint64_t{3}), with(1)), job_unfinished);
      reopen();
    }
    the_pool().drop_job("greedy");
    EXPECT_EQ(heap_blocks(the_pool()), 0u);
    EXPECT_EQ(run(the_pool(), "small", task<keep>(std::uint64_t{3}), with(1)), 3u);
    the_pool().drop_job("small");
    run(the_pool(), "free", task<free_kept>(), with(1));
    the_pool().drop_job("free");
  }
}

/// A job that needs a larger pool than it has, again and again, goes on each time where it was; and its region stays.
class Growing : public Heap {
 protected:
  /// Runs it, growing the pool whenever it is full; how often that was.
  template <class Task>
  int run_and_grow(const Task& task, run_options o, std::uint64_t expected) {
    for (int grown = 0;; ++grown) try {
        EXPECT_EQ(run(the_pool(), "grows", task, o), expected);
        return grown;
      } catch (const out_of_pool_memory& e) {
        EXPECT_GT(e.used + e.free, pool::min_size / 4);
        if (grown > 50) throw;
        grow(std::size_t{2} << 20);
      } catch (const workers_lost&) {
        --grown;
        reopen();
      }
  }
};

TEST_F(Growing, AForestFindsItsAnswer) {
  for (const double rate : {0.0, 0.0002}) {
    make({.size = pool::min_size, .max_workers = 4});
    run_options o = with(3);
    o.soft_fault_rate = rate;
    o.hard_fault_rate = rate / 10;
    o.fault_seed = seed();
    EXPECT_GT(run_and_grow(task<forest>(std::uint64_t{3}, 16u, false), o, serial_forest(3, 16)), 0);
    EXPECT_EQ(heap_blocks(the_pool()), 1u);
    reopen();
    EXPECT_EQ(find_root<std::uint64_t>(the_pool(), "forest").size(), 100u);
  }
}

TEST_F(Growing, ADeepRecursionFindsItsAnswer) {
  make({.size = pool::min_size, .max_workers = 4});
  run_options o = with(2);
  o.heartbeat = std::chrono::microseconds(50);
  EXPECT_GT(run_and_grow(task<deep>(std::uint64_t{300'000}), o, serial_deep(300'000)), 0);
}

/// Fills the region, then the heap; then the region must be what it was.
step<std::uint64_t> hold(context& cx, std::uint64_t n) {
  if (n == 0) return 0u;
  return cx.with<std::uint64_t>(2000, [n](context& c, array<std::uint64_t> a) {
    c.write(a)[0] = n;
    return c.call(task<hold>(n - 1)).then([a](context& d, std::uint64_t below) -> step<std::uint64_t> { return below + d.read(a)[0]; });
  });
}
step<std::uint64_t> region_then_heap(context& cx, out<std::uint64_t> region, std::uint64_t n) {
  return cx.call(task<squares>(region)).then([region, n](context& c, std::uint64_t sum) {
    return c.call(task<hold>(n)).then([region, sum](context& d, std::uint64_t held) -> step<std::uint64_t> {
      std::uint64_t again = 0;
      for (const std::uint64_t x : d.read(region.as_in())) again += x;
      return again == sum ? sum + held : 0;
    });
  });
}
TEST_F(Growing, ARegionStaysWhereItIs) {
  make({.size = pool::min_size, .max_workers = 4});
  run_options o = with(2);
  o.region = std::uint64_t{4} << 20;
  const std::span<std::byte> region = region_of(the_pool(), o.region);
  const std::uint64_t n = o.region / 8;
  const out<std::uint64_t> to(reinterpret_cast<std::uint64_t*>(region.data()), n);
  EXPECT_GT(run_and_grow(task<region_then_heap>(to, std::uint64_t{1500}), o, serial_squares(n) + 1500u * 1501 / 2), 1);
  EXPECT_EQ(region_of(the_pool(), o.region).data(), region.data());
  // Regions that had no room before find it in what was added.
  EXPECT_THROW(region_of(the_pool(), std::uint64_t{40} << 20), pool_too_small);
  grow(std::size_t{48} << 20);
  EXPECT_EQ(region_of(the_pool(), std::uint64_t{40} << 20).size(), std::uint64_t{40} << 20);
  EXPECT_EQ(region_of(the_pool(), o.region).data(), region.data());
  EXPECT_GE(max_region(the_pool()), std::uint64_t{40} << 20);
}

TEST_F(Heap, WhatNoPoolCanHoldFailsTheJob) {
  for (const std::uint64_t each : {std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    try {
      run(the_pool(), "greedy", task<too_much>(each), with(1));
      ADD_FAILURE();
    } catch (const job_failed& e) {
      EXPECT_NE(std::string(e.what()).find("no pool can be so large"), std::string::npos) << e.what();
    }
    the_pool().drop_job("greedy");
    EXPECT_EQ(heap_blocks(the_pool()), 0u);
  }
}

/// All there is in blocks of one size, as a list from the newest to the oldest; and all of them freed again, `together` in a
/// task.
struct cell {
  ptr<cell> next;
  std::uint64_t size[15];
};
step<std::uint64_t> take_all(context& cx, ptr<cell> last, std::uint64_t n) {
  for (int i = 0; i < 100; ++i) {
    ptr<cell> p;
    try {
      p = cx.alloc<cell>();
    } catch (const out_of_pool_memory&) {
      cx.set_root("cells", last);
      return n;
    }
    cx.write(p)[0].next = last;
    last = p;
    ++n;
  }
  return cx.tail(task<take_all>(last, n));
}
step<std::uint64_t> free_all(context& cx, ptr<cell> p, std::uint64_t n, std::uint64_t together) {
  for (std::uint64_t i = 0; i < together && p; ++i) {
    const ptr<cell> next = cx.read(p)[0].next;
    cx.free(p);
    ++n;
    p = next;
  }
  if (!p) return n;
  return cx.tail(task<free_all>(p, n, together));
}
step<std::uint64_t> free_cells(context& cx, std::uint64_t together) {
  const auto cells = cx.find_root<cell>("cells");
  cx.set_root("cells", array<cell>());
  return cx.tail(task<free_all>(cells[0], std::uint64_t{0}, together));
}
TEST_F(Heap, AJobThatOnlyFreesGetsOnInAFullPool) {
  for (const std::uint64_t together : {100u, 3000u, 8000u}) {
    make({.size = pool::min_size, .max_workers = 4});
    run_options o = with(1);
    o.heartbeat = std::chrono::seconds(10);
    const std::uint64_t n = run(the_pool(), "take", task<take_all>(ptr<cell>(), std::uint64_t{0}), o);
    EXPECT_GT(n, 50'000u);
    reopen();
    EXPECT_EQ(run(the_pool(), "free", task<free_cells>(together), o), n);
    EXPECT_EQ(heap_blocks(the_pool()), 0u);
  }
}

/// A task that allocates, then would overwrite what its capsule has read, is run again: the first block is taken back.
step<int> read_all(context& cx, in<std::uint64_t> from) { return static_cast<int>(cx.read(from)[0]); }
step<int> allocate_then_conflict(context& cx, out<std::uint64_t> to) {
  const auto a = cx.alloc<std::uint64_t>(4);
  cx.write(to)[0] = 1;
  cx.set_root("kept", a);
  return 1;
}
step<int> conflicts(context& cx, out<std::uint64_t> to) {
  return cx.call(task<read_all>(to.as_in())).then([to](context& c, int) { return c.call(task<allocate_then_conflict>(to)).then([](context&, int n) -> step<int> { return n; }); });
}
TEST_F(Heap, ATaskThatIsRunAgainDoesNotLeak) {
  run_options o = with(1);
  o.region = 4096;
  o.heartbeat = std::chrono::seconds(10);
  run_statistics s;
  o.statistics = &s;
  const out<std::uint64_t> to(reinterpret_cast<std::uint64_t*>(region_of(the_pool(), 4096).data()), 8);
  EXPECT_EQ(run(the_pool(), "conflict", task<conflicts>(to), o), 1);
  EXPECT_EQ(s.restarts_of_tasks, 1u);
  EXPECT_EQ(heap_blocks(the_pool()), 1u);
}

/// Merge sort with a buffer a frame, written in one capsule and read in others.
step<std::uint64_t> sorted(context& cx, array<std::uint64_t> a, std::size_t lo, std::size_t hi) {
  if (hi - lo < 2) return std::uint64_t{1};
  const std::size_t middle = lo + (hi - lo) / 2;
  return cx.fork(task<sorted>(a, lo, middle), task<sorted>(a, middle, hi)).then([=](context& c, std::uint64_t x, std::uint64_t y) {
    return c.with<std::uint64_t>(hi - lo, [=](context& d, array<std::uint64_t> buffer) {
      return d.call([=](context& e) -> step<void> {
                const auto one = e.read(in<std::uint64_t>(a.address() + lo, middle - lo)), other = e.read(in<std::uint64_t>(a.address() + middle, hi - middle));
                std::ranges::merge(one, other, e.write(buffer).begin());
                return {};
              })
          .then([=](context& e) -> step<std::uint64_t> {
            const auto from = e.read(buffer);
            std::ranges::copy(from, e.write(out<std::uint64_t>(a.address() + lo, hi - lo)).begin());
            return x + y + 1;
          });
    });
  });
}
step<std::uint64_t> sort_with_buffers(context& cx, std::uint64_t n) {
  const auto a = cx.alloc<std::uint64_t>(n);
  const auto span = cx.write(a);
  for (std::size_t i = 0; i < n; ++i) span[i] = mix(i);
  cx.set_root("sorted", a);
  return cx.tail(task<sorted>(a, std::size_t{0}, static_cast<std::size_t>(n)));
}
/// What `with` gives back, nothing leaks: the root keeps all that the job does not free.
class With : public Heap {
 protected:
  void sort(run_options o, std::uint64_t n) {
    for (;;) try {
        EXPECT_EQ(run(the_pool(), "sort", task<sort_with_buffers>(n), o), 2 * n - 1);
        break;
      } catch (const workers_lost&) {
        o.fault_seed += 100;
        reopen();
      }
    EXPECT_EQ(heap_blocks(the_pool()), 1u);
    reopen();
    std::vector<std::uint64_t> expected(n);
    for (std::size_t i = 0; i < n; ++i) expected[i] = mix(i);
    std::ranges::sort(expected);
    const auto found = find_root<std::uint64_t>(the_pool(), "sorted");
    ASSERT_EQ(found.size(), n);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.address()));
  }
};
TEST_F(With, BuffersOfAllSizesGoWithTheirFrames) {
  for (const unsigned workers : {1u, 3u}) {
    make({.size = std::size_t{128} << 20, .sparse = true});
    sort(with(workers), 20'000);
  }
}
TEST_F(With, UnderSoftFaults) {
  run_options o = with(3);
  o.soft_fault_rate = 0.001;
  o.fault_seed = seed();
  sort(o, 3000);
}
TEST_F(With, UnderHardFaults) {
  run_options o = with(4);
  o.hard_fault_rate = 0.0002;
  o.fault_seed = seed();
  sort(o, 3000);
}
TEST_F(With, EachTaskItsOwnCapsule) {
  run_options o = with(2);
  o.commit_every_task = true;
  sort(o, 1000);
}

/// The other forms: nothing, a task that lacks its array, no value; one in the other; many one after another.
step<std::uint64_t> first_of(context& cx, std::uint64_t value, array<std::uint64_t> a) {
  if (a.empty()) return value;
  cx.write(a)[0] = value;
  return cx.call([=](context& c) { return c.with<char>(10, [=](context& d, array<char> inner) -> step<void> {
                                     d.write(inner)[9] = 'x';
                                     return {};
                                   }); })
      .then([=](context& c) -> step<std::uint64_t> { return c.read(a)[0]; });
}
step<std::uint64_t> rounds_with(context& cx, std::uint64_t n, std::uint64_t sum) {
  if (n == 0) {
    cx.set_root("one", cx.alloc<char>());
    return sum;
  }
  return cx.call([=](context& c) { return c.with<std::uint64_t>(n % 3 == 0 ? 0 : n % 5000, task<first_of>(n)); })
      .then([=](context& c, std::uint64_t found) { return c.tail(task<rounds_with>(n - 1, sum + found)); });
}
TEST_F(With, NestsAndTakesTasks) {
  make({.size = pool::min_size, .max_workers = 4});
#if PPMM_ADDRESS_SANITIZER
  constexpr std::uint64_t n = 4'000;  // two hundred times slower; still several times the pool's memory
#else
  constexpr std::uint64_t n = 20'000;
#endif
  EXPECT_EQ(run(the_pool(), "rounds", task<rounds_with>(n, std::uint64_t{0}), with(2)), n * (n + 1) / 2);
  EXPECT_EQ(heap_blocks(the_pool()), 1u);
}

/// Freed on other workers than allocated on, again and again: memory goes back to where it came from.
step<int> produce_and_consume(context& cx, int rounds) {
  if (rounds == 0) return 0;
  return cx.call(task<grow_tree>(static_cast<std::uint64_t>(rounds), 9u)).then([rounds](context& c, ptr<heap_node> tree) {
    return c.call(task<fell_tree>(tree)).then([rounds](context& d) { return produce_and_consume(d, rounds - 1); });
  });
}
TEST_F(Heap, MemoryDoesNotGrowWithTime) {
  make({.size = pool::min_size, .max_workers = 4});
  run(the_pool(), "rounds", task<produce_and_consume>(60), with(3));
}

/// More blocks in one capsule than a redo area holds, and than a chunk of list words holds.
step<std::uint64_t> many_in_one_task(context& cx, std::uint64_t n) {
  const auto all = cx.alloc<ptr<std::uint64_t>>(n);
  const auto span = cx.write(all);
  for (auto& p : span) p = cx.alloc<std::uint64_t>();
  cx.set_root("many", all);
  return n;
}
step<std::uint64_t> free_many(context& cx) {
  const auto all = cx.find_root<ptr<std::uint64_t>>("many");
  for (const auto p : cx.read(all)) cx.free(p);
  cx.free(all);
  cx.set_root("many", array<ptr<std::uint64_t>>());
  return all.size();
}
TEST_F(Heap, ListsOfAnyLength) {
  for (const std::uint64_t n : {std::uint64_t{100}, std::uint64_t{3000}, std::uint64_t{40'000}}) {
    EXPECT_EQ(run(the_pool(), "many " + std::to_string(n), task<many_in_one_task>(n), with(1)), n);
    EXPECT_EQ(heap_blocks(the_pool()), n + 1);
    EXPECT_EQ(run(the_pool(), "free " + std::to_string(n), task<free_many>(), with(1)), n);
    EXPECT_EQ(heap_blocks(the_pool()), 0u);
  }
}

TEST_F(Heap, ARegionDoesNotLieOnKeptObjects) {
  run(the_pool(), "keep", task<keep>(std::uint64_t{1} << 20), with(1));  // 8 MiB
  run_options o = with(1);
  o.region = max_region(the_pool());
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(10), o), pool_too_small);
  o.region = std::uint64_t{32} << 20;
  EXPECT_EQ(run(the_pool(), "fib", task<fib>(10), o), 55);
  EXPECT_EQ(find_root<std::uint64_t>(the_pool(), "kept").size(), std::uint64_t{1} << 20);
}

}  // namespace
}  // namespace ppmm::test
