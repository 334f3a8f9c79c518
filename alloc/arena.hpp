/// One worker's side of the heap: its superblocks, and what its capsule has allocated and freed.
///
/// Nothing here is durable. `write_list` gives a commit its list; `committed` applies it once the record is durable;
/// `forget` undoes the capsule. The fast path takes a bit from a mask and notes the block: no lock, no flush.
#pragma once

#include <ppmm/alloc/classes.hpp>
#include <ppmm/alloc/heap.hpp>
#include <ppmm/pmem/persist.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ppmm::detail {

/// Tells a task of a capsule from those before it: a task that is run again, for it would overwrite what the capsule has
/// read, takes back what it has allocated and freed so far.
struct task_stamp {
  std::uintptr_t place = 0;   // of its value
  std::int64_t fuel = 0;      // a task that follows at the same place has passed a safe point
  std::uint64_t polls = 0;    // how often the fuel was filled up
  friend bool operator==(const task_stamp&, const task_stamp&) = default;
};

/// A block that a capsule has allocated or freed.
struct noted_block {
  superblock* at;
  std::uint32_t block;
  friend bool operator==(const noted_block&, const noted_block&) = default;
};

/// What of an arena others look at, in memory that worker processes share: zeros at first. By worker slot; a new life of
/// the slot goes on with it.
struct arena_books {
  std::atomic<superblock*> mail{nullptr};  // of those in which others have freed blocks
  std::atomic<std::uint64_t> freed{0};     // notes
  static constexpr std::uint64_t most_freed = std::uint64_t{1} << 20;
  noted_block freed_notes[most_freed];     // freed by the capsule that has not ended: marked as leaving

  /// The worker is lost. Whether its record, or an older one, is the newest is for others to find out; until then what the
  /// capsule did may count or not. So nothing is handed back, and what it freed may be freed again. Before anybody goes on
  /// with its strand. May be done again.
  void abandon();
};

class arena {
 public:
  /// `part`: of the pool, where its memory is taken first. `books`: of the slot, and no other's meanwhile.
  arena(heap& h, unsigned slot, unsigned part, arena_books& books, persister& p)
      : heap_(h), name_{h.new_arena(), slot, &books}, part_(part), books_(books), persister_(p) {}
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;

  /// Bytes for the capsule, not written; the block is allocated when the capsule commits. `size_class` of
  /// size_class_for. Throws out_of_pool_memory.
  std::byte* allocate(unsigned size_class, const task_stamp& now) {
    bin& b = bins_[size_class];
    if (b.mask == 0) [[unlikely]]
      refill(b, size_class);
    mark(now);
    const auto bit = static_cast<unsigned>(std::countr_zero(b.mask));
    b.mask &= b.mask - 1;
    superblock& s = *b.current;
    s.fresh[b.word] |= std::uint64_t{1} << bit;
    ++s.in_use;
    const std::uint32_t block = b.word * 64 + bit;
    log_.push_back({&s, block});
    return s.first + std::size_t{block} * class_layouts[size_class].size;
  }
  /// For more than max_block_bytes: whole chunks.
  std::byte* allocate_extent(std::size_t bytes, const task_stamp& now) { return allocate_extent(bytes, part_, now); }
  std::byte* allocate_extent(std::size_t bytes, unsigned part, const task_stamp& now);
  unsigned part() const { return part_; }

  /// Frees the block that begins at p, as of the capsule's commit. Any worker's. Throws invalid_free. `run_once`: nothing
  /// that the task does can make it be run again (a fault repeats the whole capsule), so there is nothing to take back.
  void free(const void* p, const task_stamp& now, bool run_once = false) {
    superblock* s = heap_.of(p);
    if (s == nullptr) [[unlikely]]
      s = &adopt(p);
    const auto offset = static_cast<std::uint64_t>(static_cast<const std::byte*>(p) - s->first);
    const std::uint64_t block = offset * s->reciprocal >> 32;
    if (offset >= chunk_bytes || block * s->size != offset || block >= s->blocks) [[unlikely]]
      refuse_free(p, "no block begins there");
    mark(now);
    const noted_block n{s, static_cast<std::uint32_t>(block)};
    const std::uint64_t bit = std::uint64_t{1} << block % 64;
    if (s->is_of(name_) && (s->fresh[block / 64] & bit) != 0) {
      if ((log_.size() > marked_log_ || (run_once && !log_.empty())) && log_.back() == n) {  // the task's own last one: as if it had never been
        log_.pop_back();
        marked_log_ = std::min(marked_log_, log_.size());
        s->fresh[block / 64] &= ~bit;
        hand_back(*s, n.block);
        return;
      }
    } else if (!s->allocated(n.block)) {
      refuse_free(p, "it is not allocated; was it freed before?");
    }
    if (freed_count() == arena_books::most_freed) refuse_free(p, "a task frees a million blocks at most: free the others in another task");
    push_freed(n);  // first: who is killed between is known to have marked it
    if ((s->leaving[block / 64].fetch_or(bit, std::memory_order_acq_rel) & bit) != 0) {
      pop_freed();
      refuse_free(p, "it was freed before");
    }
  }

