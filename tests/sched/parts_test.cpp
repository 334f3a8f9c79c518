/// Pools in parts: who works where, and what happens when a part is full, or the pool grows.
#include "sched_test.hpp"

#include <ppmm/alloc/inspect.hpp>
#include <ppmm/sched/image.hpp>
#include <ppmm/sched/record.hpp>

#include <set>
#include <vector>

namespace ppmm::test {
namespace {

constexpr std::size_t mebi = std::size_t{1} << 20;

class PoolParts : public Sched {
 protected:
  ~PoolParts() override {
    for (int i = 1; i < 4; ++i) std::filesystem::remove(further(i));
  }
  static std::string further(int i) { return file() + "." + std::to_string(i); }
  /// A part for each node named.
  void make_on(const std::vector<std::optional<unsigned>>& nodes, std::size_t size = 32 * mebi) {
    for (int i = 1; i < 4; ++i) std::filesystem::remove(further(i));
    pool_options how;
    how.size = size;
    how.node = nodes[0];
    for (std::size_t i = 1; i < nodes.size(); ++i) how.further_parts.push_back({further(static_cast<int>(i)), nodes[i]});
    make(how);
  }
  run_options on(const char* machine, unsigned workers) {
    machine_.emplace(numa::topology::from_synthetic(machine));
    run_options o = with(workers);
    o.machine = &*machine_;
    return o;
  }
  /// Slots that have a record of any job.
  std::set<unsigned> slots_used() {
    const detail::image img(the_pool());
    std::set<unsigned> used;
    for (unsigned i = 0; i < img.workers(); ++i)
      for (const detail::record& buffer : img.worker(i).records)
        if (buffer.lines[0].sequence != 0) used.insert(i);
    return used;
  }
  unsigned part_at(std::uint64_t address) {
    unsigned i = 0;
    while (i < the_pool().parts().size() && !(the_pool().parts()[i].base <= reinterpret_cast<std::byte*>(address) &&
                                              reinterpret_cast<std::byte*>(address) < the_pool().parts()[i].base + the_pool().parts()[i].size))
      ++i;
    return i;
  }

