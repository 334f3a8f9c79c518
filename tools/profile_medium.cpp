/// ppmm profile medium: what it costs to make lines durable on a medium, and what follows from that.
#include "interrupt.hpp"
#include "medium_advice.hpp"
#include "medium_cost.hpp"
#include "medium_file.hpp"
#include "output_file.hpp"
#include "profile.hpp"
#include "progress.hpp"
#include "session.hpp"
#include "svg_chart.hpp"

#include <ppmm/numa/topology.hpp>

#include <fmt/format.h>
#include <sys/utsname.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

struct medium_options {
  std::vector<fs::path> paths;
  std::uint64_t size = std::uint64_t{64} << 20;
  double seconds = 10;
  bool quick = false;
  unsigned threads = 0;
  fs::path json, svg;
  progress_mode progress = progress_mode::automatic;
};

struct medium_profile {
  fs::path path;
  std::string file_system;
  medium_kind kind;
  std::optional<unsigned> node;
  medium_costs costs;
  std::vector<advice> advices;
};

const char* name_of(granularity grain) {
  return grain == granularity::page ? "page" : grain == granularity::cache_line ? "cache line" : "byte";
}

/// Where threads of each node go.
std::map<unsigned, numa::placement> homes() {
  const auto& machine = numa::topology::this_machine();
  const numa::worker_plan plan = machine.plan(machine.cores());
  std::map<unsigned, numa::placement> first;
  for (const numa::placement& p : plan.workers) first.try_emplace(p.node, p);
  return first;
}

medium_profile measure(const medium_options& options, const fs::path& path) {
  const auto& machine = numa::topology::this_machine();
  const auto threads_at = homes();
  medium_file file(path, options.size);
  medium_profile p{path, file.file_system(), {file.grain(), file.in_memory()}, file.node(), {}, {}};

  cost_plan plan;
  for (const store_way way : all_store_ways)
    if (processor_has(way)) plan.ways.push_back(way);
  plan.wide_ways = {commit_way(p.kind)};
  if (commit_way(p.kind) == store_way::library_flush) plan.wide_ways.push_back(store_way::movnti);
  plan.memory = file.target();
  plan.max_threads = options.threads == 0 ? machine.cores() : options.threads;
  plan.seconds = options.quick ? 1 : options.seconds;
  plan.place_thread = [&](unsigned thread, unsigned threads) {
    static_cast<void>(numa::pin_this_thread(machine.plan(threads)[thread]));
  };
  plan.place_on_node = [&](unsigned node) { static_cast<void>(numa::pin_this_thread(threads_at.at(node))); };
  for (const auto& [node, home] : threads_at) plan.thread_nodes.push_back(node);

  // Memory is measured on each of its nodes; another medium is where it is.
  std::vector<std::unique_ptr<medium_file>> on_nodes;
  if (file.in_memory() && threads_at.size() > 1)
    for (const auto& [node, home] : threads_at) {
      on_nodes.push_back(std::make_unique<medium_file>(path, options.size, node));
      plan.memories.push_back({on_nodes.back()->node().value_or(node), on_nodes.back()->target()});
    }
  else
    plan.memories.push_back({file.node().value_or(threads_at.begin()->first), file.target()});

  {
    progress_meter meter(options.progress, path.string(), 1000);
    plan.told = [&](double part) {
      meter.update(static_cast<std::uint64_t>(1000 * part));
      return signal_received() == 0;
    };
    p.costs = measure_costs(plan);
    if (signal_received() != 0) throw interrupted(signal_received(), "nothing was left behind. To measure again:");
    meter.finish();
  }
  p.advices = advise(p.kind, p.costs);
  return p;
}

// ---- the table -----------------------------------------------------------------------------------------------------

std::string cell(const spread* s) {
  if (s == nullptr) return "-";
  return fmt::format("{} ±{:.0f}%", readable_ns(s->median), s->median > 0 ? 50 * (s->high - s->low) / s->median : 0);
}

/// fmt counts bytes where it pads, and µ and ± have two.
std::string padded(const std::string& text, std::size_t width) {
  const auto shown = static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
  return std::string(width > shown ? width - shown : 0, ' ') + text;
}