  /// p points into a block that this capsule has allocated.
  bool is_fresh(const void* p) const {
    const superblock* s = heap_.of(p);
    if (s == nullptr || !s->is_of(name_) || p < s->first) return false;
    const std::uint64_t block = static_cast<std::uint64_t>(static_cast<const std::byte*>(p) - s->first) * s->reciprocal >> 32;
    return block < s->blocks && (s->fresh[block / 64] >> block % 64 & 1) != 0;
  }
  /// The same, and it was not the running task that allocated it.
  bool is_fresh_of_earlier_task(const void* p, const task_stamp& now) const {
    if (!is_fresh(p)) return false;
    const std::size_t earlier = marked_ == now ? marked_log_ : log_.size();
    const auto has = [&](std::size_t from, std::size_t to) {
      const superblock* s = heap_.of(p);
      const auto block = static_cast<std::uint32_t>(static_cast<std::uint64_t>(static_cast<const std::byte*>(p) - s->first) * s->reciprocal >> 32);
      for (std::size_t i = from; i < to; ++i)
        if (log_[i].at == s && log_[i].block == block) return true;
      return false;
    };
    return earlier <= log_.size() - earlier ? has(0, earlier) : !has(earlier, log_.size());
  }
  /// So much is noted that the capsule should end soon.
  bool is_full() { return log_.size() + freed_count() >= limit_ && is_full_now(); }
  bool nothing_noted() const { return log_.empty() && freed_count() == 0; }

  /// Writes what the capsule did to the area and flushes it. The caller's next fence makes it durable; then the record
  /// may be written. False: nothing was done, there is no list. May be called again, for the same record. Throws
  /// out_of_pool_memory: a long list needs chunks.
  bool write_list(redo_area& area, std::uint64_t sequence);
  /// The record of that sequence is durable: its list is applied, and its lines flushed (H2: the caller fences before its
  /// next record is written). What the record before freed may be allocated again (H3). True: bits were changed.
  bool committed(std::uint64_t sequence) {
    newest_ = sequence;
    return (!nothing_noted() || !leaving_.empty()) && apply();
  }
  /// A worker begins in the slot, where another may have died.
  void begin();
  /// After a fault: the record of that sequence is the newest. Has the capsule ended with it, or is it to be repeated?
  void go_on_from(std::uint64_t sequence);
  /// The capsule is to be repeated: what it allocated goes back, what it freed stays.
  void forget();
  /// The running task is to be run again, after a commit of what was before it: undoes what it noted.
  void take_back(const task_stamp& now) {
    if (marked_ == now) undo_to(marked_log_, marked_freed_);
  }

 private:
  struct bin {
    std::uint64_t mask = 0;          // free blocks of `current`, of this word: taken out of its masks
    std::uint32_t word = 0;
    superblock* current = nullptr;
    std::vector<superblock*> more;   // with free blocks
  };

  void mark(const task_stamp& now) {
    if (marked_ == now) [[likely]]
      return;
    marked_ = now;
    marked_log_ = log_.size();
    marked_freed_ = freed_count();
  }
  [[gnu::cold]] superblock& adopt(const void* p);
  [[gnu::cold]] bool is_full_now();
  bool apply();
  void refill(bin& b, unsigned size_class);
  bool next_word(bin& b);
  void hand_back(superblock& s, std::uint32_t block);  // own superblock: may be allocated at once
  void give_back(const noted_block& n);                // not allocated (any more), by nobody's list
  static void post(superblock& s);                     // to its owner's mail
  void read_mail();
  std::uint64_t freed_count() const { return books_.freed.load(std::memory_order_relaxed); }
  std::span<noted_block> freed() const { return {books_.freed_notes, freed_count()}; }
  void push_freed(const noted_block& n) {
    books_.freed_notes[freed_count()] = n;
    books_.freed.store(freed_count() + 1, std::memory_order_release);
  }
  void pop_freed() { books_.freed.store(freed_count() - 1, std::memory_order_release); }
  void undo_to(std::size_t log, std::size_t freed);
  void write_words(redo_area& area, const std::vector<std::uint64_t>& words, std::vector<std::uint32_t>& chunks);
  bool is_cancelled(const noted_block& n) const;             // allocated and freed by this capsule
  [[noreturn, gnu::cold]] static void refuse_free(const void* p, const char* why);

  heap& heap_;
  const arena_name name_;
  const unsigned part_;
  arena_books& books_;
  persister& persister_;
  std::array<bin, size_classes> bins_;

  std::vector<noted_block> log_;      // allocated by this capsule, in order; what it freed is in the books
  std::vector<noted_block> leaving_;  // freed by the list of the newest record
  std::vector<noted_block> leaves_next_;
  std::uint64_t newest_ = 0;    // the record that the capsule follows
  task_stamp marked_;           // the task that noted last; it began at these sizes
  std::size_t marked_log_ = 0, marked_freed_ = 0;
  std::vector<std::uint64_t> words_;
  std::array<std::vector<std::uint32_t>, 2> list_chunks_;  // of the lists in either area; one is kept where it can be
  std::size_t limit_ = 0;       // notes from which on a look is needed whether the list still has room
};

}  // namespace ppmm::detail
