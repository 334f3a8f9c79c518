#include "medium_cost.hpp"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <numeric>
#include <random>
#include <span>
#include <thread>
#include <utility>

namespace ppmm::tools {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t line = 64;
constexpr std::size_t lines_in_a_batch = 512;  // some ten µs, so that the clock (25 ns) is not what is measured
constexpr std::size_t enough_samples = 101;

double seconds_since(clock::time_point t) { return std::chrono::duration<double>(clock::now() - t).count(); }

/// Lines for one batch of operations, made before the clock is looked at.
class line_source {
 public:
  explicit line_source(std::size_t bytes) : all_(static_cast<std::uint32_t>(bytes / line)) {}

  std::span<const std::uint32_t> make(line_pattern pattern, std::size_t lines, std::size_t operations) {
    list_.clear();
    for (std::size_t o = 0; o < operations; ++o)
      for (std::size_t i = 0; i < lines; ++i) list_.push_back(next(pattern, i));
    return list_;
  }

 private:
  std::uint32_t next(line_pattern pattern, std::size_t i) {
    switch (pattern) {
      case line_pattern::same:
        return static_cast<std::uint32_t>(i);
      case line_pattern::sequential:
        return cursor_ = (cursor_ + 1) % all_;
      case line_pattern::random_64:
        return static_cast<std::uint32_t>(dice_() % all_);
      case line_pattern::random_256:
        if (i % 4 == 0) block_ = static_cast<std::uint32_t>(dice_() % (all_ / 4));
        return block_ * 4 + static_cast<std::uint32_t>(i % 4);
    }
    return 0;
  }

  std::uint32_t all_, cursor_ = 0, block_ = 0;
  std::mt19937 dice_{1};
  std::vector<std::uint32_t> list_;
};

/// Cells measured in turns until the time is over.
class turns {
 public:
  /// `once` gives a sample, or none if it could not be taken.
  std::size_t add(std::function<std::optional<double>()> once) {
    cells_.push_back({std::move(once), {}});
    return cells_.size() - 1;
  }
  void take(double seconds, const std::function<bool(double)>& told) {
    const auto began = clock::now();
    for (std::size_t round = 0; round < enough_samples; ++round) {
      for (std::size_t i = 0; i < cells_.size(); ++i) {
        cell& c = cells_[(round + i) % cells_.size()];
        if (const auto sample = c.once()) c.samples.push_back(*sample);
        const double passed = seconds_since(began) / seconds;
        const double of_first_round = static_cast<double>(i + 1) / static_cast<double>(cells_.size());
        const double of_all = static_cast<double>(round) / static_cast<double>(enough_samples);
        if (told && !told(std::min(1.0, round == 0 ? std::min(of_first_round, passed) : std::max(passed, of_all))))
          return;
        if (round > 0 && passed >= 1) return;
      }
      if (round ==
          0)  // the first touches what the others find in the caches: it counts only if there is no time for more
        for (cell& c : cells_) c.first = std::exchange(c.samples, {});
    }
  }
  spread of(std::size_t i) const { return spread_of(cells_[i].samples.empty() ? cells_[i].first : cells_[i].samples); }

 private:
  struct cell {
    std::function<std::optional<double>()> once;
    std::vector<double> samples, first = {};
  };
  std::vector<cell> cells_;
};

struct measurement {
  const cost_plan& plan;
  medium_costs found{};
  std::uint64_t value = 1;

  std::optional<double> once(const store_target& to, line_source& source, store_way way, line_pattern pattern,
                             unsigned lines) {
    const std::size_t operations = way == store_way::msync ? 1 : std::max<std::size_t>(1, lines_in_a_batch / lines);
    const auto list = source.make(pattern, lines, operations);
    bool good = true;
    const auto began = clock::now();
    for (std::size_t o = 0; o < operations; ++o)
      good = write_lines(way, to, list.subspan(o * lines, lines), value++) && good;
    const double ns = 1e9 * seconds_since(began) / static_cast<double>(operations);
    if (!good) found.msync_failed = true;
    return good ? std::optional(ns) : std::nullopt;
  }

