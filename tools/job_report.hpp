/// Where a job's durability went, for people: a table, JSON, an HTML page, and what follows from it.
#pragma once

#include "hardware_counters.hpp"
#include "medium_advice.hpp"  // advice
#include "source_lines.hpp"

#include <ppmm/sched/profile.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace ppmm::tools {

/// What a function, or a line of it, costs.
struct cost_row {
  std::string function;
  std::string line;  // where it commits or writes most, or that line; may be empty
  durability_cost cost;
  std::array<std::uint64_t, commit_causes> causes{};
};

struct job_report {
  std::string job;
  run_profile profile;
  run_trace trace;                         // may be empty
  std::vector<cost_row> functions, lines;  // the most expensive first
  std::vector<hardware_counters::reading> counters;
  std::string counters_missing;
  std::string medium_html;  // of its medium (medium_to_html); may be empty
};

/// Brings the sites of a profile together, by function and by source line. `places`: of their code.
void add_rows(job_report& report, const std::map<std::uintptr_t, source_place>& places);

/// Of all workers' time, from 0 to 1.
double share(const job_report& report, std::uint64_t ns);

/// Bytes that were written back for each byte that the program wrote through views: by lines, and by blocks of 256
/// bytes. 0: it wrote none.
double amplification_64(const durability_cost& cost);
double amplification_256(const durability_cost& cost);
/// Of all that has a place in the program: frames and views.
durability_cost sum_of(const job_report& report);

std::vector<advice> advise(const job_report& report);

std::string to_text(const job_report& report);
std::string to_json(const job_report& report);
/// One file: no network, no scripts.
std::string to_html(const job_report& report);
/// The charts and the advice that `profile medium --json` wrote. Throws error if it is something else.
std::string medium_to_html(const std::string& json);

}  // namespace ppmm::tools
