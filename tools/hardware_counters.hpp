/// The processor's and the memory controllers' own counters, by perf_event_open(2), where the machine gives them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ppmm::tools {

class hardware_counters {
 public:
  struct reading {
    std::string name;  // "cycles", "uncore_imc_0/cas_count_write"
    double value = 0;  // what the kernel could not count all the time is extrapolated, as perf(1) does
  };

  /// Begins to count: in this process and the threads that it starts from now on; the memory controllers for the whole
  /// machine. Never throws for what the machine does not give.
  hardware_counters();
  ~hardware_counters();
  hardware_counters(const hardware_counters&) = delete;
  hardware_counters& operator=(const hardware_counters&) = delete;

  std::vector<reading> read() const;
  /// Why something is missing, in words; empty if nothing is.
  const std::string& missing() const { return missing_; }

 private:
  struct counter {
    std::string name;
    int fd;
    double scale;
  };
  std::vector<counter> open_;
  std::string missing_;
};

}  // namespace ppmm::tools