  template <class Cost>
  void collect(const turns& t, std::vector<Cost>& to, spread Cost::*figure) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i].*figure = t.of(i);
    std::erase_if(to, [&](const Cost& c) { return (c.*figure).samples == 0; });
  }

  /// `is_msync`: those that wait for a disk have a time of their own, else nothing else would get any.
  void by_lines(bool is_msync, double seconds, const std::function<bool(double)>& told) {
    line_source source(plan.memory.size);
    turns all;
    std::vector<line_cost> costs;
    for (const store_way way : plan.ways)
      for (const line_pattern pattern : all_line_patterns)
        for (const unsigned lines : measured_lines) {
          if ((way == store_way::msync) != is_msync) continue;
          all.add([&, way, pattern, lines] { return once(plan.memory, source, way, pattern, lines); });
          costs.push_back({way, pattern, lines, {}});
        }
    if (costs.empty()) return;
    all.take(seconds, told);
    collect(all, costs, &line_cost::ns);
    found.lines.insert(found.lines.end(), costs.begin(), costs.end());
  }

  std::optional<double> bandwidth(store_way way, unsigned threads, double seconds) {
    std::vector<std::uint64_t> lines(threads);
    std::atomic<bool> over{false}, good{true};
    std::barrier together(threads + 1);
    const std::size_t part = plan.memory.size / threads / 4096 * 4096;
    std::vector<std::thread> all;
    for (unsigned t = 0; t < threads; ++t)
      all.emplace_back([&, t] {
        if (plan.place_thread) plan.place_thread(t, threads);
        store_target mine = plan.memory;
        mine.base += t * part;
        mine.size = part;
        std::vector<std::uint32_t> list(lines_a_thread_writes);
        std::iota(list.begin(), list.end(), 0u);
        together.arrive_and_wait();
        std::uint64_t done = 0;
        constexpr std::size_t bytes = lines_a_thread_writes * line;
        for (store_target at = mine; !over.load(std::memory_order_relaxed); done += lines_a_thread_writes) {
          if (!write_lines(way, at, list, done)) {
            good = false;
            break;
          }
          at.base += bytes;
          if (at.base + bytes > mine.base + mine.size) at.base = mine.base;
          at.size = static_cast<std::size_t>(mine.base + mine.size - at.base);
        }
        lines[t] = done;
      });
    together.arrive_and_wait();
    const auto began = clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    over = true;
    for (auto& t : all) t.join();
    const double passed = seconds_since(began);
    if (!good) {
      found.msync_failed = true;
      return std::nullopt;
    }
    std::uint64_t sum = 0;
    for (const std::uint64_t n : lines) sum += n;
    return static_cast<double>(sum * line) / passed;
  }

  void by_threads(double seconds, const std::function<bool(double)>& told) {
    std::vector<unsigned> numbers;
    for (unsigned n = 1; n < plan.max_threads; n *= 2) numbers.push_back(n);
    numbers.push_back(std::max(1u, plan.max_threads));
    const double slice =
        std::clamp(seconds / static_cast<double>(numbers.size() * plan.wide_ways.size() + 1) / 8, 0.002, 0.05);
    turns all;
    for (const store_way way : plan.wide_ways)
      for (const unsigned n : numbers) {
        all.add([this, way, n, slice] { return bandwidth(way, n, slice); });
        found.threads.push_back({way, n, {}});
      }
    if (found.threads.empty()) return;
    all.take(seconds, told);
    collect(all, found.threads, &thread_cost::bytes_per_second);
  }

  /// One thread for each node of threads, and on it all memories.
  void by_nodes(double seconds, const std::function<bool(double)>& told) {
    const auto nodes = static_cast<double>(plan.thread_nodes.size());
    double before = 0;
    bool stopped = false;
    for (const unsigned node : plan.thread_nodes) {
      if (stopped) break;
      std::vector<node_cost> costs;
      std::thread([&] {
        if (plan.place_on_node) plan.place_on_node(node);
        turns all;
        std::vector<line_source> sources;
        for (const node_target& m : plan.memories) sources.emplace_back(m.memory.size);
        for (std::size_t m = 0; m < plan.memories.size(); ++m)
          for (const store_way way : plan.wide_ways)
            for (const unsigned lines : {1u, 64u}) {
              all.add([&, m, way, lines] {
                return once(plan.memories[m].memory, sources[m], way, line_pattern::sequential, lines);
              });
              costs.push_back({way, lines, node, plan.memories[m].node, {}});
            }
        if (costs.empty()) return;
        all.take(seconds / nodes, [&](double part) { return !(stopped = !told((before + part) / nodes)); });
        collect(all, costs, &node_cost::ns);
      }).join();
      ++before;
      found.nodes.insert(found.nodes.end(), costs.begin(), costs.end());
    }
  }
};

}  // namespace

std::string_view name_of(line_pattern pattern) {
  switch (pattern) {
    case line_pattern::same:
      return "same lines";
    case line_pattern::sequential:
      return "sequential";
    case line_pattern::random_64:
      return "random 64 B";
    case line_pattern::random_256:
      return "random 256 B";
  }
  return "unknown";
}

spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const auto at = [&](double q) {
    return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
  };
  return {at(0.5), at(0.1), at(0.9), values.size()};
}

const line_cost* medium_costs::find(store_way way, line_pattern pattern, unsigned n) const {
  const auto it = std::ranges::find_if(
      lines, [&](const line_cost& c) { return c.way == way && c.pattern == pattern && c.lines == n; });
  return it == lines.end() ? nullptr : &*it;
}

medium_costs measure_costs(const cost_plan& plan) {
  measurement m{plan};
  bool stopped = false;
  const bool syncs = std::ranges::find(plan.ways, store_way::msync) != plan.ways.end();
  struct part {
    double share;
    std::function<void(double, const std::function<bool(double)>&)> run;
  };
  std::vector<part> parts;
  parts.push_back({syncs ? 0.4 : 0.6, [&](double s, auto& told) { m.by_lines(false, s, told); }});
  if (syncs) parts.push_back({0.3, [&](double s, auto& told) { m.by_lines(true, s, told); }});
  parts.push_back({syncs ? 0.2 : 0.3, [&](double s, auto& told) { m.by_threads(s, told); }});
  parts.push_back({0.1, [&](double s, auto& told) { m.by_nodes(s, told); }});
  double before = 0;
  for (const part& p : parts) {
    if (stopped) break;
    p.run(plan.seconds * p.share, [&](double done) {
      if (plan.told && !plan.told(before + p.share * done)) stopped = true;
      return !stopped;
    });
    before += p.share;
  }
  return std::move(m.found);
}

}  // namespace ppmm::tools
