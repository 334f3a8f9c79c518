/// What numa promises, on machines of hwloc's making: none of this depends on the machine it runs on.
#include <ppmm/numa/topology.hpp>

#include <gtest/gtest.h>
#include <hwloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using ppmm::numa::placement;
using ppmm::numa::topology;
using ppmm::numa::topology_error;
using ppmm::numa::unit;
using ppmm::numa::worker_plan;

using index_groups = std::vector<std::vector<std::uint32_t>>;

struct machine {
  const char* description;
  std::uint32_t nodes, cores, pus;
};

std::ostream& operator<<(std::ostream& to, const machine& m) { return to << m.description; }

/// A file in the test's own folder, gone at the end.
class scratch_file {
 public:
  explicit scratch_file(const std::string& name)
      : path_(std::filesystem::path(testing::TempDir()) / (name + std::to_string(::getpid()))) {}
  ~scratch_file() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Cores by index, as the operating system numbers them in a synthetic topology: `pus` hardware threads each.
std::uint32_t core_of(const placement& p, const machine& m) { return p.pu / (m.pus / m.cores); }

class Machine : public testing::TestWithParam<machine> {
 protected:
  const machine m = GetParam();
  const topology t = topology::from_synthetic(m.description);

  /// One worker, a few, one a core, more than cores, more than hardware threads.
  std::vector<std::uint32_t> worker_counts() const {
    std::set<std::uint32_t> counts{1, 2, m.cores / 2 + 1, m.cores, m.cores + 1, m.pus, 2 * m.pus + 1};
    return {counts.begin(), counts.end()};
  }
};

TEST_P(Machine, IsCounted) {
  EXPECT_EQ(t.cores(), m.cores);
  EXPECT_EQ(t.pus(), m.pus);
  EXPECT_EQ(t.nodes(), m.nodes);
}

TEST_P(Machine, PlanGivesEachWorkerItsOwnCoreAsLongAsThereAreCores) {
  for (const std::uint32_t n : worker_counts()) {
    const worker_plan plan = t.plan(n);
    ASSERT_EQ(plan.size(), n);
    std::set<std::uint32_t> cores;
    for (std::uint32_t w = 0; w < n; w++) {
      EXPECT_EQ(plan[w].worker, w);
      EXPECT_EQ(plan[w].pinned, n <= m.cores);
      cores.insert(core_of(plan[w], m));
    }
    EXPECT_EQ(cores.size(), std::min(n, m.cores)) << n << " workers";
  }
}

TEST_P(Machine, PlanGivesEachWorkerItsOwnHardwareThreadOnRequest) {
  for (const std::uint32_t n : worker_counts()) {
    const worker_plan plan = t.plan(n, unit::smt_sibling);
    std::set<std::uint32_t> pus;
    for (const placement& p : plan.workers) {
      EXPECT_EQ(p.pinned, n <= m.pus);
      pus.insert(p.pu);
    }
    EXPECT_EQ(pus.size(), std::min(n, m.pus)) << n << " workers";
  }
}

TEST_P(Machine, PlanFillsANodeBeforeTheNext) {
  const worker_plan plan = t.plan(m.cores);
  std::set<std::uint32_t> nodes_left;
  for (std::size_t w = 1; w < plan.size(); w++) {
    if (plan[w].node == plan[w - 1].node) continue;
    nodes_left.insert(plan[w - 1].node);
    EXPECT_FALSE(nodes_left.contains(plan[w].node)) << "worker " << w << " goes back to node " << plan[w].node;
  }
  EXPECT_EQ(nodes_left.size() + 1, m.nodes);
}

TEST_P(Machine, PlanSpreadsTooManyWorkersEvenlyAndSaysSo) {
  for (const std::uint32_t n : worker_counts()) {
    const worker_plan plan = t.plan(n);
    EXPECT_EQ(plan.note.empty(), n <= m.cores) << n << " workers: " << plan.note;
    std::vector<std::uint32_t> load(m.cores);
    for (const placement& p : plan.workers) load[core_of(p, m)]++;
    EXPECT_LE(*std::ranges::max_element(load), (n + m.cores - 1) / m.cores);
  }
}

TEST_P(Machine, VictimsAreAllOtherWorkersOnce) {
  for (const std::uint32_t n : worker_counts()) {
    for (const unit each : {unit::core, unit::smt_sibling}) {
      const worker_plan plan = t.plan(n, each);
      for (const std::uint32_t thief : {0U, n / 2, n - 1}) {
        std::vector<std::uint32_t> seen;
        for (const auto& group : t.victims(plan, thief)) {
          EXPECT_FALSE(group.empty());
          seen.insert(seen.end(), group.begin(), group.end());
        }
        std::ranges::sort(seen);
        std::vector<std::uint32_t> expected(n);
        std::iota(expected.begin(), expected.end(), 0U);
        expected.erase(expected.begin() + thief);
        EXPECT_EQ(seen, expected) << "thief " << thief << " of " << n;
      }
    }
  }
}

TEST_P(Machine, VictimsAreNearFirst) {
  const worker_plan plan = t.plan(m.pus, unit::smt_sibling);
  const auto distance = [&](std::uint32_t a, std::uint32_t b) {
    return core_of(plan[a], m) == core_of(plan[b], m) ? 0 : plan[a].node == plan[b].node ? 1 : 2;
  };
  for (const std::uint32_t thief : {0U, m.pus / 2, m.pus - 1}) {
    int last = 0;
    for (const auto& group : t.victims(plan, thief)) {
      const int here = distance(thief, group.front());
      EXPECT_GE(here, last);
      for (const std::uint32_t victim : group) EXPECT_EQ(distance(thief, victim), here) << "one group, one distance";
      last = here;
    }
  }
}

TEST_P(Machine, VictimsOfAGroupBeginWithTheNextWorker) {
  const worker_plan plan = t.plan(m.cores);
  for (std::uint32_t thief = 0; thief < std::min(m.cores, 8U); thief++) {
    for (const auto& group : t.victims(plan, thief)) {
      const auto ahead = [&](std::uint32_t victim) { return (victim + m.cores - thief) % m.cores; };
      EXPECT_TRUE(std::ranges::is_sorted(group, {}, ahead));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Synthetic, Machine,
                         testing::Values(machine{"pu:1", 1, 1, 1},                               //
                                         machine{"core:1 pu:2", 1, 1, 2},                        //
                                         machine{"core:2 pu:1", 1, 2, 2},                        //
                                         machine{"node:1 core:6 pu:2", 1, 6, 12},                //
                                         machine{"package:1 l3:4 l2:4 core:1 pu:2", 1, 16, 32},  //
                                         machine{"node:2 l3:1 core:4 pu:2", 2, 8, 16},           //
                                         machine{"package:2 node:2 l3:1 core:8 pu:1", 4, 32, 32},
                                         machine{"package:4 die:2 node:2 l2:3 core:2 pu:4", 16, 96, 384},
                                         machine{"node:8 l3:1 core:64 pu:2", 8, 512, 1024}),
                         [](const auto& of) { return "M" + std::to_string(of.index); });

TEST(Caches, TheLargestIsFound) {
  const auto largest = [](const char* what) { return topology::from_synthetic(what).largest_cache(); };
  EXPECT_EQ(largest("l3:2(size=8388608) l2:1(size=1048576) core:2 pu:1"), 8u << 20);
  EXPECT_EQ(largest("l2:2(size=4194304) core:2 pu:1"), 4u << 20);
  EXPECT_EQ(largest("core:2 pu:1"), 32u << 20) << "nothing tells";
}

TEST(Plan, TakesNearNodesFirst) {
  const topology t = topology::from_synthetic("package:2 node:2 core:2 pu:1");
  const worker_plan plan = t.plan(8);
  std::vector<std::uint32_t> nodes;
  for (const placement& p : plan.workers) nodes.push_back(p.node);
  EXPECT_EQ(nodes, (std::vector<std::uint32_t>{0, 0, 1, 1, 2, 2, 3, 3}));
}

TEST(Plan, OfNoWorkersIsEmpty) { EXPECT_EQ(topology::from_synthetic("core:4 pu:1").plan(0).size(), 0U); }

TEST(Victims, GoFromTheCoreOverCachesAndNodeToTheOtherPackage) {
  const topology t = topology::from_synthetic("package:2 node:1 l3:2 l2:2 core:1 pu:2");
  const worker_plan plan = t.plan(16, unit::smt_sibling);
  EXPECT_EQ(t.victims(plan, 0), (index_groups{{1}, {2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14, 15}}));
}

TEST(Victims, AreOfThePlansTopologyOnly) {
  const worker_plan plan = topology::from_synthetic("core:8 pu:1").plan(8);
  EXPECT_THROW(topology::from_synthetic("core:2 pu:1").victims(plan, 7), topology_error);
}

using ppmm::numa::nearness;

/// The order of victims is that of what is shared; the two are told by different ways through the tree.
TEST_P(Machine, VictimsGoByWhatIsShared) {
  const worker_plan plan = t.plan(m.pus, unit::smt_sibling);
  for (const std::uint32_t thief : {0U, m.pus / 3, m.pus - 1}) {
    nearness last = nearness::core;
    for (const auto& group : t.victims(plan, thief))
      for (const std::uint32_t victim : group) {
        const nearness here = t.between(plan, thief, victim);
        EXPECT_GE(here, last);
        EXPECT_EQ(here, t.between(plan, victim, thief));
        EXPECT_EQ(here == nearness::core, core_of(plan[thief], m) == core_of(plan[victim], m));
        EXPECT_EQ(here <= nearness::node, plan[thief].node == plan[victim].node);
        last = here;
      }
  }
}

TEST_P(Machine, NodesByDistanceAreAllOnceAndThisOneFirst) {
  for (std::uint32_t node = 0; node < m.nodes; ++node) {
    std::vector<std::uint32_t> nodes = t.by_distance(node);
    EXPECT_EQ(nodes.front(), node);
    std::ranges::sort(nodes);
    std::vector<std::uint32_t> all(m.nodes);
    std::iota(all.begin(), all.end(), 0U);
    EXPECT_EQ(nodes, all);
  }
}

TEST(Nearness, IsWhatTwoWorkersShare) {
  const topology t = topology::from_synthetic("package:2 node:2 l3:2 core:2 pu:2");
  const worker_plan plan = t.plan(32, unit::smt_sibling);
  const std::vector<std::pair<std::uint32_t, nearness>> expected{{0, nearness::core},   {1, nearness::core},    {2, nearness::cache},   {3, nearness::cache},
                                                                 {4, nearness::node},   {7, nearness::node},    {8, nearness::package}, {15, nearness::package},
                                                                 {16, nearness::machine}, {31, nearness::machine}};
  for (const auto& [other, shared] : expected) EXPECT_EQ(t.between(plan, 0, other), shared) << other;
}

/// A package of four cores and one of two, each with its node, and beside the second a node that is memory only (CXL).
TEST(Asymmetric, MemoryOnlyNodesAreNearTheirPackage) {
  const topology t = topology::from_synthetic("package:2 [numa] [numa] core:2 pu:1");  // nodes 0 and 1 at the first package, 2 and 3 at the other
  EXPECT_EQ(t.cores(), 4U);
  EXPECT_EQ(t.nodes(), 2U) << "near to cores";
  EXPECT_EQ(t.by_distance(1)[1], 0U);
  EXPECT_EQ(t.by_distance(3)[1], 2U);
  EXPECT_EQ(t.by_distance(2)[1], 3U);
  EXPECT_EQ(t.by_distance(17), (std::vector<std::uint32_t>{17, 0, 1, 2, 3})) << "a node that is not there";
  EXPECT_NE(t.describe().find("memory only"), std::string::npos);
}

/// Cores that a cgroup has taken away are in nobody's plan, and the rest is uneven.
TEST(Asymmetric, PlansGoByWhatIsLeft) {
  const scratch_file file("ppmm-uneven.xml");
  hwloc_topology_t uneven = nullptr;
  hwloc_topology_init(&uneven);
  hwloc_topology_set_synthetic(uneven, "package:2 node:1 l3:2 core:4 pu:2");
  hwloc_topology_load(uneven);
  hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
  hwloc_bitmap_set_range(allowed, 0, 31);
  for (const unsigned gone : {1u, 6u, 7u, 16u, 17u, 18u, 19u, 20u, 21u, 22u, 23u, 30u}) hwloc_bitmap_clr(allowed, gone);
  hwloc_topology_restrict(uneven, allowed, 0);
  hwloc_topology_export_xml(uneven, file.path().c_str(), 0);
  hwloc_bitmap_free(allowed);
  hwloc_topology_destroy(uneven);
  const topology t = topology::from_xml(file.path());
  EXPECT_EQ(t.cores(), 7U + 4U);
  EXPECT_EQ(t.pus(), 20U);
  for (const std::uint32_t n : {1U, 5U, 11U, 12U, 40U}) {
    const worker_plan plan = t.plan(n);
    std::set<std::uint32_t> pus;
    for (const placement& p : plan.workers) {
      EXPECT_EQ(p.pinned, n <= 11);
      EXPECT_EQ(p.node, p.pu < 16 ? 0U : 1U);
      pus.insert(p.pu);
    }
    EXPECT_EQ(pus.size(), std::min(n, 11U));
    for (const unsigned gone : {1u, 6u, 7u, 16u, 23u, 30u}) EXPECT_FALSE(pus.contains(gone));
    for (std::uint32_t thief = 0; thief < n; ++thief) {
      std::size_t others = 0;
      for (const auto& group : t.victims(plan, thief)) others += group.size();
      EXPECT_EQ(others, n - 1);
    }
  }
}

/// Four nodes in a ring with latencies as firmware reports them, the last core of node 1 not allowed to this process.
/// Node 2 is the farthest from node 0, which the tree alone does not show.
class Ring : public testing::Test {
 protected:
  Ring() {
    hwloc_topology_t ring = nullptr;
    hwloc_topology_init(&ring);
    hwloc_topology_set_synthetic(ring, "node:4 core:2 pu:1");
    hwloc_topology_load(ring);
    std::array<hwloc_obj_t, 4> nodes{};
    for (unsigned i = 0; i < 4; i++) nodes[i] = hwloc_get_obj_by_type(ring, HWLOC_OBJ_NUMANODE, i);
    std::array<hwloc_uint64_t, 16> latency{10, 21, 31, 20,  //
                                           21, 10, 20, 31,  //
                                           31, 20, 10, 20,  //
                                           20, 31, 20, 10};
    hwloc_distances_add_handle_t handle = hwloc_distances_add_create(
        ring, "Latency", HWLOC_DISTANCES_KIND_MEANS_LATENCY | HWLOC_DISTANCES_KIND_FROM_OS, 0);
    hwloc_distances_add_values(ring, handle, 4, nodes.data(), latency.data(), 0);
    hwloc_distances_add_commit(ring, handle, 0);
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    hwloc_bitmap_set_range(allowed, 0, 7);
    hwloc_bitmap_clr(allowed, 3);
    hwloc_topology_restrict(ring, allowed, 0);
    hwloc_bitmap_free(allowed);
    hwloc_topology_export_xml(ring, file.path().c_str(), 0);
    hwloc_topology_destroy(ring);
  }

  scratch_file file{"ppmm-ring.xml"};
};

TEST_F(Ring, IsReadFromXml) {
  const topology t = topology::from_xml(file.path());
  EXPECT_EQ(t.nodes(), 4U);
  EXPECT_EQ(t.cores(), 7U);
}

TEST_F(Ring, PlanFollowsTheLatencies) {
  std::vector<std::uint32_t> pus;
  for (const placement& p : topology::from_xml(file.path()).plan(7).workers) pus.push_back(p.pu);
  EXPECT_EQ(pus, (std::vector<std::uint32_t>{0, 1, 6, 7, 2, 4, 5}));
}

TEST_F(Ring, NodesByDistanceFollowTheLatencies) {
  const topology t = topology::from_xml(file.path());
  EXPECT_EQ(t.by_distance(0), (std::vector<std::uint32_t>{0, 3, 1, 2}));
  EXPECT_EQ(t.by_distance(1), (std::vector<std::uint32_t>{1, 2, 0, 3}));
}

TEST_F(Ring, VictimsFollowTheLatencies) {
  const topology t = topology::from_xml(file.path());
  const worker_plan plan = t.plan(7);  // nodes 0 0 3 3 1 2 2
  EXPECT_EQ(t.victims(plan, 0), (index_groups{{1}, {2, 3}, {4}, {5, 6}}));
  EXPECT_EQ(t.victims(plan, 5), (index_groups{{6}, {2, 3, 4}, {0, 1}}));
}

TEST(Topology, RefusesADescriptionThatIsNone) {
  EXPECT_THROW(topology::from_synthetic("eight big nodes"), topology_error);
  EXPECT_THROW(topology::from_xml("/nonexistent/topology.xml"), topology_error);
  const scratch_file file("ppmm-nonsense.xml");
  std::ofstream(file.path()) << "no topology\n";
  EXPECT_THROW(topology::from_xml(file.path()), topology_error);
}

TEST(ThisMachine, HasACoreAndANode) {
  const topology t = topology::this_machine();
  EXPECT_GE(t.cores(), 1U);
  EXPECT_GE(t.pus(), t.cores());
  EXPECT_GE(t.nodes(), 1U);
}

TEST(ThisMachine, LooksTheSameFromAPinnedThread) {
  const std::uint32_t cores = topology::this_machine().cores();
  std::thread([&] {
    ppmm::numa::pin_this_thread(topology::this_machine().plan(1)[0]);
    EXPECT_EQ(topology::this_machine().cores(), cores);
  }).join();
}

TEST(Pin, SucceedsOrGivesTheReason) {
  const worker_plan plan = topology::this_machine().plan(1);
  std::thread([&] {
    const ppmm::numa::outcome pinned = ppmm::numa::pin_this_thread(plan[0]);
    EXPECT_NE(pinned.done, !pinned.reason.empty());
  }).join();
}

TEST(Pin, OfAWorkerWithoutACoreOfItsOwnGivesTheReason) {
  const topology t = topology::this_machine();
  const ppmm::numa::outcome pinned = ppmm::numa::pin_this_thread(t.plan(t.cores() + 1)[0]);
  EXPECT_FALSE(pinned);
  EXPECT_NE(pinned.reason, "");
}

TEST(Pin, ToAPuThatIsNotThereGivesTheReason) {
  const ppmm::numa::outcome pinned =
      ppmm::numa::pin_this_thread({.worker = 0, .pu = 1'000'000, .node = 0, .pinned = true});
  EXPECT_FALSE(pinned);
  EXPECT_NE(pinned.reason, "");
}

TEST(Place, SucceedsOrGivesTheReason) {
  const topology t = topology::this_machine();
  std::vector<std::byte> memory(1 << 20);
  const ppmm::numa::outcome placed = t.place(memory.data(), memory.size(), t.plan(1)[0].node);
  EXPECT_NE(placed.done, !placed.reason.empty());
}

TEST(Place, OnANodeThatIsNotThereOrOfAnotherMachineGivesTheReason) {
  std::vector<std::byte> memory(1 << 20);
  EXPECT_NE(topology::this_machine().place(memory.data(), memory.size(), 1'000'000).reason, "");
  EXPECT_NE(topology::from_synthetic("node:2 core:1 pu:1").place(memory.data(), memory.size(), 1).reason, "");
}

}  // namespace
