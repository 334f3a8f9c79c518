/// The computations whose overhead is measured, with their data in a pool.
#pragma once

#include "workbench.hpp"

#include <ppmm/ppmm.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bench {

enum class computation : std::uint32_t { fib, queens, sum, scale, sort };
inline constexpr std::array all_computations{computation::fib, computation::queens, computation::sum,
                                             computation::scale, computation::sort};
const char* name_of(computation c);
/// How its serial counterpart is called.
const char* serial_name_of(computation c);

/// A workbench with two arrays of 32 MiB in its pool: more than the caches hold.
class data_bench : public workbench {
 public:
  explicit data_bench(ppmm::durability level);

  /// Nanoseconds of the computation as a job.
  double run(computation c, ppmm::run_options options);
  /// … as plain serial code on the same memory.
  double run_serial(computation c);

  std::span<std::uint64_t> numbers() const { return from_; }

 private:
  static constexpr std::size_t count = std::size_t{1} << 22;
  static constexpr std::uint64_t region_bytes = 2 * count * sizeof(std::uint64_t);
  std::span<std::uint64_t> from_, to_;
};

}  // namespace bench
