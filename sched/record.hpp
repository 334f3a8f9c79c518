/// Restart records: where a worker's strand stands, double-buffered.
#pragma once

#include <ppmm/sched/layout.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ppmm::detail {

/// A record's content, outside the pool.
struct restart {
  std::uint64_t sequence = 0;
  std::uint64_t job = 0;       // serial of the job it belongs to; another job's record counts as idle
  record_kind kind = record_kind::idle;
  std::uint64_t at = 0;        // place, exposure, or {worker slot 32, life 32}
  std::uint64_t type = 0;      // task type id, side, or identity
  std::uint64_t progress = 0;  // units of work committed by this worker
  std::uint64_t when = 0;      // ticks
  std::uint16_t bytes = 0;     // of arguments
  bool has_list = false;       // of heap changes: in the redo area beside the record
  alignas(16) std::byte arguments[max_argument_bytes];

  place to() const { return place(at); }
  exposure exposed() const { return unpack_exposure(at); }
};

/// Both are about to do the same with the same arguments.
bool is_same_step(const restart& a, const restart& b);

/// Fills the buffer of `slot` that does not hold the newest record. Returns its address; the caller persists it:
/// `bytes` gives how much. Ordinary stores: nothing is durable on return.
///
/// Invariants after crash: the other buffer is untouched, so the slot's newest valid record is the old one or, if
/// every line of this one became durable, the new one. A mixture of lines of different sequences is not valid.
const void* write_record(worker_slot& slot, const restart& r, std::size_t& bytes);

/// What a record with so many bytes of arguments takes of its buffer.
std::size_t record_bytes(std::size_t argument_bytes);

/// The newest valid record of a slot; kind idle, sequence as found, when there is none or it is of another job.
/// Reads untrusted bytes: `kind`, `bytes` and lines are in range on return, nothing else is checked.
restart newest_record(const worker_slot& slot, std::uint64_t job);

/// One buffer's record, whatever job it belongs to; false if it is not valid.
bool read_record(const record& buffer, restart& r);

}  // namespace ppmm::detail
