/// alloc: the durable heap.
///
/// Blocks of a pool's memory whose allocation and freeing take effect with the commit of the capsule that did it. This
/// module promises: after any crash a block is allocated if and only if the commits say so; nothing is scanned at
/// restart; nothing is flushed between commits but when a worker adopts a superblock; and what a job allocated and did
/// not keep is given back, at no cost. It stands on pmem. Read next: layout.hpp (what is in the pool), arena.hpp (one
/// worker's side, the fast path), space.hpp (chunks). docs/design.md, "Heap", has the invariants.
#pragma once

#include <ppmm/alloc/array.hpp>
#include <ppmm/alloc/space.hpp>
#include <ppmm/pmem/errors.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace ppmm {

/// A free of something that is no allocated block: freed before, or never allocated.
struct invalid_free : error { using error::error; };
/// No root of that name, or of another type.
struct root_error : error { using error::error; };

namespace detail {

struct arena_books;

/// Whose a superblock is to be.
struct arena_name {
  std::uint64_t number;
  unsigned slot;  // worker slot, for who looks from outside
  arena_books* books;
};

/// The volatile side of a superblock or extent that this run has touched. One a chunk; never moves.
struct superblock {
  std::byte* first = nullptr;       // the first block
  std::uint32_t size = 0;           // of a block; of an extent: 0, for it has one block
  std::uint32_t reciprocal = 0;
  std::uint32_t blocks = 0;
  std::uint32_t chunk = 0, claim = 0;
  std::uint32_t extent_chunks = 0;  // 0: a superblock
  unsigned size_class = 0;
  std::atomic<std::uint64_t> owner{0};          // number of the arena that alone changes alloc and young bits, and the members below
  std::atomic<arena_books*> mail_to{nullptr};   // that arena's
  block_bits* bits = nullptr;
  std::uint32_t in_use = 0;         // blocks that are allocated or on their way back
  bool listed = false;              // in a bin
  std::array<std::uint64_t, 64> free{};                  // to be handed out
  std::array<std::uint64_t, 64> fresh{};                 // allocated by the owner's capsule
  std::array<std::atomic<std::uint64_t>, 64> leaving{};  // freed by somebody, and not yet to be handed out again
  // Freed by others, for good: the owner is to hand them out again. It finds the superblock in its mail.
  std::array<std::atomic<std::uint64_t>, 64> returned{};
  std::atomic<bool> in_mail{false};
  superblock* next_mail = nullptr;  // one that was released, or is another's by now, may still be in a list

  bool is_of(const arena_name& a) const { return owner.load(std::memory_order_relaxed) == a.number; }

  bool allocated(std::uint32_t block) const {
    const block_bits& b = bits[block / 64];
    return ((b.alloc.load() ^ b.free.load()) >> block % 64 & 1) != 0;
  }
};

/// The words of the list of the record of that sequence, each checked. Changes nothing. Throws corrupt_pool.
/// `in_lists`: chunks of other lists, to which this one's are added: no chunk is in two, so all lists together are no
/// larger than the pool.
std::vector<std::uint64_t> read_list(const chunk_space& chunks, const redo_area& area, std::uint64_t sequence, std::unordered_set<std::uint32_t>& in_lists);

/// What the arenas of one run share.
class heap {
 public:
  /// `serial`: of the running job. Its books are in `shared`, which outlives it.
  heap(const heap_place& where, const medium& m, std::uint64_t serial, commons& shared);

  chunk_space& chunks() { return chunks_; }
  const chunk_space& chunks() const { return chunks_; }

  // ---- jobs
  /// A new job begins: it has kept nothing yet, and its region is its own. Durable on return; before any record or
  /// entry with its serial. Throws pool_too_small where kept objects stand in the region. Cost: a few fences, a look at
  /// the entries of the region's chunks, and once in 4096 jobs at all entries.
  void begin_job(persister& p);
  /// The job is finished: what it allocated stays if it set a root, and its roots count. Durable on return.
  void finish_job(persister& p);

