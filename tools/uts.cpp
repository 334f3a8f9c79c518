/// ppmm uts: unbalanced tree search (uts_tree.hpp).
#include "command.hpp"
#include "session.hpp"
#include "uts_tree.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace ppmm::tools {
namespace {

struct uts_options {
  job_options job;
  std::string tree;
};

void compute(const uts_options& options) {
  const auto which =
      std::ranges::find(uts::samples, options.tree, [](const uts::sample& s) { return std::string(s.name); });
  job_session session(options.job, {.name = fmt::format("uts {}", which->name),
                                    .own_pool = fmt::format("ppmm-uts-{}.ppmm", which->name)});
  const auto tree = static_cast<std::uint32_t>(which - uts::samples.begin());
  const uts::found all = session.run(task<uts::search>(tree, uts::root_of(*which)), which->size);
  fmt::print("{} nodes, {} leaves, depth {}\n", all.nodes, all.leaves, all.depth);
  std::fflush(stdout);
  if (session.own_pool()) session.delivered();
}

}  // namespace

void add_uts(CLI::App& app) {
  auto options = std::make_shared<uts_options>();
  CLI::App* command =
      app.add_subcommand("uts", "Search an unbalanced tree of the UTS benchmark by forking at every node");
  command->footer(
      "T1 and T1L are geometric trees of a fixed branching factor, T2 and T2L of a cyclic one, T5 of one that "
      "decreases,\n"
      "T3 and T3L are binomial trees. Those with L have some 100 million nodes, the others some 4 million,\n"
      "and small is what the benchmark searches without parameters.\n"
      "Without --pool the job lives in ppmm-uts-TREE.ppmm in the current directory, which is removed after success.");
  std::vector<std::string> names;
  for (const uts::sample& s : uts::samples) names.emplace_back(s.name);
  command->add_option("TREE", options->tree, "Which one")->required()->check(CLI::IsMember(names));
  options->job.add_to(*command);
  command->callback([options] { compute(*options); });
}

}  // namespace ppmm::tools
