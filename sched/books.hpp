/// The books of a run: what its workers share of what is ephemeral. Zeros at first, in memory that processes share, so that
/// a worker may be a thread or a process, and may be killed at any instruction: each book is in order after every single
/// store, but that something may be taken which nobody has. Such losses end when the books are made anew, by recovery.
#pragma once

#include <ppmm/alloc/arena.hpp>
#include <ppmm/pmem/persist.hpp>
#include <ppmm/pmem/short_mutex.hpp>
#include <ppmm/sched/clock.hpp>
#include <ppmm/sched/deque.hpp>
#include <ppmm/sched/layout.hpp>
#include <ppmm/sched/stacklet.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <exception>
#include <optional>

namespace ppmm::detail {

/// Free exposure slots of one worker slot: a bit each.
class slot_shelf {
 public:
  std::optional<std::uint32_t> take(unsigned home) {
    for (unsigned w = 0; w < words; ++w)
      for (std::uint64_t free = free_[w].load(std::memory_order_relaxed); free != 0; free = free_[w].load(std::memory_order_relaxed)) {
        const std::uint64_t bit = free & -free;
        if ((free_[w].fetch_and(~bit, std::memory_order_acquire) & bit) != 0)
          return home * exposure_slots_per_worker + w * 64 + static_cast<std::uint32_t>(std::countr_zero(bit));
      }
    return std::nullopt;
  }
  /// Before the workers start.
  void fill() { for (auto& w : free_) w.store(~std::uint64_t{0}, std::memory_order_relaxed); }
  void remove(std::uint32_t slot) { free_[slot % exposure_slots_per_worker / 64].fetch_and(~(std::uint64_t{1} << slot % 64)); }
  void give_back(std::uint32_t slot) {
    const std::uint32_t i = slot % exposure_slots_per_worker;
    free_[i / 64].fetch_or(std::uint64_t{1} << i % 64, std::memory_order_release);
  }

 private:
  static constexpr unsigned words = exposure_slots_per_worker / 64;
  std::array<std::atomic<std::uint64_t>, words> free_;
};

/// A value that its worker writes and others read for the record.
class tally {
 public:
  void add(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void raise_to(std::uint64_t n) {
    if (n > get()) value_.store(n, std::memory_order_relaxed);
  }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct worker_counts {
  tally accesses, longest_capsule;
  tally commits, steals, lost_steals, joins_first, joins_second, taken_back, soft_faults, hard_faults, robberies, again, commit_ticks;
  tally flushes, lines, bytes, fences, flush_ns;
  std::atomic<double> heartbeat_ticks{0};
};

/// Why a worker has ended the run.
struct failure {
  enum class cause : std::uint32_t { none, task, medium, corrupt_pool, system, no_room };
  std::atomic<cause> what{cause::none};  // stored last
  int code = 0;                          // system: errno
  std::uint64_t asked = 0, used = 0, free = 0;  // no_room: bytes
  char text[2048] = {};

  void note(std::exception_ptr) noexcept;
  /// As the exception that it was: medium, corrupt_pool, system.
  [[noreturn]] void raise() const;
};

/// What of a worker others look at, by worker slot. Who lives in a slot after another goes on with its desk.
struct alignas(4096) desk {
  hint_deque hints;
  stacklet_books stack;
  worker_counts counts;
  std::atomic<bool> lived_in{false};
  std::atomic<std::uint64_t> sequence{0};  // of its newest record that is durable
  std::atomic<std::uint64_t> tenant{0};  // which worker process of the run lives here; 0: none, or it was buried
  failure why;
  char not_pinned[256] = {};
};

/// What a run was asked for, for those who join it.
struct run_terms {
  std::uint64_t serial, region, input, fault_seed;
  std::int64_t heartbeat_ns;
  double soft_fault_rate, hard_fault_rate;
  std::uint64_t root_type;
  std::uint32_t root_bytes, result_bytes, crash_repeats;
  durability level;
  bool commits, commit_every_task;
  std::uint8_t build_id[layout::build_id_bytes];
  char job[layout::max_job_name];
  alignas(16) std::byte root_arguments[max_argument_bytes];
};

/// One for all.
struct run_books {
  static constexpr unsigned nobody = ~0u, anyone = ~0u - 1;
  std::atomic<bool> finished{false}, failed{false}, stopping{false};
  std::atomic<unsigned> root_starter{nobody};  // no strand was found: who starts the job, by worker slot
  std::atomic<std::uint64_t> first_work{0};    // ticks
  /// Ticks: until then each task is a capsule, for a task has ended its worker or raised a signal, and its record is to
  /// tell which.
  std::atomic<std::uint64_t> careful_until{0};
  std::atomic<bool> renewing{false};           // it is stopped for its books to be made anew
  std::uint64_t number = 0;                    // worker processes: as worker_slot::live_number says while these books count
  short_mutex burials;
  std::atomic<unsigned> crowd{0};              // seats
  std::atomic<std::uint64_t> tenants{0};       // numbers given
  run_terms terms{};
  /// Worker slots whose strand waits for a robber, or did: a bit each.
  std::array<std::atomic<std::uint64_t>, layout::most_workers / 64> graves{};

  bool over() const {
    return finished.load(std::memory_order_acquire) || failed.load(std::memory_order_acquire) || stopping.load(std::memory_order_relaxed);
  }
  /// A second may be too short for a task far from its record on a slow machine; but each repetition commits on the way, so
  /// the record comes to stand at that task.
  void be_careful() {
    constexpr double ns = 1e9;
    careful_until.store(ticks() + static_cast<std::uint64_t>(ns * ticks_per_ns()), std::memory_order_relaxed);
  }
  void bury(unsigned slot) { graves[slot / 64].fetch_or(std::uint64_t{1} << slot % 64); }
  void empty_grave(unsigned slot) { graves[slot / 64].fetch_and(~(std::uint64_t{1} << slot % 64)); }
  bool is_grave(unsigned slot) const { return (graves[slot / 64].load() >> slot % 64 & 1) != 0; }
  bool any_grave(unsigned slots) const {
    for (unsigned w = 0; w <= (slots - 1) / 64; ++w)
      if (graves[w].load(std::memory_order_relaxed) != 0) return true;
    return false;
  }
};

}  // namespace ppmm::detail
