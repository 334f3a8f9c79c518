/// ppmm profile run: a job, and where its durability goes. The same as the job with --profile.
#include "call.hpp"
#include "command.hpp"
#include "profile.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace ppmm::tools {
namespace {

struct profiled_run {
  std::vector<std::string> job;
  std::string json, html, trace, medium;
};

/// The job's own command line, parsed as if it stood alone.
void run_profiled(const profiled_run& options) {
  CLI::App app("A job of ppmm");
  app.name("ppmm");
  app.require_subcommand(1);
  add_job_commands(app);
  std::vector<std::string> line = options.job;
  line.emplace_back("--profile");
  const auto hand_on = [&](const char* option, const std::string& value) {
    if (!value.empty()) line.insert(line.end(), {option, value});
  };
  hand_on("--profile-json", options.json);
  hand_on("--profile-html", options.html);
  hand_on("--trace", options.trace);
  hand_on("--medium-costs", options.medium);
  set_this_call(line);  // that is how it is resumed
  std::ranges::reverse(line);  // as CLI11 wants it
  app.parse(line);
}

}  // namespace

void add_profile_run(CLI::App& profile) {
  auto options = std::make_shared<profiled_run>();
  CLI::App* command = profile.add_subcommand("run", "Run a job, and tell where its time and its flushes go");
  command->footer(
      "As the job with --profile, which every job has. Example: ppmm profile run --html report.html -- sort --output "
      "sorted.txt big.txt");
  command->add_option("JOB", options->job, "A command of ppmm that runs a job, after --, with its arguments")
      ->required()
      ->type_name("JOB...");
  command->add_option("--json", options->json, "Write the figures there, as JSON")->type_name("FILE");
  command->add_option("--html", options->html, "Write a page with charts there")->type_name("FILE");
  command->add_option("--trace", options->trace, "Write what each worker did when, for Perfetto (ui.perfetto.dev) and catapult's trace viewer")
      ->type_name("FILE");
  command->add_option("--medium", options->medium, "Figures that `ppmm profile medium --json` wrote, for the page")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  command->callback([options] { run_profiled(*options); });
}

}  // namespace ppmm::tools
