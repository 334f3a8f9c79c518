/// How far a job is, told on stderr: a bar on a terminal, a line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace ppmm::tools {

enum class progress_mode { automatic, bar, plain, none };

class progress_meter {
 public:
  /// `total` units in all. The rate is told as so many of `amount` a second, if there is one: the bytes of the input.
  progress_meter(progress_mode mode, std::string label, std::uint64_t total, std::uint64_t amount_bytes = 0);
  progress_meter(const progress_meter&) = delete;
  progress_meter& operator=(const progress_meter&) = delete;
  ~progress_meter();  // leaves the cursor on a line of its own

  /// What an earlier run had done; told with the progress from now on.
  void resumed_at(std::uint64_t units);
  /// Call as often as convenient.
  void update(std::uint64_t units);
  /// Everything is done.
  void finish();

  double percent() const;
  static double percent(std::uint64_t units, std::uint64_t total);

 private:
  using clock = std::chrono::steady_clock;
  void draw_bar();
  void print_line();
  std::string rate_and_time_left() const;

  progress_mode mode_;  // bar, plain or none
  std::string label_;
  std::uint64_t total_, amount_;
  std::uint64_t done_ = 0, done_before_ = 0;
  std::optional<double> resumed_percent_;
  clock::time_point started_ = clock::now(), told_ = started_;
  double told_percent_ = 0;
  bool drawn_ = false;
};

/// "1.2 GB", "57 MB".
std::string readable_bytes(double bytes);
/// "1:02:03", "0:07".
std::string readable_time(double seconds);

}  // namespace ppmm::tools
