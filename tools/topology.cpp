/// ppmm topology: the machine, the parts of a pool, the workers, and whom each steals from.
#include "command.hpp"
#include "progress.hpp"

#include <ppmm/numa/topology.hpp>
#include <ppmm/pmem/inspect.hpp>

#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ppmm::tools {
namespace {

struct topology_options {
  std::filesystem::path pool, xml;
  std::string synthetic, drawing;
  std::uint32_t workers = 0;
  bool siblings = false;
};

numa::topology chosen(const topology_options& o) {
  if (!o.xml.empty()) return numa::topology::from_xml(o.xml);
  if (!o.synthetic.empty()) return numa::topology::from_synthetic(o.synthetic);
  return numa::topology::this_machine();
}

/// hwloc draws machines better than we could. In its process's place: what it says is what the user sees.
[[noreturn]] void draw(const topology_options& o) {
  std::vector<std::string> words{"lstopo", "--no-io", "--input"};
  if (!o.xml.empty())
    words.push_back(o.xml.string());
  else if (!o.synthetic.empty())
    words.push_back(o.synthetic);
  else
    words.pop_back();
  words.push_back(o.drawing);
  std::vector<char*> arguments;
  for (std::string& w : words) arguments.push_back(w.data());
  arguments.push_back(nullptr);
  ::execvp("lstopo", arguments.data());
  throw error("cannot run lstopo, hwloc's tool that draws; on Debian it is in the package hwloc (SVG: hwloc, text: hwloc-nox)");
}

/// Of numbers that follow each other the first and the last.
std::string ranges(std::vector<std::uint32_t> numbers) {
  std::ranges::sort(numbers);
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", numbers[i]);
    if (last > i) text += fmt::format("{}{}", last > i + 1 ? "-" : ",", numbers[last]);
    i = last + 1;
  }
  return text;
}

void print_workers(const numa::worker_plan& plan) {
  fmt::print("\n{} worker{}{}\n", plan.size(), plan.size() == 1 ? "" : "s", plan.note.empty() ? ", each pinned to its core" : "");
  if (!plan.note.empty()) fmt::print("  {}\n", plan.note);
  std::map<std::uint32_t, std::vector<std::uint32_t>> of_node, pus_of_node;
  for (const numa::placement& w : plan.workers) {
    of_node[w.node].push_back(w.worker);
    pus_of_node[w.node].push_back(w.pu);
  }
  for (const auto& [node, workers] : of_node)
    fmt::print("  node {}: worker{} {} on hardware thread{} {}\n", node, workers.size() == 1 ? "" : "s", ranges(workers), workers.size() == 1 ? "" : "s",
               ranges(pus_of_node[node]));
}

/// Workers that steal in the same way from places that look alike are told once.
void print_victims(const numa::topology& machine, const numa::worker_plan& plan) {
  if (plan.size() < 2) return;
  fmt::print("\nwhom a worker steals from, near first, within a distance at random\n");
  for (std::uint32_t w = 0; w < plan.size(); ++w) {
    const auto groups = machine.victims(plan, w);
    std::string line;
    for (const auto& g : groups)
      line += fmt::format("{}{} ({})", line.empty() ? "" : ", then ", ranges(g), numa::name_of(machine.between(plan, w, g.front())));
    fmt::print("  worker {}: {}\n", w, line);
    if (w == 15 && plan.size() > 24) {
      fmt::print("  … and so on for the other {}\n", plan.size() - 16);
      return;
    }
  }
}

void print_parts(const topology_options& o, const numa::topology& machine, const numa::worker_plan& plan) {
  const pool_report report = inspect(o.pool);
  for (const auto& f : report.failed) fmt::print(stderr, "ppmm: {}: {}\n", f.check, f.message);
  if (!report.facts) throw exit_status{1};
  fmt::print("\nparts of {}\n", o.pool.string());
  for (std::size_t i = 0; i < report.facts->parts.size(); ++i) {
    const part_facts& p = report.facts->parts[i];
    std::string near;
    if (p.node)
      for (const std::uint32_t n : machine.by_distance(*p.node))
        if (std::ranges::any_of(plan.workers, [&](const numa::placement& w) { return w.node == n; })) {
          near = n == *p.node ? ", with workers" : fmt::format(", without workers; the nearest are on node {}", n);
          break;
        }
    fmt::print("  part {}: {}, {} on {}{}\n", i, p.file.string(), readable_bytes(static_cast<double>(p.size)), p.node ? fmt::format("node {}", *p.node) : "no known node", near);
  }
}

void topology(const topology_options& o) {
  if (!o.drawing.empty()) draw(o);
  const numa::topology machine = chosen(o);
  const auto each = o.siblings ? numa::unit::smt_sibling : numa::unit::core;
  fmt::print("{}", machine.describe());
  const numa::worker_plan plan = machine.plan(o.workers != 0 ? o.workers : o.siblings ? machine.pus() : machine.cores(), each);
  if (!o.pool.empty()) print_parts(o, machine, plan);
  print_workers(plan);
  print_victims(machine, plan);
}

}  // namespace

void add_topology(CLI::App& app) {
  auto options = std::make_shared<topology_options>();
  CLI::App* command = app.add_subcommand("topology", "Show the machine, a pool's parts, the workers, and whom they steal from");
  command->add_option("FILE", options->pool, "A pool: where its parts are");
  command->add_option("--workers", options->workers, "So many workers (default: one a core)")->check(CLI::Range(1u, 65536u))->type_name("N");
  command->add_flag("--smt", options->siblings, "One worker for each hardware thread of a core");
  auto* synthetic = command->add_option("--synthetic", options->synthetic, "Of a machine that hwloc makes up, such as \"package:2 core:8 pu:2\"")->type_name("TEXT");
  command->add_option("--xml", options->xml, "Of the machine in a file of hwloc's (`lstopo FILE.xml`)")->check(CLI::ExistingFile)->excludes(synthetic)->type_name("FILE");
  command->add_option("--draw", options->drawing, "Have hwloc's lstopo draw it into this file (.svg, .pdf, .png, .txt), and nothing else")->type_name("FILE");
  command->callback([options] { topology(*options); });
}

}  // namespace ppmm::tools