  // ---- recovery
  std::vector<std::uint64_t> read_list(const redo_area& area, std::uint64_t sequence) const {
    std::unordered_set<std::uint32_t> in_lists;
    return detail::read_list(chunks_, area, sequence, in_lists);
  }
  /// Applies a list once more; flushed, not fenced.
  void replay(const std::vector<std::uint64_t>& words, persister& p);
  /// The same with the list of the record of that sequence. Throws corrupt_pool.
  void replay(const redo_area& area, std::uint64_t sequence, persister& p) { replay(read_list(area, sequence), p); }
  /// Empties a list whose bits are durable; flushed, not fenced. All lists are empty before anybody looks at the heap
  /// (H8): arenas and freers are others from then on, so a second recovery must not apply it again.
  static void retire_list(redo_area& area, persister& p);

  // ---- roots
  void set_root(std::string_view name, std::uintptr_t address, std::uint64_t count, std::uint64_t type, std::uint64_t bytes, persister& p);

  // ---- superblocks, for arenas
  /// One for each arena of the run: the superblocks of a dead one are nobody's.
  std::uint64_t new_arena() { return books_->arenas.fetch_add(1) + 1; }
  /// The superblock or extent that p points into, if this run has touched it.
  superblock* of(const void* p) const {
    const std::uintptr_t offset = reinterpret_cast<std::uintptr_t>(p) - base_;
    return offset / chunk_bytes < numbers_ ? table_[offset / chunk_bytes].load(std::memory_order_acquire) : nullptr;
  }
  /// The same, adopted by the arena if nobody has it. Throws invalid_free if nothing is allocated there.
  superblock& adopt_at(const void* p, const arena_name& by, persister& pers);
  /// One with free blocks: adopted, or new; in that part of the pool, or the next that has room. nullptr: there is no memory.
  superblock* more(unsigned size_class, const arena_name& by, unsigned part, persister& p);
  /// The same for an extent. nullptr: there are not so many free chunks in a row.
  superblock* new_extent(std::uint32_t chunks, const arena_name& by, unsigned part, persister& p);
  /// All its blocks are free, and no list of the newest records frees one of them.
  void release(superblock& s);

 private:
  superblock& adopt(std::uint32_t chunk, const arena_name& by, persister& p);
  superblock& describe(std::uint32_t chunk, const arena_name& by);
  void resolve(std::uint32_t chunk, persister& p);
  void resolve_all(persister& p);

  chunk_space chunks_;
  const std::uintptr_t base_;
  const std::uint32_t numbers_;
  // The books, in memory that worker processes share. One that is killed while it has the mutex leaves a chunk that nobody
  // has, or a root as a capsule leaves it that is cut (set_root).
  struct books {
    short_mutex mutex;
    std::atomic<std::uint64_t> arenas{0};  // numbers given
  };
  shared_object<books> books_;
  shared_array<std::atomic<superblock*>> table_;  // by chunk; memory only where touched
  shared_array<superblock> superblocks_;          // by chunk: of those in the table
};

/// Of the head of the area and all words of the list.
std::uint64_t list_checksum(const redo_area& area, const std::vector<std::uint64_t>& words);

/// A root's value that counts.
struct root_value {
  std::uint64_t address, count, type, bytes;
};
/// The root of that name as the last kept job set it, checked. Throws root_error, corrupt_pool.
root_value typed_root(const chunk_space& chunks, std::string_view name, const char* type, std::uint64_t bytes);
/// The version that counts; nullptr if none does.
const root_version* current_version(const chunk_space& chunks, const root_slot& r);
/// Whether all that it names is one allocated block. `moved`: what the pool's own addresses are larger than those here.
bool names_a_block(const chunk_space& chunks, const root_version& v, std::uint64_t moved = 0);
/// Whether `bytes` bytes at an address found in the pool are one allocated block, from its beginning.
bool is_allocated(const chunk_space& chunks, std::uintptr_t address, std::uint64_t bytes);

std::uint64_t hash_of_name(const char* name);

}  // namespace detail
}  // namespace ppmm