void print_lines(const medium_profile& p, const std::vector<store_way>& ways) {
  for (const line_pattern pattern : all_line_patterns) {
    std::string head = padded(std::string(name_of(pattern)), 12);
    for (const store_way way : ways) head += padded(std::string(name_of(way)), 14);
    fmt::print("\n{}\n", head);
    for (const unsigned lines : measured_lines) {
      std::string row = padded(fmt::format("{} line{}", lines, lines == 1 ? "" : "s"), 12);
      for (const store_way way : ways) {
        const line_cost* c = p.costs.find(way, pattern, lines);
        row += padded(cell(c == nullptr ? nullptr : &c->ns), 14);
      }
      fmt::print("{}\n", row);
    }
  }
}

void print(const medium_profile& p) {
  fmt::print("{}: {}{}, granularity {}{}\n", p.path.string(), p.file_system, p.kind.in_memory ? " (memory)" : "",
             name_of(p.kind.grain), p.node ? fmt::format(", NUMA node {}", *p.node) : "");
  fmt::print(
      "Time of storing so many lines of 64 bytes and waiting for them; ± half of where the middle 80 % of the samples "
      "lie.\n");
  std::vector<store_way> ways;
  for (const store_way way : all_store_ways)
    if (std::ranges::any_of(p.costs.lines, [&](const line_cost& c) { return c.way == way; })) ways.push_back(way);
  print_lines(p, ways);
  fmt::print("\nBandwidth by threads, 64 lines at a time\n");
  for (const thread_cost& c : p.costs.threads)
    fmt::print("{:>12} {:>3} thread{} {:>10}/s ±{:.0f}%\n", name_of(c.way), c.threads, c.threads == 1 ? " " : "s",
               readable_bytes(c.bytes_per_second.median),
               50 * (c.bytes_per_second.high - c.bytes_per_second.low) / std::max(1.0, c.bytes_per_second.median));
  fmt::print("\nBy NUMA node{}\n", std::set<unsigned>([&] {
                                     std::set<unsigned> seen;
                                     for (const node_cost& c : p.costs.nodes)
                                       seen.insert({c.thread_node, c.medium_node});
                                     return seen;
                                   }())
                                               .size() < 2
                                       ? ": there is one"
                                       : "");
  for (const node_cost& c : p.costs.nodes)
    fmt::print("{:>12}  thread on node {}, medium on node {}: {:>2} line{} {}\n", name_of(c.way), c.thread_node,
               c.medium_node, c.lines, c.lines == 1 ? " " : "s", cell(&c.ns));
  fmt::print("\nAdvice\n");
  for (const advice& a : p.advices) fmt::print("  {:<10} {}\n{:13}because {}\n", a.topic + ":", a.what, "", a.why);
}

// ---- JSON and SVG --------------------------------------------------------------------------------------------------

using json = nlohmann::ordered_json;

json to_json(const spread& s) {
  return {{"median", s.median}, {"p10", s.low}, {"p90", s.high}, {"samples", s.samples}};
}

