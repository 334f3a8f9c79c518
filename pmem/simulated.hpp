/// The simulated medium: which contents may a power failure leave? For tests, in a build with instrumented accesses.
///
/// `kill -9` on a memory file system loses nothing that was stored, so a missing flush or fence is not seen by it. Here
/// each 64-byte line keeps the stores since it was last durable, in order. A power failure leaves of each line,
/// independently of the others, any prefix of them that is no shorter than what was flushed *and fenced by the worker
/// that flushed it*. That covers lost lines, early eviction, unordered write-back, and writes of several words that are
/// torn. Stores within one line become durable in program order (x86; Raad, Wickerson, Neiger, Vafeiadis, POPL 2020).
///
/// After a failure the contents of a line are chosen when they are first loaded, and only as far as the loaded bytes
/// differ (Gorjiara, Xu, Demsky: Jaaru, ASPLOS 2021): so all combinations of all lines can be tried, although most
/// lines are never looked at again. A store of several words becomes durable word by word.
#pragma once

#include <ppmm/pmem/instrument.hpp>
#include <ppmm/pmem/persist.hpp>
#include <ppmm/pmem/pool.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ppmm {

/// Not thread-safe: one thread at a time makes all accesses to the pool.
class simulated_medium final : public detail::access_observer {
 public:
  using line = std::array<std::byte, line_size>;

  struct store {  // of a word, or of a part of one
    std::uint32_t word;
    std::uint64_t value;
  };

  /// What a failure may leave: of each line that is not as it was when the medium was attached, every content that the
  /// medium may hold, without doubles; and, if only the process died, what memory shows and the medium may not hold.
  struct image {
    struct content {
      std::vector<line> bases;
      std::vector<store> log;
    };
    std::map<std::uintptr_t, content> lines;
    std::size_t open_lines() const;    ///< lines with more than one possible content
    std::uint64_t hash() const;        ///< equal for equal images
  };

  /// What the medium tells while the program runs, before the access or fence is made. The callee may let another
  /// worker go on first.
  enum class event : std::uint8_t {
    access,  ///< a load or store is about to be made
    stored,  ///< the same, and since the last event a line was stored to that `mark_shared` named
    fence,   ///< a fence is about to be made
  };

  struct counters {
    std::uint64_t flushed_lines = 0;   ///< lines that were flushed
    std::uint64_t unneeded_lines = 0;  ///< of them, those that held nothing that was not durable or on its way
    std::uint64_t choices = 0;         ///< loads of bytes whose content had to be chosen
  };

  /// Attaches to a pool that nobody works on: what is in it now is durable. The pool's level is `simulated` until this
  /// medium is destroyed. Throws pool_error in a build without instrumented accesses, where it would see nothing.
  explicit simulated_medium(pool& p);
  ~simulated_medium() override;
  simulated_medium(const simulated_medium&) = delete;
  simulated_medium& operator=(const simulated_medium&) = delete;

  /// What would be left if the power failed now.
  image power_failure();
  /// What would be left if the process died now, and the machine went on: all that was stored is there, and none of it
  /// is more durable than before.
  image process_death();
  /// Makes the pool what `left` says; where several contents are possible, they are chosen when they are loaded:
  /// `choose(n)` gives a number below n. Nothing is on its way to the medium.
  void restart_from(const image& left, std::function<unsigned(unsigned n)> choose);
  /// Everything that was stored to [p, p + n) since the medium was attached or restarted is durable: whatever fails now,
  /// these bytes stay.
  bool is_durable(const void* p, std::size_t n);

  /// Lines that nobody's answer depends on, though programs look at them: always as at first after a failure.
  void ignore(const void* p, std::size_t n);
  /// Lines whose stores are told apart as event::stored.
  void mark_shared(const void* p, std::size_t n);
  void on_event(std::function<void(event)> f) { on_event_ = std::move(f); }
  /// Called for each flush of a line that holds nothing new, with its address.
  void on_unneeded_flush(std::function<void(std::uintptr_t line)> f) { on_unneeded_ = std::move(f); }
  const counters& counted() const { return counters_; }

  // What a persister calls.
  void flush(const void* who, std::uintptr_t first, std::size_t n);
  void fence(const void* who);
  void forget(const void* who);

  void about_to_load(const void* p, std::size_t n, const void* pc) override;
  void about_to_store(const void* p, std::size_t n, const void* pc) override;

 private:
  struct state {
    std::uintptr_t address;
    line initial;              // when the medium was attached
    std::vector<line> bases;   // what the medium may hold without the stores below; the visible one is the first
    std::vector<store> log;    // since it was last durable, oldest first
    std::uint64_t folded = 0;  // stores that were in the log before
    line visible;              // as last seen: the first base with the log on top
  };
  struct pending_line {
    std::uint32_t number;
    std::uint64_t upto;  // stores, counted from the first
  };

  state* find(std::uintptr_t line_address);
  state& track(std::uintptr_t line_address);
  void take_stores();          // those that were announced, and made since
  void take_stores(state& s, std::uint8_t overwritten);  // all that were made to a line, and to these words in any case
  void tell(event e);
  void choose_content(state& s, std::size_t from, std::size_t n);
  static void apply(const store& s, line& to);
  static void unique(std::vector<line>& contents);

  const std::uintptr_t base_;
  pool& pool_;
  medium before_;
  std::vector<std::uint32_t> index_;  // by line of the pool: number in states_ + 1
  std::vector<std::uint8_t> flags_;   // by line: ignored, shared
  std::vector<state> states_;
  std::unordered_map<const void*, std::vector<pending_line>> pending_;  // by persister: flushed, not fenced
  struct announced {
    std::uintptr_t line;
    std::uint8_t overwritten;  // words that the medium may hold otherwise than memory shows: logged whatever is stored
  };
  std::vector<announced> announced_;  // lines to which a store was announced that may not have been seen yet
  bool shared_stored_ = false;
  std::function<unsigned(unsigned)> choose_;
  std::function<void(event)> on_event_;
  std::function<void(std::uintptr_t)> on_unneeded_;
  counters counters_;
};

}  // namespace ppmm
