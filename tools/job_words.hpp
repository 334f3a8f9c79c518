/// Job catalog entries in words.
#pragma once

#include <ppmm/pmem/layout.hpp>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace ppmm::tools {

inline std::string_view state_name(layout::job_state s) {
  switch (s) {
    case layout::job_state::free:
      return "free";
    case layout::job_state::running:
      return "unfinished";
    case layout::job_state::finished:
      return "finished";
    case layout::job_state::failed:
      return "failed";
  }
  return "unknown";
}

/// Local time, to the second.
inline std::string readable_date(std::uint64_t ns) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(static_cast<std::time_t>(ns / 1'000'000'000)));
}

inline double seconds_taken(const layout::job_entry& job) {
  return job.ended_ns > job.started_ns ? static_cast<double>(job.ended_ns - job.started_ns) / 1e9 : 0;
}

inline std::string readable_result(const layout::job_entry& job) {
  const std::size_t bytes = std::min<std::size_t>(job.result_size, sizeof job.result);
  if (bytes <= 1) return "";  // no value
  std::string text;
  for (std::size_t i = bytes; i-- > 0;) text += fmt::format("{:02x}", job.result[i]);
  return "0x" + text;
}

}  // namespace ppmm::tools
