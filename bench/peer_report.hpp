/// What `peers` has measured, as Markdown, JSON and SVG; and what is to hold of it.
#pragma once

#include "peer_compare.hpp"

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// Peak resident memory, by who computes.
struct memory_row {
  std::string workload;
  std::array<std::optional<double>, all_peers.size()> peers;
  double ppmm = 0;
};

struct peers_report {
  unsigned most_workers = 1;
  std::vector<comparison> comparisons;
  std::vector<memory_row> memory;
  std::vector<variation> levels, heartbeats, faults;
  std::vector<power_result> power;  ///< beside the levels; empty where no disk was given
  std::optional<reload_figures> reload;
};

struct claim {
  std::string what, measured, to_hold;
  bool held;
};
std::vector<claim> claims(const peers_report& r);

void print_comparison(const std::vector<comparison>& of_one_worker_count);
void print_memory(const peers_report& r);
void print_settings(const peers_report& r);
void print_reload(const reload_figures& r);
void print_claims(const std::vector<claim>& all);

std::string as_json(const peers_report& r);
/// Bars of times, a chart a workload and number of workers.
std::string as_svg(const peers_report& r);

}  // namespace bench
