#include "medium_advice.hpp"

#include "progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

namespace ppmm::tools {
namespace {

constexpr double overhead = 0.02;  // that commits may take
constexpr double alike = 0.1;      // less than that is no difference

std::string rate(double bytes_per_second) { return readable_bytes(bytes_per_second) + "/s"; }

double ns(const medium_costs& c, store_way way, line_pattern pattern, unsigned lines) {
  const line_cost* found = c.find(way, pattern, lines);
  return found == nullptr ? 0 : found->ns.median;
}

/// The next of 1, 2, 5, 10, 20, …
double rounded_up(double x) {
  const double power = std::pow(10.0, std::floor(std::log10(x)));
  for (const double step : {1.0, 2.0, 5.0, 10.0})
    if (step * power >= x * 0.999) return step * power;
  return 10 * power;
}

void medium_itself(const medium_kind& kind, std::vector<advice>& all) {
  if (kind.in_memory)
    all.push_back(
        {"level", "use `process` here; `emulated` only to see what persistent memory would cost",
         "this file system is memory: what is in it is gone with the power, whatever is flushed. The times of flushes "
         "are those of this machine's DRAM"});
  else if (kind.grain == granularity::page)
    all.push_back({"level", "`power` is possible, by msync",
                   "this is an ordinary file: flushed cache lines get as far as the page cache, and only msync gets to "
                   "the medium"});
  else if (kind.grain == granularity::byte)
    all.push_back({"level", "`power` is possible, by fences alone",
                   "libpmem2 finds that the caches are protected against power failure (eADR)"});
  else
    all.push_back(
        {"level", "`power` is possible, by cache line", "libpmem2 finds a DAX mapping with write-back by cache line"});
}

void heartbeat(const medium_kind& kind, const medium_costs& costs, std::vector<advice>& all) {
  const double cost = commit_ns(kind, costs);
  if (cost <= 0) return;
  const double least = cost / overhead, beat = rounded_up(least);
  const std::string level = kind.in_memory ? " at `emulated`" : "";
  all.push_back({"heartbeat", fmt::format("--heartbeat {:g}{}, or longer", beat / 1000, level),
                 fmt::format("a commit of {} lines and a record of {} takes {} by {}; every {} that is {:.1f} % of a "
                             "worker's time (to be under 2 %). A crash "
                             "loses about a heartbeat of work a worker",
                             lines_of_a_commit, lines_of_a_record, readable_ns(cost), name_of(commit_way(kind)),
                             readable_ns(beat), 100 * cost / beat)});
}

/// The fastest of these for large outputs.
struct candidate {
  store_way way;
  double ns;
};
std::optional<candidate> fastest(const medium_costs& costs, std::initializer_list<store_way> ways, unsigned lines) {
  std::optional<candidate> best;
  for (const store_way way : ways)
    if (const double t = ns(costs, way, line_pattern::sequential, lines); t > 0 && (!best || t < best->ns))
      best = {way, t};
  return best;
}

void store_kind(const medium_kind& kind, const medium_costs& costs, std::vector<advice>& all) {
  if (!kind.in_memory && kind.grain == granularity::page) {
    const double one = ns(costs, store_way::msync, line_pattern::sequential, 1),
                 many = ns(costs, store_way::msync, line_pattern::sequential, 4096);
    if (one > 0 && many > 0)
      all.push_back(
          {"stores", "commit seldom, and as much as there is at a time",
           fmt::format(
               "an msync of one line takes {}, one of 4096 lines {}: {:.1f} times as long for 4096 times as much",
               readable_ns(one), readable_ns(many), many / one)});
    return;
  }
  if (!kind.in_memory && kind.grain == granularity::byte) {
    all.push_back({"stores", "ordinary stores", "no line needs a flush here"});
    return;
  }
  const auto flushed = fastest(costs, {store_way::clwb, store_way::clflushopt, store_way::clflush}, 64);
  const auto past = fastest(costs, {store_way::movnti, store_way::movdir64b}, 64);
  if (flushed && past) {
    const double ratio = flushed->ns / past->ns;
    const std::string why = fmt::format("64 new lines take {} by {}, {} by {}: {:.2f} times", readable_ns(flushed->ns),
                                        name_of(flushed->way), readable_ns(past->ns), name_of(past->way), ratio);
    if (ratio > 1 + alike)
      all.push_back(
          {"stores", fmt::format("large outputs past the caches, by {} (`cx.fill`)", name_of(past->way)), why});
    else if (ratio < 1 - alike)
      all.push_back(
          {"stores", fmt::format("large outputs by ordinary stores and {} (`cx.write`)", name_of(flushed->way)), why});
    else
      all.push_back({"stores", "either kind for large outputs", why + ", which is no difference"});
  }
  const double again = ns(costs, store_way::clwb, line_pattern::same, 1),
               evicted = ns(costs, store_way::clflushopt, line_pattern::same, 1);
  if (again > 0 && evicted > 0 && std::abs(evicted / again - 1) > alike)
    all.push_back({"flush",
                   again < evicted ? "clwb rather than clflushopt for lines that are used again"
                                   : "clflushopt rather than clwb, also for lines that are used again",
                   fmt::format("the same line again takes {} by clwb, {} by clflushopt", readable_ns(again),
                               readable_ns(evicted))});
}

void blocks(const medium_kind& kind, const medium_costs& costs, std::vector<advice>& all) {
  const store_way way = commit_way(kind);
  const double small = ns(costs, way, line_pattern::random_64, 64),
               large = ns(costs, way, line_pattern::random_256, 64);
  if (way == store_way::msync || small <= 0 || large <= 0 || small / large < 1 + alike) return;
  all.push_back({"blocks", "put what is written together into aligned blocks of 256 bytes",
                 fmt::format("64 lines anywhere take {}, 16 blocks of four lines {}: {:.2f} times", readable_ns(small),
                             readable_ns(large), small / large)});
}

void threads(const medium_costs& costs, std::vector<advice>& all) {
  std::vector<store_way> ways;
  for (const thread_cost& c : costs.threads)
    if (std::ranges::find(ways, c.way) == ways.end()) ways.push_back(c.way);
  for (const store_way way : ways) {
    std::vector<thread_cost> of_way;
    for (const thread_cost& c : costs.threads)
      if (c.way == way) of_way.push_back(c);
    std::ranges::sort(of_way, {}, &thread_cost::threads);
    if (of_way.empty()) continue;
    std::size_t enough = 0;
    for (std::size_t i = 1; i < of_way.size(); ++i)
      if (of_way[i].bytes_per_second.median > of_way[enough].bytes_per_second.median * (1 + alike)) enough = i;
    std::string why = "bandwidth by threads:";
    for (const thread_cost& c : of_way)
      why += fmt::format(" {} {}{}", c.threads, rate(c.bytes_per_second.median),
                         c.threads == of_way.back().threads ? "" : ",");
    const bool all_of_them = enough + 1 == of_way.size();
    const unsigned n = of_way[enough].threads;
    all.push_back({"threads",
                   fmt::format("{} thread{} for this medium{}, by {}", n, n == 1 ? "" : "s",
                               all_of_them ? ", all that were tried" : "", name_of(way)),
                   why + (of_way.size() == 1 ? ""
                          : all_of_them      ? "; it grows to the last"
                                             : fmt::format("; beyond {} it grows by less than 10 %", n))});
  }
}

void nodes(const medium_costs& costs, std::vector<advice>& all) {
  for (const node_cost& far : costs.nodes)
    for (const node_cost& near : costs.nodes)
      if (near.way == far.way && near.lines == far.lines && near.lines == 64 && near.medium_node == far.medium_node &&
          near.thread_node == near.medium_node && far.thread_node != far.medium_node &&
          far.ns.median > near.ns.median * (1 + alike))
        all.push_back({"node",
                       fmt::format("workers on node {} for what is on node {}, by {}", near.thread_node,
                                   near.medium_node, name_of(near.way)),
                       fmt::format("64 lines take {} from there, {} from node {}", readable_ns(near.ns.median),
                                   readable_ns(far.ns.median), far.thread_node)});
}

}  // namespace

store_way commit_way(const medium_kind& kind) {
  if (kind.in_memory || kind.grain == granularity::cache_line) return store_way::library_flush;
  return kind.grain == granularity::byte ? store_way::fence_only : store_way::msync;
}

double commit_ns(const medium_kind& kind, const medium_costs& costs) {
  const store_way way = commit_way(kind);
  static_assert(lines_of_a_commit == 16);  // between the numbers measured: a straight line from 8 to 64
  const double eight = ns(costs, way, line_pattern::sequential, 8),
               sixty_four = ns(costs, way, line_pattern::sequential, 64);
  const double record = ns(costs, way, line_pattern::same, lines_of_a_record);
  if (eight <= 0 || sixty_four <= 0 || record <= 0) return 0;
  return eight + (sixty_four - eight) * (16 - 8) / (64 - 8) + record;
}

std::vector<advice> advise(const medium_kind& kind, const medium_costs& costs) {
  std::vector<advice> all;
  medium_itself(kind, all);
  if (costs.msync_failed)
    all.push_back({"msync", "do not use this medium before it was looked at", "an msync failed while it was measured"});
  heartbeat(kind, costs, all);
  store_kind(kind, costs, all);
  blocks(kind, costs, all);
  threads(costs, all);
  nodes(costs, all);
  return all;
}

std::string readable_ns(double ns) {
  constexpr const char* units[] = {"ns", "µs", "ms", "s"};
  std::size_t unit = 0;
  for (; ns >= 999.5 && unit + 1 < std::size(units); ++unit) ns /= 1000;
  return ns >= 99.95 || (unit == 0 && ns >= 9.95) ? fmt::format("{:.0f} {}", ns, units[unit])
                                                  : fmt::format("{:.3g} {}", ns, units[unit]);
}

}  // namespace ppmm::tools