 private:
  std::optional<numa::topology> machine_;
};

/// Where a small block and an extent came from, and where the worker was.
struct places {
  std::uint64_t block, extent, placed;
  unsigned near;
};
step<places> allocate(context& cx, unsigned node) {
  const places p{reinterpret_cast<std::uint64_t>(cx.alloc<std::uint64_t>(4).address()), reinterpret_cast<std::uint64_t>(cx.alloc<std::uint64_t>(20'000).address()),
                 reinterpret_cast<std::uint64_t>(cx.alloc<std::uint64_t>(10, placement::on_node{node}).address()), cx.near_part()};
  return p;
}

TEST_F(PoolParts, AWorkerLivesAndAllocatesOnItsNode) {
  for (const unsigned first : {0u, 1u}) {
    make_on({first, 1 - first});
    const places p = run(the_pool(), "allocate", task<allocate>(1u), on("node:2 core:1 pu:1", 1));
    EXPECT_EQ(p.near, first == 0 ? 0u : 1u) << "the part that is on node 0";
    EXPECT_EQ(part_at(p.block), p.near);
    EXPECT_EQ(part_at(p.extent), p.near);
    EXPECT_EQ(part_at(p.placed), 1 - p.near) << "the one on node 1";
    EXPECT_EQ(slots_used(), std::set<unsigned>{p.near}) << "slot i is in part i % 2";
    // A node that no part is on: near the worker.
    EXPECT_EQ(part_at(run(the_pool(), "elsewhere", task<allocate>(5u), on("node:2 core:1 pu:1", 1)).placed), p.near);
  }
}

TEST_F(PoolParts, AWorkerGoesToTheNearestPartWhereItsNodeHasNone) {
  make_on({3u, 1u});
  // Two packages of two nodes: worker 2 is on node 2, beside node 3; worker 0 on node 0, beside node 1.
  const run_options o = on("package:2 node:2 core:1 pu:1", 4);
  run(the_pool(), "fib", task<fib>(20), o);
  EXPECT_EQ(run(the_pool(), "one", task<allocate>(0u), on("package:2 node:2 core:1 pu:1", 1)).near, 1u);
  make_on({std::nullopt, std::nullopt, std::nullopt});
  run(the_pool(), "fib", task<fib>(20), on("core:3 pu:1", 3));
  for (const unsigned slot : slots_used()) EXPECT_LT(slot, 3u) << "they go round the parts";
}

/// The frames of a strand stand in the part that its worker is near, and the job goes on from there.
TEST_F(PoolParts, AStrandStandsOnItsNode) {
  make_on({1u, 0u});
  run_options o = on("node:2 core:1 pu:1", 1);
  std::stop_source stop;
  o.stop = stop.get_token();
  stop.request_stop();
  o.commit_every_task = true;
  EXPECT_THROW(run(the_pool(), "deep", task<deep>(std::uint64_t{1000}), o), job_interrupted);
  reopen();
  o.stop = {};
  EXPECT_EQ(run(the_pool(), "deep", task<deep>(std::uint64_t{1000}), o), serial_deep(1000));

  std::stop_source later;
  o.stop = later.get_token();
  o.on_progress = [&](std::uint64_t units) {
    if (units > 1000) later.request_stop();
  };
  EXPECT_THROW(run(the_pool(), "fib", task<fib>(40), o), job_interrupted);
  const detail::image img(the_pool());
  const detail::restart r = detail::newest_record(img.worker(1), the_pool().find_job("fib")->serial);
  ASSERT_NE(r.kind, detail::record_kind::idle);
  ASSERT_NE(r.at, 0u);
  EXPECT_EQ(part_at(r.at), 1u);
}

/// Keeps extents of a mebibyte until there are `n` of them.
step<std::uint64_t> hoard(context& cx, std::uint64_t n) {
  if (n == 0) return 0u;
  const auto a = cx.alloc<std::uint64_t>(mebi / sizeof(std::uint64_t));
  cx.write(a)[7] = n;
  return cx.call(task<hoard>(n - 1)).then([a, n](context& c, std::uint64_t sum) -> step<std::uint64_t> {
    const std::uint64_t mine = c.read(in<std::uint64_t>(a.address(), a.size()))[7];
    return sum + (mine == n ? mine : 1'000'000);
  });
}

TEST_F(PoolParts, AFullPartIsLeftForTheNextAndTheNextGrowth) {
  make_on({0u, 1u, 2u}, 16 * mebi);
  run_options o = on("node:3 core:1 pu:1", 1);
  EXPECT_EQ(run(the_pool(), "some", task<hoard>(std::uint64_t{25}), o), 25u * 26 / 2) << "more than a part has";
  EXPECT_THROW(run(the_pool(), "much", task<hoard>(std::uint64_t{60}), o), out_of_pool_memory);
  for (int i = 0; i < 2; ++i) {
    grow(3 * 8 * mebi);
    if (i == 0) {
      EXPECT_THROW(run(the_pool(), "much", task<hoard>(std::uint64_t{90}), o), job_mismatch);
    }
  }
  EXPECT_EQ(run(the_pool(), "much", task<hoard>(std::uint64_t{60}), o), 60u * 61 / 2);
}

step<std::uint64_t> fill_region(context& cx, out<std::uint64_t> to, std::uint64_t n) {
  if (n == 0) return 0u;
  cx.write(to.sub(n - 1, 1))[0] = n;
  return cx.call(task<fill_region>(to, n - 1)).then([to, n](context& c, std::uint64_t sum) -> step<std::uint64_t> {
    return sum + c.read(to.as_in())[n - 1];
  });
}

/// The region was in the third part, for the others had no room; growths add room in all of them.
TEST_F(PoolParts, ARegionStaysWhereItIsWhenThePoolGrows) {
  make_on({std::nullopt, std::nullopt, std::nullopt}, 16 * mebi);
  const std::uint64_t bytes = 10 * mebi;
  const auto* before = region_of(the_pool(), bytes).data();
  EXPECT_EQ(part_at(reinterpret_cast<std::uint64_t>(before)), 1u) << "the first part keeps room for stacks";
  run_options o = with(2);
  o.region = bytes;
  o.commit_every_task = true;
  std::stop_source stop;
  o.stop = stop.get_token();
  stop.request_stop();
  const out<std::uint64_t> all(reinterpret_cast<std::uint64_t*>(region_of(the_pool(), bytes).data()), 500);
  EXPECT_THROW(run(the_pool(), "fill", task<fill_region>(all, std::uint64_t{500}), o), job_interrupted);
  grow(3 * 14 * mebi);
  grow(3 * 14 * mebi);
  EXPECT_EQ(region_of(the_pool(), bytes).data(), before);
  o.stop = {};
  EXPECT_EQ(run(the_pool(), "fill", task<fill_region>(all, std::uint64_t{500}), o), 500u * 501 / 2);
  EXPECT_EQ(part_at(reinterpret_cast<std::uint64_t>(region_of(the_pool(), 13 * mebi).data())), 0u) << "of the oldest that have room, the first part's";
}

// ---- spread data

/// Each element gets its number, and the elements of each part are counted by the worker's part.
struct tally_of_parts {
  std::uint64_t near, far;
};
template <class How>
step<spread<std::uint32_t>> make_spread(context& cx, std::size_t n, How how) {
  const spread<std::uint32_t> s = cx.alloc<std::uint32_t>(n, how);
  return cx.call(for_each(s, [](context& c, std::size_t i, array<std::uint32_t> some) {
             for (std::uint32_t& x : c.write(some)) x = static_cast<std::uint32_t>(i++);
           })).then([s](context&) -> step<spread<std::uint32_t>> { return s; });
}

TEST_F(PoolParts, SpreadDataIsInAllPartsAndEachElementIsDoneOnce) {
  make_on({0u, 1u, 2u});
  const auto expect = [&](auto how, std::size_t n, std::size_t block) {
    the_pool().drop_job("spread");
    const auto s = run(the_pool(), "spread", task<make_spread<decltype(how)>>(n, how), on("node:3 core:1 pu:1", 3));
    ASSERT_EQ(s.size(), n);
    EXPECT_EQ(s.block_size(), block);
    EXPECT_EQ(s.pieces(), 3u);
    std::size_t in_pieces = 0, in_blocks = 0;
    for (unsigned p = 0; p < s.pieces(); ++p) {
      in_pieces += s.piece_size(p);
      if (s.piece_size(p) > 0) {
        EXPECT_EQ(part_at(reinterpret_cast<std::uint64_t>(s.piece(p).address())), p);
      }
    }
    EXPECT_EQ(in_pieces, n);
    for (std::size_t k = 0; k < s.blocks(); ++k) {
      const array<std::uint32_t> b = s.block(k);
      for (std::size_t i = 0; i < b.size(); ++i) ASSERT_EQ(b.address()[i], k * block + i) << n;
      in_blocks += b.size();
    }
    EXPECT_EQ(in_blocks, n);
    for (std::size_t i = 0; i < n; i += 1 + n / 97) EXPECT_EQ(*s[i].address(), i);
  };
  // What was freed at each job's end is not cleared; another number of elements stands elsewhere.
  for (const std::size_t n : {std::size_t{1}, std::size_t{3}, std::size_t{1000}, std::size_t{16384}, std::size_t{16385}, std::size_t{300'001}}) {
    expect(placement::interleaved{}, n, 16384);
    expect(placement::blocked{}, n, (n + 2) / 3);
  }
  expect(placement::interleaved{100}, 12'345, 25);
  expect(placement::interleaved{0}, 10, 1);
}

/// One worker does its own part's elements first.
step<std::uint64_t> order_of(context& cx, std::size_t n) {
  const auto s = cx.alloc<std::uint32_t>(n, placement::blocked{});
  const auto first = cx.alloc<std::uint64_t>(1);
  cx.write(first)[0] = ~std::uint64_t{0};
  return cx.call(for_each(s, [first](context& c, std::size_t i, array<std::uint32_t>) {
             const std::span<std::uint64_t> f = c.update(inout<std::uint64_t>(first.address(), 1));
             if (f[0] == ~std::uint64_t{0}) f[0] = i;
           })).then([first](context& c) -> step<std::uint64_t> { return c.read(in<std::uint64_t>(first.address(), 1))[0]; });
}
TEST_F(PoolParts, ALoopBeginsWhereItsWorkerIs) {
  make_on({2u, 1u, 0u});
  EXPECT_EQ(run(the_pool(), "order", task<order_of>(std::size_t{30'000}), on("node:3 core:1 pu:1", 1)), 20'000u);
}

TEST_F(PoolParts, SpreadDataIsFreed) {
  make_on({0u, 1u});
  const auto job = [](context& cx, std::size_t) -> step<int> {
    const auto s = cx.alloc<std::uint64_t>(std::size_t{50'000}, placement::interleaved{});
    const auto kept = cx.alloc<std::uint64_t>(1);
    cx.write(kept)[0] = 1;
    cx.set_root("kept", kept);
    return cx.call([](context&) -> step<int> { return 0; }).then([s](context& c, int) -> step<int> {
      c.free(s);
      return 1;
    });
  };
  EXPECT_EQ(run(the_pool(), "free", [job](context& cx) { return job(cx, 1); }, with(2)), 1);
  const detail::image img(the_pool());
  const detail::chunk_space chunks(img.heap(), the_pool().medium(), 0);
  EXPECT_EQ(detail::inspect_heap(chunks).blocks, 1u);
}

}  // namespace
}  // namespace ppmm::test
