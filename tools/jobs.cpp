/// ppmm jobs: the job catalog of a pool.
#include "command.hpp"
#include "job_words.hpp"

#include <ppmm/pmem/inspect.hpp>
#include <ppmm/pmem/pool.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

namespace ppmm::tools {
namespace {

struct jobs_options {
  std::string file;
  std::string drop;
  bool json = false;
};

void print_json(const std::vector<layout::job_entry>& jobs) {
  auto list = nlohmann::json::array();
  for (const auto& j : jobs) {
    nlohmann::json entry{
        {"name", j.name},       {"state", state_name(j.state)}, {"task", j.task},     {"workers", j.workers},
        {"resumed", j.resumed}, {"started_ns", j.started_ns},   {"region", j.region}, {"input", j.input}};
    if (j.ended_ns != 0) entry["ended_ns"] = j.ended_ns;
    if (j.text[0] != '\0') entry["text"] = j.text;
    if (j.state == layout::job_state::finished) entry["result"] = readable_result(j);
    list.push_back(std::move(entry));
  }
  fmt::print("{}\n", list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_table(const std::vector<layout::job_entry>& jobs) {
  for (const auto& j : jobs) {
    fmt::print("{:<20} {:<10} begun {}, resumed {} time{}", j.name, state_name(j.state), readable_date(j.started_ns),
               j.resumed, j.resumed == 1 ? "" : "s");
    if (j.state == layout::job_state::finished) fmt::print(", took {:.3f} s", seconds_taken(j));
    if (j.text[0] != '\0') fmt::print(": {}", j.text);
    fmt::print("\n");
  }
}

void jobs(const jobs_options& options) {
  if (!options.drop.empty()) {
    pool p = pool::open(options.file);
    if (!p.drop_job(options.drop))
      throw error(
          fmt::format("{} holds no job \"{}\"; `ppmm jobs {}` lists them", options.file, options.drop, options.file));
    return;
  }
  const pool_report report = inspect(options.file);
  options.json ? print_json(report.jobs) : print_table(report.jobs);
  for (const auto& f : report.failed) fmt::print(stderr, "ppmm: {}: {}\n", f.check, f.message);
  if (!report.ok()) throw exit_status{1};
}

}  // namespace

void add_jobs(CLI::App& app) {
  auto options = std::make_shared<jobs_options>();
  CLI::App* command = app.add_subcommand("jobs", "List the jobs in a pool, or drop one");
  command->add_option("FILE", options->file, "Pool file")->required();
  command->add_option("--drop", options->drop, "Forget this job, finished or not: its name can be used anew")
      ->type_name("NAME");
  command->add_flag("--json", options->json, "List as JSON");
  command->callback([options] { jobs(*options); });
}

}  // namespace ppmm::tools
