/// `ppmm profile medium`: the ways of writing lines, what is measured, and the advice that follows from it.
#include "medium_advice.hpp"
#include "medium_cost.hpp"
#include "medium_file.hpp"
#include "store_ways.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t bytes = std::size_t{1} << 20;

const fs::path folder = fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();

TEST(StoreWays, EachWritesTheLinesItIsGivenAndNoOthers) {
  const medium_file file(folder, bytes);
  const store_target to = file.target();
  std::uint64_t value = 0x1111;
  for (const store_way way : all_store_ways) {
    if (!processor_has(way)) continue;
    std::memset(to.base, 0, to.size);
    const std::vector<std::uint32_t> lines{3, 700, 5, 0};
    ASSERT_TRUE(write_lines(way, to, lines, ++value)) << name_of(way);
    for (std::size_t i = 0; i < to.size / 8; ++i) {
      std::uint64_t there = 0;
      std::memcpy(&there, to.base + 8 * i, 8);
      const bool written = std::ranges::find(lines, i / 8) != lines.end();
      ASSERT_EQ(there, written ? value : 0) << name_of(way) << ", line " << i / 8;
    }
  }
}

TEST(StoreWays, LeavesNoFileBehind) {
  const auto names = [] {
    std::set<std::string> all;
    for (const auto& e : fs::directory_iterator(folder))
      if (e.path().filename().string().starts_with(".ppmm-profile")) all.insert(e.path());
    return all;
  };
  const auto before = names();
  const medium_file file(folder, bytes);
  EXPECT_EQ(names(), before);
}

TEST(MediumCost, MeasuresEveryCell) {
  const medium_file file(folder, bytes);
  cost_plan plan;
  plan.memory = file.target();
  plan.ways = {store_way::clflush, store_way::msync};
  plan.wide_ways = {store_way::clflush};
  plan.max_threads = 3;
  plan.memories = {{7, file.target()}};
  plan.thread_nodes = {4, 5};
  plan.seconds = 0.01;
  double told = -1;
  plan.told = [&](double part) {
    EXPECT_GE(part, told) << "progress goes back";
    EXPECT_LE(part, 1.0 + 1e-9);
    told = part;
    return true;
  };
  const medium_costs costs = measure_costs(plan);
  for (const store_way way : plan.ways)
    for (const line_pattern pattern : all_line_patterns)
      for (const unsigned lines : measured_lines) {
        const line_cost* c = costs.find(way, pattern, lines);
        ASSERT_NE(c, nullptr) << name_of(way) << ", " << name_of(pattern) << ", " << lines;
        EXPECT_GT(c->ns.median, 0);
        EXPECT_LE(c->ns.low, c->ns.median);
        EXPECT_GE(c->ns.high, c->ns.median);
      }
  std::set<unsigned> threads;
  for (const thread_cost& c : costs.threads) threads.insert(c.threads);
  EXPECT_EQ(threads, (std::set<unsigned>{1, 2, 3}));
  EXPECT_EQ(costs.nodes.size(), 2u * 2u) << "two nodes of threads, one of memory, 1 and 64 lines";
  EXPECT_TRUE(std::ranges::all_of(costs.nodes, [](const node_cost& c) { return c.medium_node == 7; }));
  EXPECT_FALSE(costs.msync_failed);
}

TEST(MediumCost, StopsWhenAsked) {
  const medium_file file(folder, bytes);
  cost_plan plan;
  plan.memory = file.target();
  plan.ways = {store_way::clflush};
  plan.seconds = 3600;
  int calls = 0;
  plan.told = [&](double) { return ++calls < 5; };
  EXPECT_LE(measure_costs(plan).lines.size(), 5u);
}

TEST(MediumCost, SpreadIsThatOfTheMiddle) {
  std::vector<double> values;
  for (int i = 100; i >= 0; --i) values.push_back(i);
  const spread s = spread_of(values);
  EXPECT_EQ(s.median, 50);
  EXPECT_EQ(s.low, 10);
  EXPECT_EQ(s.high, 90);
  EXPECT_EQ(s.samples, 101u);
  EXPECT_EQ(spread_of({}).samples, 0u);
}

// ---- advice: from made-up costs ------------------------------------------------------------------------------------

void set(medium_costs& c, store_way way, line_pattern pattern, unsigned lines, double ns) {
  c.lines.push_back({way, pattern, lines, {ns, ns, ns, 5}});
}

std::string advice_on(const std::string& topic, const medium_kind& kind, const medium_costs& costs) {
  std::string all;
  for (const advice& a : advise(kind, costs)) {
    EXPECT_FALSE(a.why.empty());
    if (a.topic == topic) all += a.what + " because " + a.why + "\n";
  }
  return all;
}

