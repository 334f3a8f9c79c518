/// Making stores durable: one `persister` a worker, over libpmem2's functions for the pool's mapping.
///
/// The words are the field's: *flush* asks for the write-back of lines, *fence* waits until all that this worker has
/// flushed is durable, *persist* is both. What they cost and what they give depends on the durability level:
///
/// | level    | granularity | flush           | fence                                                     |
/// | power    | cache line  | notes the lines | clwb by line, then sfence                                 |
/// | power    | byte (eADR) | notes the lines | sfence                                                    |
/// | power    | page        | notes the pages | syncs them                                                |
/// | process  | any         | nothing         | compiler fence; sfence if stores have gone past the caches |
/// | emulated | cache line, forced on tmpfs or a file: costs as DAX, survives as `process` |
/// | simulated | memory, modelled line by line: what a power failure may leave is computed (simulated.hpp) |
///
/// Lines are written back by the fence and not at once, for who flushes goes on near them: the parent of a frame that was
/// just flushed is read from its line, and its neighbour begins in it. A load or store of a line that is on its way waits
/// for it (Zen 4: 8 frames took 9.7 × one line so, and take 1.8 × one). docs/performance.md, "Where each nanosecond of a
/// commit, a steal and a join goes".
#pragma once

#include <ppmm/pmem/page_sync.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <type_traits>
#include <vector>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace ppmm {

enum class durability : std::uint32_t { power = 0, process = 1, emulated = 2, simulated = 3 };
enum class granularity : std::uint32_t { page = 0, cache_line = 1, byte = 2 };

inline constexpr std::size_t line_size = 64;

class simulated_medium;

/// What one worker has spent on durability. Written by its worker only.
struct flush_counters {
  std::uint64_t flushes = 0;      // calls of flush()
  std::uint64_t lines = 0;        // 64-byte lines in them
  std::uint64_t bytes = 0;        // bytes asked for
  std::uint64_t fences = 0;       // calls of fence()
  std::uint64_t nanoseconds = 0;  // from the first flush after a fence to the end of the next fence; not in `process`
};

/// How a mapping is made durable: libpmem2's functions for it and the level in force.
struct medium {
  durability level = durability::process;
  granularity grain = granularity::page;  // libpmem2's finding (or forced, for `emulated`)
  void (*flush)(const void*, std::size_t) = nullptr;
  void (*drain)() = nullptr;
  void* (*copy)(void*, const void*, std::size_t, unsigned flags) = nullptr;  // libpmem2's memcpy; nullptr: a store and a flush
  std::uintptr_t base = 0;  // of the mapping
  std::size_t size = 0;
  /// Page granularity: the errno of the first sync that failed, or 0; from then on every fence of the mapping fails, in all
  /// processes that share the word. The kernel forgets a page that it could not write: a second msync that succeeds proves
  /// nothing. nullptr: each persister remembers for itself.
  std::atomic<int>* failed = nullptr;
  simulated_medium* simulated = nullptr;  // level simulated: the model
  std::span<const synced_file> files = {};  // page granularity: what is mapped, by address; what is not in it is synced by msync alone
};

/// Types that go past the caches without a buffer: whole words, a few.
template <class T>
concept words_past_caches = sizeof(T) % 4 == 0 && alignof(T) % 4 == 0 && sizeof(T) <= line_size;

/// Stores past the caches (movnti), in no order with other stores before the next fence. See
/// persister::stores_past_caches(). Plain stores in an instrumented build, whose observers hear of no others.
template <words_past_caches T>
void store_past_caches(T* to, const T& value) {
#if defined(__x86_64__) && !defined(PPMM_INSTRUMENT)
  using word = std::conditional_t<sizeof(T) % 8 == 0 && alignof(T) % 8 == 0, long long, int>;
  word words[sizeof(T) / sizeof(word)];
  std::memcpy(words, &value, sizeof(T));
  for (std::size_t i = 0; i < std::size(words); ++i) {
    if constexpr (sizeof(word) == 8) _mm_stream_si64(reinterpret_cast<word*>(to) + i, words[i]);
    else _mm_stream_si32(reinterpret_cast<word*>(to) + i, words[i]);
  }
#else
  *to = value;
#endif
}

/// One worker's way to the medium. Not shared between threads.
class persister {
 public:
  /// The medium must outlive the persister. The first one of a process may take 0.2 ms (it measures the clock).
  explicit persister(const medium& m);

  /// Asks for the write-back of all lines that [p, p + n) touches: of what they hold at the next fence(), before which
  /// nothing is durable. Does not fail. Cost: 1 ns in `process`, noting the range elsewhere.
  void flush(const void* p, std::size_t n) {
    const auto first = reinterpret_cast<std::uintptr_t>(p);
    count(first, n);
    if (n != 0 && way_ != way::nothing) write_back(first, n);
  }

  /// As storing [to, to + n) and flushing it, in one go. Where flushing is by line the stores go past the caches
  /// (movnti): nothing is read from the medium first, nor written back afterwards. docs/performance.md, "Large outputs",
  /// has what it costs.
  void copy(void* to, const void* from, std::size_t n);
  /// Whether that is faster than storing and flush(), for what is written whole and not soon read.
  bool copies_past_caches() const {
    return way_ == way::simulated || (way_ == way::lines && medium_->grain == granularity::cache_line);
  }

  /// Whether who writes an output had better store past the caches itself, word by word: store_past_caches(), then
  /// stored_past_caches(). Where flushing is by line always, for it saves the copy; else if no cache holds the output
  /// (`is_large`), for then its lines are not read first, as the C library's memcpy does with large blocks.
  bool stores_past_caches(bool is_large) const;
  /// [p, p + n) was stored so: the next fence() waits for it.
  void stored_past_caches(const void* p, std::size_t n);

  /// Waits until everything this worker flushed is durable. Throws medium_error (page granularity only): then
  /// nothing flushed since the last fence may be taken for durable, and every later fence throws as well.
  /// Cost: in `process` nothing but program order (1 ns), unless stores went past the caches; by line, libpmem2's flush of
  /// the lines and one sfence; by page, one flush of the disk's cache on ext4 and xfs, elsewhere one for each
  /// cluster of pages (page_sync.hpp).
  void fence() {
    ++counters_.fences;
    if (way_ == way::nothing && !past_caches_) {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      drain();
    }
  }

  /// flush() and fence(): [p, p + n) is durable on return, and all that was flushed before.
  void persist(const void* p, std::size_t n) {
    flush(p, n);
    fence();
  }

  /// What was flushed is no longer waited for by the next fence: for who has forgotten what it was.
  void forget();

  /// A read-only look for other threads is racy; the owner publishes copies (sched's statistics).
  const flush_counters& counters() const { return counters_; }

 private:
  enum class way : std::uint8_t { nothing, lines, pages, simulated };
  void count(std::uintptr_t first, std::size_t n) {
    ++counters_.flushes;
    counters_.bytes += n;
    if (n != 0) counters_.lines += (first + n - 1) / line_size - first / line_size + 1;
  }
  void write_back(std::uintptr_t first, std::size_t n);
  void drain();
  void order_stores();
  void sync_pages();

  const medium* medium_;
  way way_;
  bool past_caches_ = false;  // stores since the last fence that x86 does not keep in order
  int failed_ = 0;  // errno
  flush_counters counters_;
  std::uint64_t started_ = 0;  // time stamp of the first flush since the last fence; 0: none
  double ns_per_tick_ = 0;
  std::vector<detail::address_range> noted_;  // what the next fence writes back: whole lines or pages
  detail::write_back_errors of_others_;    // page granularity
};

}  // namespace ppmm
