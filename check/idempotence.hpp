/// check: finds what must not be done in a capsule, while a job runs.
///
/// A capsule is repeated after a fault, from its record. Then it must do the same again. In an instrumented build
/// (PPMM_INSTRUMENT) and with PPMM_CHECK_IDEMPOTENCE in the environment, `run` watches every load and store that its
/// workers make in the pool, and reports
///
///  1. a capsule that overwrites what it has read (Blelloch et al. 2018, section 3: a write-after-read conflict);
///  2. a store that bypasses the views: into the job's region or a block of the heap where this capsule opened no view
///     for writing or updating, or, by code that is not the runtime's, into the runtime's own memory;
///  3. the address of volatile memory in a value that becomes durable, where it means nothing after a restart;
///  4. a load from a block that the capsule has allocated, where it has not stored;
///  5. a view that a task which makes turns opens outside them.
///
/// with the places in the source. docs/checker.md says how to use it, and what it does not see. It stands on pmem
/// (instrument.hpp) and alloc (whose memory it is); the scheduler tells it where capsules begin (watch.hpp).
#pragma once

#include <ppmm/alloc/space.hpp>
#include <ppmm/pmem/errors.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ppmm {

/// The check was asked for by a program that cannot do it, or in words it does not know.
struct no_check : error {
  using error::error;
};
/// PPMM_CHECK_IDEMPOTENCE=fail, and there were findings. The job is finished all the same, its result is in the pool.
struct not_idempotent : error {
  using error::error;
};

namespace detail {

/// A place in the source.
struct source_place {
  std::string file;  // empty: unknown
  int line = 0;
  std::string function;

  std::string text() const;
  friend bool operator==(const source_place&, const source_place&) = default;
  friend auto operator<=>(const source_place&, const source_place&) = default;
};

enum class mistake : std::uint8_t {
  overwrites_what_it_read = 1,
  bypasses_views = 2,
  holds_volatile_address = 3,
  reads_what_it_has_not_written = 4,
  opens_outside_turns = 5
};

struct finding {
  mistake what{};
  source_place at{};        // of the store, or load; where the value was made, the view opened
  source_place read_at{};   // overwrites_what_it_read: of the load; opens_outside_turns: of a turn
  std::string target{};     // what was stored to, or loaded
  std::string type{};       // holds_volatile_address: of the value
  std::size_t offset = 0;   // in the value; else: in the region, or in the block
  std::string points_to{};  // holds_volatile_address: whose memory
  std::uint64_t times = 0;

  std::string text() const;
};

/// What the check found in the last run of this process that was checked.
const std::vector<finding>& last_findings();

struct checked_run;

/// One run under the check, if PPMM_CHECK_IDEMPOTENCE asks for it: unset, empty or 0: no; 1: yes; fail: yes, and the
/// run ends with an exception if anything was found. Throws no_check where it is asked for and cannot be done.
class idempotence_check {
 public:
  struct subject {
    std::string_view job;
    std::span<const std::byte> pool;    // its mapping
    std::span<const std::byte> region;  // the job's own
    const heap_place& heap;
    bool commits;                       // without commits there are no capsules
  };
  explicit idempotence_check(const subject& s);
  ~idempotence_check();
  idempotence_check(const idempotence_check&) = delete;
  idempotence_check& operator=(const idempotence_check&) = delete;

  /// The workers are gone: writes to stderr how often what was found. (What, it told when it found it.) Throws not_idempotent if it was asked to.
  void end();

 private:
  std::unique_ptr<checked_run> run_;
};

}  // namespace detail
}  // namespace ppmm