constexpr medium_kind dax{granularity::cache_line, false}, disk{granularity::page, false},
    memory{granularity::page, true}, eadr{granularity::byte, false};

TEST(MediumAdvice, HeartbeatKeepsCommitsUnderTwoPercent) {
  using enum line_pattern;
  medium_costs c;
  set(c, store_way::library_flush, sequential, 8, 800);
  set(c, store_way::library_flush, sequential, 64, 1500);
  set(c, store_way::library_flush, same, 2, 100);
  EXPECT_DOUBLE_EQ(commit_ns(dax, c), 1000);
  EXPECT_NE(advice_on("heartbeat", dax, c).find("--heartbeat 50,"), std::string::npos)
      << advice_on("heartbeat", dax, c);
  EXPECT_NE(advice_on("heartbeat", memory, c).find("`emulated`"), std::string::npos);
  EXPECT_EQ(advice_on("heartbeat", disk, c), "") << "nothing was measured of msync: nothing is said";
  set(c, store_way::msync, sequential, 8, 1e6);
  set(c, store_way::msync, sequential, 64, 1e6);
  set(c, store_way::msync, same, 2, 1e6);
  EXPECT_NE(advice_on("heartbeat", disk, c).find("--heartbeat 100000,"), std::string::npos)
      << advice_on("heartbeat", disk, c);
  for (const double cost : {3.0, 47.0, 333.0, 4999.0, 123456.0}) {
    medium_costs x;
    set(x, store_way::fence_only, sequential, 8, cost);
    set(x, store_way::fence_only, sequential, 64, cost);
    set(x, store_way::fence_only, same, 2, cost);
    const std::string text = advice_on("heartbeat", eadr, x);
    const double beat_us = std::stod(text.substr(std::string("--heartbeat ").size()));
    EXPECT_LE(2 * cost, 0.02 * 1000 * beat_us * 1.001) << text;
  }
}

TEST(MediumAdvice, StoreKindIsTheFasterOne) {
  using enum line_pattern;
  medium_costs c;
  set(c, store_way::clwb, sequential, 64, 1000);
  set(c, store_way::movnti, sequential, 64, 500);
  EXPECT_NE(advice_on("stores", dax, c).find("past the caches, by movnti"), std::string::npos);
  c.lines[1].ns.median = 2000;
  EXPECT_NE(advice_on("stores", dax, c).find("ordinary stores and clwb"), std::string::npos);
  c.lines[1].ns.median = 1050;
  EXPECT_NE(advice_on("stores", dax, c).find("either kind"), std::string::npos);
  EXPECT_NE(advice_on("stores", eadr, c).find("no line needs a flush"), std::string::npos);
}

TEST(MediumAdvice, ThreadsUpToWhereBandwidthStopsGrowing) {
  medium_costs c;
  for (const auto& [threads, rate] :
       std::map<unsigned, double>{{1, 1e9}, {2, 1.9e9}, {4, 2.6e9}, {8, 2.7e9}, {16, 2.0e9}})
    c.threads.push_back({store_way::movnti, threads, {rate, rate, rate, 5}});
  EXPECT_TRUE(advice_on("threads", dax, c).starts_with("4 threads for this medium, by movnti"))
      << advice_on("threads", dax, c);
  c.threads.resize(2);
  EXPECT_TRUE(advice_on("threads", dax, c).starts_with("2 threads for this medium, all that were tried"))
      << advice_on("threads", dax, c);
}

TEST(MediumAdvice, NearNodesAndLargeBlocksWhereTheyAreFaster) {
  using enum line_pattern;
  medium_costs c;
  for (const unsigned thread : {0u, 1u})
    for (const unsigned medium : {0u, 1u})
      c.nodes.push_back({store_way::clwb, 64, thread, medium, {thread == medium ? 100.0 : 200.0, 0, 0, 5}});
  const std::string text = advice_on("node", dax, c);
  EXPECT_NE(text.find("workers on node 0 for what is on node 0"), std::string::npos) << text;
  EXPECT_NE(text.find("workers on node 1 for what is on node 1"), std::string::npos) << text;
  set(c, store_way::library_flush, random_64, 64, 4000);
  set(c, store_way::library_flush, random_256, 64, 4000);
  EXPECT_EQ(advice_on("blocks", dax, c), "");
  c.lines[1].ns.median = 1000;
  EXPECT_NE(advice_on("blocks", dax, c).find("256 bytes"), std::string::npos);
}

TEST(MediumAdvice, SaysWhatALevelMeansHere) {
  const medium_costs none;
  EXPECT_NE(advice_on("level", memory, none).find("is memory"), std::string::npos);
  EXPECT_NE(advice_on("level", disk, none).find("msync"), std::string::npos);
  EXPECT_NE(advice_on("level", eadr, none).find("eADR"), std::string::npos);
}

}  // namespace
}  // namespace ppmm::tools
