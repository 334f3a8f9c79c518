/// What the scheduler keeps in a pool: worker slots with their restart records, exposure slots, frames.
///
/// All zero bytes are a valid beginning: no worker has a strand, no slot was ever exposed. The first segment of each part
/// starts with its worker slots, then their exposure slots, then, in the first part, the heap's control (alloc/layout.hpp).
/// What follows, and the other segments, are chunk tables, chunks and the job's region. Who may write what, and when it
/// becomes durable, is said beside each field.
///
/// ```
///  exposure slot (1 line)                     record (up to 8 lines; each begins with the sequence)
///  +------------+--------+--------+-------+   +-----+-----+--------------+-----+------+----------+------+-----------+
///  | generation | right  | join   | frame |   | seq | job | kind n size# | at  | type | progress | when | arguments |
///  +------------+--------+--------+-------+   +-----+-----+--------------+-----+------+----------+------+-----------+
///        ^ the same generation in all                 +-----+------------------------------------------+
///  frame                                              | seq | arguments, continued                     |
///  +--------+------+------+----------------------+    +-----+------------------------------------------+
///  | parent | link | type | results, right child, |
///  | + side |      |      | captures              |   at: frame and side, or exposure slot and generation
///  +--------+------+------+----------------------+
/// ```
#pragma once

#include <ppmm/alloc/layout.hpp>
#include <ppmm/pmem/durable_word.hpp>
#include <ppmm/pmem/layout.hpp>

#include <cstddef>
#include <cstdint>

