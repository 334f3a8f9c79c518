/// One worker's capsule under the check: what it loaded and stored in the job's memory since its last record.
#pragma once

#include <ppmm/check/addresses.hpp>
#include <ppmm/check/places.hpp>
#include <ppmm/check/watch.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ppmm::detail {

/// Something found, before its places are looked up and equal ones are put together.
struct raw_finding {
  mistake what;
  std::uint32_t at = 0, read_at = 0;     // sites
  const void* target = nullptr;          // address stored to
  const std::type_info* type = nullptr;  // of the value that holds an address
  std::size_t offset = 0;                // in it
  source_place made_at{};                // if `at` is 0
  std::string points_to{};
};

class finding_sink {
 public:
  virtual void add(const raw_finding& f) = 0;

 protected:
  ~finding_sink() = default;
};

/// Bytes that were loaded before they were stored, and bytes that were stored; by words of 8 bytes, with the sites.
/// Emptied at each record, so its memory goes with the largest capsule.
class access_table {
 public:
  struct word {
    std::uintptr_t number = 0;            // address / 8
    std::uint8_t loaded = 0, stored = 0;  // a bit a byte
    std::uint32_t load_at[8] = {};
    std::uint32_t store_at = 0;  // the last
  };
  /// Also makes it.
  word& operator[](std::uintptr_t number);
  const std::vector<word>& all() const { return words_; }
  void clear();

 private:
  struct place {
    std::uint32_t epoch = 0, index = 0;
  };
  void grow();

  std::vector<word> words_;
  std::vector<place> places_ = std::vector<place>(1024);  // open addressing; a power of two
  std::uint32_t epoch_ = 1;
};

class capsule {
 public:
  struct memory {
    std::uintptr_t first, last;
    bool has(std::uintptr_t a) const { return a >= first && a < last; }
  };
  capsule(memory pool, memory job, finding_sink& to)
      : job_(job), to_(to), volatile_(pool.first, pool.last - pool.first) {}

  void load(std::uintptr_t at, std::size_t n, const void* pc);
  void store(std::uintptr_t at, std::size_t n, const void* pc);
  void opened_to_write(std::uintptr_t at, std::size_t n, const watch::value_type* type);
  void look_for_addresses(const void* value, const watch::value_type& type);
  void over();
  void lost();

 private:
  struct view {
    std::uintptr_t first, last;
    const watch::value_type* type;  // nullptr: its elements cannot hold addresses
  };
  void store_to_runtime(std::uintptr_t at, const void* pc);
  const view* view_of(std::uintptr_t at) const;

  memory job_;
  finding_sink& to_;
  volatile_memory volatile_;
  stack_walker stack_;
  access_table accesses_;
  std::vector<view> views_;  // open for writing, in the order of opening
};

}  // namespace ppmm::detail