std::string processor_name() {
  std::ifstream cpu("/proc/cpuinfo");
  for (std::string line; std::getline(cpu, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown";
}

json to_json(const std::vector<medium_profile>& all) {
  const auto& machine = numa::topology::this_machine();
  utsname system{};
  uname(&system);
  json out = {{"version", 1},
              {"machine",
               {{"processor", processor_name()},
                {"system", std::string(system.sysname) + " " + system.release},
                {"cores", machine.cores()},
                {"nodes", machine.nodes()}}},
              {"media", json::array()}};
  for (const medium_profile& p : all) {
    json m = {{"path", p.path.string()},
              {"file_system", p.file_system},
              {"in_memory", p.kind.in_memory},
              {"granularity", name_of(p.kind.grain)}};
    m["node"] = p.node ? json(*p.node) : json();
    m["commit_ns"] = commit_ns(p.kind, p.costs);
    for (const char* part : {"lines", "threads", "nodes", "advice"}) m[part] = json::array();
    for (const line_cost& c : p.costs.lines)
      m["lines"].push_back(
          {{"way", name_of(c.way)}, {"pattern", name_of(c.pattern)}, {"lines", c.lines}, {"ns", to_json(c.ns)}});
    for (const thread_cost& c : p.costs.threads)
      m["threads"].push_back(
          {{"way", name_of(c.way)}, {"threads", c.threads}, {"bytes_per_second", to_json(c.bytes_per_second)}});
    for (const node_cost& c : p.costs.nodes)
      m["nodes"].push_back({{"way", name_of(c.way)},
                            {"lines", c.lines},
                            {"thread_node", c.thread_node},
                            {"medium_node", c.medium_node},
                            {"ns", to_json(c.ns)}});
    for (const advice& a : p.advices) m["advice"].push_back({{"topic", a.topic}, {"what", a.what}, {"why", a.why}});
    out["media"].push_back(m);
  }
  return out;
}

line_chart lines_chart(const medium_profile& p, line_pattern pattern) {
  line_chart chart{fmt::format("{} ({}): {}", p.path.string(), p.file_system, name_of(pattern)),
                   "lines of 64 bytes",
                   "ns until they are durable",
                   {}};
  for (const store_way way : all_store_ways) {
    chart_line line{std::string(name_of(way)), {}};
    for (const unsigned n : measured_lines)
      if (const line_cost* c = p.costs.find(way, pattern, n))
        line.points.push_back({static_cast<double>(n), c->ns.median, c->ns.low, c->ns.high});
    if (!line.points.empty()) chart.lines.push_back(line);
  }
  return chart;
}

line_chart threads_chart(const medium_profile& p) {
  line_chart chart{p.path.string() + ": bandwidth by threads", "threads", "bytes a second", {}, false};
  for (const thread_cost& c : p.costs.threads) {
    const std::string name(name_of(c.way));
    auto line = std::ranges::find(chart.lines, name, &chart_line::name);
    if (line == chart.lines.end()) line = chart.lines.insert(chart.lines.end(), {name, {}});
    line->points.push_back(
        {static_cast<double>(c.threads), c.bytes_per_second.median, c.bytes_per_second.low, c.bytes_per_second.high});
  }
  return chart;
}

std::string to_svg(const std::vector<medium_profile>& all) {
  std::vector<std::string> charts;
  for (const medium_profile& p : all) {
    for (const line_pattern pattern : all_line_patterns) charts.push_back(to_svg(lines_chart(p, pattern)));
    charts.push_back(to_svg(threads_chart(p)));
  }
  return svg_file(charts);
}

/// Opened before anything is measured, so that a wrong name is told at once.
std::unique_ptr<output_file> open_output(const fs::path& file) {
  return file.empty() ? nullptr : std::make_unique<output_file>(file == "-" ? fs::path() : file);
}

void write(output_file* out, const std::string& text) {
  if (out == nullptr) return;
  out->append(text);
  out->publish();
}

void profile_medium(const medium_options& options) {
  const auto json_file = open_output(options.json), svg_file = open_output(options.svg);
  std::vector<medium_profile> all;
  for (const fs::path& path : options.paths) {
    all.push_back(measure(options, path));
    if (options.json == "-") continue;
    if (all.size() > 1) fmt::print("\n");
    print(all.back());
    std::fflush(stdout);
  }
  write(json_file.get(), to_json(all).dump(2) + "\n");
  write(svg_file.get(), to_svg(all));
}

}  // namespace

void add_profile_medium(CLI::App& profile) {
  auto options = std::make_shared<medium_options>();
  CLI::App* command = profile.add_subcommand(
      "medium", "Measure what it costs to make stores durable on a medium, and what follows from it");
  command->footer(
      "Makes a file of its own without a name, which is gone at the end; nothing else is touched. Takes time on the "
      "processor: measure on a quiet machine.");
  command->add_option("PATH", options->paths, "Folder on the medium, or a pool there")->required()->type_name("PATH");
  command->add_option("--seconds", options->seconds, "How long to measure each medium, about (default: 10)")
      ->check(CLI::Range(0.1, 3600.0))
      ->type_name("S");
  command->add_flag("--quick", options->quick, "One second each: to see that it works");
  command
      ->add_option("--size", options->size,
                   "Bytes of the file that is measured with (K, M, G: powers of 1024; default: 64M)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{1} << 20, std::uint64_t{1} << 36))
      ->type_name("SIZE");
  command->add_option("--threads", options->threads, "Threads to try, at most (default: one a usable core)")
      ->check(CLI::Range(1u, 1024u))
      ->type_name("N");
  command
      ->add_option("--json", options->json,
                   "Write all figures there, as JSON; - for standard output, which then has nothing else")
      ->type_name("FILE");
  command->add_option("--svg", options->svg, "Draw them there")->type_name("FILE");
  add_progress_option(*command, [options](progress_mode mode) { options->progress = mode; });
  command->callback([options] { profile_medium(*options); });
}

}  // namespace ppmm::tools