namespace ppmm::detail {

// ---- words ---------------------------------------------------------------------------------------------------------

inline constexpr unsigned max_worker_bits = 12;  // worker slots: 4096
inline constexpr unsigned life_bits = 18;        // lives of a worker slot
static_assert(layout::most_workers == 1u << max_worker_bits && max_worker_bits + life_bits == 30);
inline constexpr std::uint32_t max_life = (1u << life_bits) - 1;
inline constexpr std::uint32_t max_generation = 0xffffffff;  // a slot that gets there is never used again

/// Who did it: a worker slot in one of its lives. Unique as long as that matters: within one life a slot wins a
/// given CAM at most once, and a word that was lost to another never comes back.
struct identity {
  std::uint32_t slot = 0, life = 0;
  friend bool operator==(const identity&, const identity&) = default;
};
constexpr std::uint32_t identity_word(identity id) { return id.slot << life_bits | id.life; }
constexpr identity unpack_identity(std::uint32_t w) { return {w >> life_bits, w & max_life}; }

enum class side : std::uint8_t { left = 0, right = 1 };

/// Right word: whose is the right child? {generation 32, identity 30, state 2}
enum class right_state : std::uint8_t { none = 0, available = 1, inlined = 2, stolen = 3 };
constexpr std::uint64_t right_word(std::uint32_t generation, right_state s, identity thief = {}) {
  return std::uint64_t{generation} << 32 | std::uint64_t{identity_word(thief)} << 2 | static_cast<std::uint64_t>(s);
}

/// Join word: who has arrived? {generation 32, side 1, state 2}. States carry the side, never a worker: a robber arrives for the dead.
enum class join_state : std::uint8_t { none = 0, first = 1, claimed = 2 };
constexpr std::uint64_t join_word(std::uint32_t generation, join_state s, side who = side::left) {
  return std::uint64_t{generation} << 32 | std::uint64_t{static_cast<std::uint8_t>(who)} << 2 | static_cast<std::uint64_t>(s);
}

/// Owner word of a worker slot: {life 18} while it is its own; {robber 30, life 18, 1} once it was robbed in that life.
constexpr std::uint64_t owner_word(std::uint32_t life) { return std::uint64_t{life} << 1; }
constexpr std::uint64_t robbed_word(std::uint32_t life, identity robber) {
  return std::uint64_t{identity_word(robber)} << 32 | std::uint64_t{life} << 1 | 1;
}
constexpr std::uint32_t owner_life(std::uint64_t w) { return static_cast<std::uint32_t>(w >> 1) & max_life; }
constexpr bool is_robbed(std::uint64_t w) { return (w & 1) != 0; }

/// One exposure: a slot in one of its generations. Hints, STEAL and ARRIVE name this, never a frame.
struct exposure {
  std::uint32_t slot = 0, generation = 0;
  friend bool operator==(const exposure&, const exposure&) = default;
};
constexpr std::uint64_t exposure_word(exposure e) { return std::uint64_t{e.slot} << 32 | e.generation; }
constexpr exposure unpack_exposure(std::uint64_t w) { return {static_cast<std::uint32_t>(w >> 32), static_cast<std::uint32_t>(w)}; }

/// Exposure link of a frame: {generation 32, slot 29, flags 3}; generation 0: never exposed. The flags concern only
/// the running process, except that a frame with `committed` may be reached from a record.
namespace link_flag {
inline constexpr std::uint64_t committed = 1;       // a record reaches it: not to be overwritten before the next commit
inline constexpr std::uint64_t watched = 2;         // tasks are long here: look at the clock when its children return
inline constexpr std::uint64_t last_in_chunk = 4;   // its children are in the next chunk; its pop goes back to its own
}  // namespace link_flag
constexpr std::uint64_t exposed_link(exposure e) {
  return std::uint64_t{e.generation} << 32 | std::uint64_t{e.slot} << 3 | link_flag::committed;
}
constexpr exposure link_exposure(std::uint64_t link) {
  return {static_cast<std::uint32_t>(link) >> 3, static_cast<std::uint32_t>(link >> 32)};
}

// ---- frame ---------------------------------------------------------------------------------------------------------

/// The head of every frame. The typed rest (frame.hpp) follows: results, right child's arguments, captures. Written
/// once, by plain stores of the strand that pushes it; results are written again with the same meaning when a capsule
/// is repeated; the link is written by the strand's commits.
struct frame {
  std::uintptr_t parent;  // frame whose child this one's value is, | side; 0: it is the job's result
  std::uint64_t link;     // 0, flags, or the exposure
  std::uint64_t type;     // {type id 48, bytes / 64 in 10, 0 in 5, fork 1}
};
static_assert(sizeof(frame) == 24);
inline constexpr std::size_t frame_alignment = 64;

constexpr std::size_t frame_bytes(std::uint64_t type) { return type & 0xffc0; }
constexpr bool is_fork(std::uint64_t type) { return (type & 1) != 0; }

inline std::byte* end_of(const frame* f) { return reinterpret_cast<std::byte*>(const_cast<frame*>(f)) + frame_bytes(f->type); }

/// A place for a value: a frame and one of its sides.
struct place {
  std::uintptr_t word = 0;
  place() = default;
  explicit place(std::uintptr_t w) : word(w) {}
  place(frame* f, side s) : word(reinterpret_cast<std::uintptr_t>(f) | static_cast<std::uintptr_t>(s)) {}
  frame* parent() const { return reinterpret_cast<frame*>(word & ~std::uintptr_t{frame_alignment - 1}); }
  side which() const { return (word & 1) != 0 ? side::right : side::left; }
};

// ---- exposure slot -------------------------------------------------------------------------------------------------

/// One line, never used for anything else. Written by the exposing strand in the order generation, join, frame; then,
/// once the frame's link is durable, right := available. After that only by CAM.
struct alignas(64) exposure_slot {
  durable_word<std::uint64_t> generation;
  durable_word<std::uint64_t> right;
  durable_word<std::uint64_t> join;
  durable_word<std::uintptr_t> frame_address;
};
static_assert(sizeof(exposure_slot) == 64);
inline constexpr std::uint32_t exposure_slots_per_worker = 256;

// ---- record --------------------------------------------------------------------------------------------------------

enum class record_kind : std::uint8_t {
  idle = 0,
  run = 1,           // about to run a task; type and arguments here, value to `at`
  right = 2,         // about to run the right child of the frame `at`
  continuation = 3,  // about to run the continuation of the frame `at`
  steal = 4,         // about to take exposure `at`, as identity `type`
  arrive = 5,        // the child of exposure `at` on side `type` is done, its value stored
  rob = 6,           // about to take over worker slot and life in `at`, as identity `type`
  done = 7,          // the job's result is in the arguments
};
inline constexpr record_kind last_record_kind = record_kind::done;
/// A strand that stands somewhere, between two steps of the protocol.
constexpr bool is_position(record_kind k) { return k == record_kind::run || k == record_kind::right || k == record_kind::continuation; }

struct record_line {
  std::uint64_t sequence;
  std::uint64_t words[7];
};
static_assert(sizeof(record_line) == 64);

/// The first line's words.
namespace record_word {
inline constexpr std::size_t job = 0, head = 1, at = 2, type = 3, progress = 4, when = 5, arguments = 6;
}
/// head: {checksum 32, argument bytes 16, has a redo list 1, lines 7, kind 8}
constexpr std::uint64_t record_head(record_kind kind, unsigned lines, bool has_list, unsigned bytes, std::uint32_t checksum) {
  return std::uint64_t{checksum} << 32 | std::uint64_t{bytes} << 16 | std::uint64_t{has_list} << 15 | std::uint64_t{lines} << 8 | static_cast<std::uint64_t>(kind);
}

inline constexpr std::size_t record_lines = 8;
inline constexpr std::size_t max_argument_bytes = 8 + (record_lines - 1) * 56;

/// A restart record: valid when all its lines carry one sequence and the checksum agrees.
struct alignas(64) record {
  record_line lines[record_lines];
};
static_assert(sizeof(record) == 512);

/// Everything durable about one worker. Written by the worker that lives in it; the owner word also by robbers' CAM.
struct alignas(4096) worker_slot {
  durable_word<std::uint64_t> owner;
  std::uint64_t pad_0[7];
  // What the worker was at when last seen: for observers and to tell what a crash lost. Never flushed.
  durable_word<std::uint64_t> live_when;
  durable_word<std::uint64_t> live_progress;
  // What the run has had of it so far, and its task or frame type id when it last committed (0: it has no strand).
  durable_word<std::uint64_t> live_commits, live_commit_ticks, live_lines, live_steals, live_faults, live_type;
  // Steals that were won by whoever lived here, in the job of that serial, by what thief and victim share
  // (numa::nearness). Never flushed.
  durable_word<std::uint64_t> live_serial;
  durable_word<std::uint64_t> live_steals_by[5];
  // The worker process that lives here, while its lock says that it does (pmem/slot_lock.hpp). Never flushed.
  durable_word<std::uint64_t> live_pid;
  durable_word<std::uint64_t> live_books;  // its descriptor of the run's books (alloc/commons.hpp)
  durable_word<std::uint64_t> live_number;  // in slot 0: of the books that count (books.hpp). Never flushed
  std::uint64_t pad_2[39];
  record records[2];  // the one with the larger sequence counts; the other is written next
  redo_area redo[2];  // of the record beside it: what its capsule changed in the heap
  durable_word<std::uint64_t> undo;  // first chunk of the undo log + 1 (undo.hpp); 0: none was ever needed
  std::uint64_t pad_3[63];
};
static_assert(sizeof(worker_slot) == 4096);
static_assert(offsetof(worker_slot, live_when) == 64);
static_assert(offsetof(worker_slot, live_type) + 8 == 128);  // one line, so that observers and tests can leave it out
static_assert(offsetof(worker_slot, live_serial) == 128 && offsetof(worker_slot, live_number) == 192);
static_assert(offsetof(worker_slot, records) == 512);
static_assert(offsetof(worker_slot, redo) == 1536);
// A disk writes sectors whole or not at all. What is written at one time shares none with what must not change meanwhile:
// each record, each list, the owner word and the log's place have theirs (docs/design.md, "Page granularity").
inline constexpr std::size_t sector = 512;
static_assert(sizeof(record) == sector && sizeof(redo_area) % sector == 0);
static_assert(offsetof(worker_slot, records) % sector == 0 && offsetof(worker_slot, redo) % sector == 0);
static_assert(offsetof(worker_slot, undo) % sector == 0);

// ---- where they are -----------------------------------------------------------------------------------------------

/// Worker slots go round the parts: slot i is in part i % parts. Offsets are in the first segment of the part.
struct slot_places {
  unsigned workers, parts;

  constexpr unsigned part_of(unsigned worker) const { return worker % parts; }
  constexpr unsigned in_part(unsigned part) const { return (workers - part + parts - 1) / parts; }  // how many
  constexpr std::size_t worker(unsigned w) const { return w / parts * sizeof(worker_slot); }
  /// The worker's first exposure slot.
  constexpr std::size_t exposures(unsigned w) const {
    return in_part(part_of(w)) * sizeof(worker_slot) + w / parts * exposure_slots_per_worker * sizeof(exposure_slot);
  }
  constexpr std::size_t end(unsigned part) const {
    return in_part(part) * (sizeof(worker_slot) + exposure_slots_per_worker * sizeof(exposure_slot));
  }
};

}  // namespace ppmm::detail
