/// One worker's capsule under the check: what it loaded and stored in the user's memory since its last record.
#pragma once

#include <ppmm/check/addresses.hpp>
#include <ppmm/check/memory.hpp>
#include <ppmm/check/places.hpp>
#include <ppmm/check/watch.hpp>

#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <utility>
#include <vector>

namespace ppmm::detail {

/// Something found, before its places are looked up and equal ones are put together.
struct raw_finding {
  mistake what;
  place_number at = 0, read_at = 0;
  std::uintptr_t target = 0;             // address that was accessed
  const std::type_info* type = nullptr;  // of the value that holds an address
  std::size_t offset = 0;                // in it
  std::string points_to{};
};

class finding_sink {
 public:
  virtual void add(const raw_finding& f) = 0;

 protected:
  ~finding_sink() = default;
};

/// Bytes that were loaded before they were stored, and bytes that were stored; by words of 8 bytes, with their places.
/// Emptied at each record, so its memory goes with the largest capsule.
class access_table {
 public:
  struct word {
    std::uintptr_t number = 0;            // address / 8
    std::uint8_t loaded = 0, stored = 0;  // a bit a byte
    place_number load_at[8] = {};
    place_number store_at = 0;  // the last
  };
  /// Also makes it.
  word& operator[](std::uintptr_t number);
  const std::vector<word>& all() const { return words_; }
  /// As if the words [first, last) had not been accessed.
  void forget(std::uintptr_t first, std::uintptr_t last);
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
  capsule(const memory_map& where, finding_sink& to) : where_(where), to_(to), volatile_(where.base(), where.size()) {}

  void load(std::uintptr_t at, std::size_t n, const void* pc);
  void store(std::uintptr_t at, std::size_t n, const void* pc);

  void opened(watch::view_kind how, std::uintptr_t at, std::size_t n, const watch::value_type* type);
  void uses_cell(std::uintptr_t at, std::size_t n);
  void allocated(std::uintptr_t at);
  void freed(std::uintptr_t at);
  void look_for_addresses(const void* value, const watch::value_type& type);

  /// A task, continuation or turn begins; ends. What was running is given, and given back.
  watch::running_body begin(const std::type_info* task);
  void end(const watch::running_body& before) { running_ = before; }
  void turn(const std::type_info& here);

  /// The runtime does something of its own with the user's memory.
  bool pause(bool paused) { return std::exchange(paused_, paused); }

  void task_undone();
  void over();
  void lost();

 private:
  struct view {
    std::uintptr_t first, last;
    const watch::value_type* type;
    bool in_place;
  };
  struct owned {
    memory_piece piece{};
    bool fresh = false;  // a block that this capsule has allocated
  };
  const owned& at(std::uintptr_t a);
  template <class Site>
  void load_in(const owned& o, std::uintptr_t at, std::size_t n, Site site);
  void store_in(const owned& o, std::uintptr_t at, std::size_t n, place_number site);
  void store_to_runtime(std::uintptr_t at, const void* pc);
  const view* view_of(std::uintptr_t at) const;
  bool is_saved(std::uintptr_t at) const;
  void look_at_stored();

  const memory_map& where_;
  finding_sink& to_;
  volatile_memory volatile_;
  stack_walker stack_;
  access_table accesses_;
  std::vector<view> views_;                   // open for writing or updating, in the order of opening
  std::unordered_set<std::uintptr_t> fresh_;  // first bytes
  owned last_{};                              // the user's memory that was accessed last
  watch::running_body running_{};
  bool paused_ = false;
  bool looked_at_stored_ = false;
};

}  // namespace ppmm::detail
