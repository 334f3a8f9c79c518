/// What is mapped in this process besides the pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ppmm::detail {

/// Knows which words look like addresses of volatile memory. For one thread.
class volatile_memory {
 public:
  /// Everything but [base, base + size).
  volatile_memory(std::uintptr_t base, std::size_t size);

  /// The name of the mapping that has this address: a file, [heap], [stack], or that it has none; nullptr: it is none
  /// of volatile memory. Addresses below 4 GiB, where integers are, count as none.
  const char* find(std::uint64_t word) {
    if (word < lowest || word >= highest || word - base_ < size_) return nullptr;
    return look_up(word);
  }

 private:
  static constexpr std::uint64_t lowest = std::uint64_t{1} << 32, highest = std::uint64_t{1} << 47;
  struct mapped {
    std::uint64_t first, last;
    std::string name;
  };
  const char* look_up(std::uint64_t word);
  const char* in_last_read(std::uint64_t word) const;
  void read();

  std::uintptr_t base_;
  std::size_t size_;
  std::vector<mapped> all_;  // by address
  std::uint64_t read_ns_ = 0;
};

}  // namespace ppmm::detail
