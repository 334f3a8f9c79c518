/// A machine that is not there: the library's workers run on it as fibers of one thread, in virtual time.
///
/// The code of sched/ runs as it is. What it does is told to the machine (pmem/virtual_time.hpp, and the medium's flush
/// and fence), which moves the running worker's clock on by what that costs: a line that another core has stored to
/// comes from there, at a latency by distance; a word that all workers change is had by one after another. Tasks say
/// what their work takes (`work`). Always the worker whose clock is least goes on, so what workers see of each other
/// they see in the order of virtual time; only idle workers look into empty deques up to a microsecond ahead.
#pragma once

#include <ppmm/pmem/virtual_time.hpp>
#include <ppmm/ppmm.hpp>

#include <setjmp.h>
#include <ucontext.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace bench {

/// How far two cores are from each other.
enum class distance : std::uint8_t { self, cache, node, package, machine };
inline constexpr std::size_t distances = 5;

/// In nanoseconds. docs/scale.md says where the defaults come from.
struct costs {
  std::array<double, distances> transfer{2, 42, 80, 130, 190};  ///< a line that a core so far away has stored to
  double locked = 5;                                            ///< a locked instruction, on a line that is here
  double flush_line = 4.5;                                      ///< each line of a flush
  double fence = 150;                                           ///< a fence that has something to wait for
  double empty_fence = 3;
  double clock = 9;      ///< a look at the time stamp counter
  double record = 60;    ///< writing a record, and what else a commit computes
  double pause = 24;     ///< an idle worker's rounds: the first 63 …
  double yield = 300;    ///< … up to the 4095th …
  double nap = 55'000;   ///< … and after that
  double hot_line = 10;  ///< a line that all read is given to one of them in this time
};

/// What a worker's time goes to.
enum class use : std::uint8_t { work, flushes, fences, records, lines, locks, deques, pauses };
inline constexpr std::size_t uses = 8;

/// What a run took.
struct simulated {
  double ns = 0;                                  ///< from the start of the workers to the job's last record
  double alive_ns = 0;                            ///< the same, over all workers: each until it died
  std::array<double, uses> spent_ns{};            ///< of all workers
  std::array<std::uint64_t, distances> thefts{};  ///< hints taken, by distance
};

class simulated_machine final : public ppmm::detail::virtual_machine, public ppmm::detail::runner {
 public:
  /// From an hwloc synthetic description. Throws numa::topology_error.
  simulated_machine(const std::string& description, const costs& c);
  ~simulated_machine() override;
  simulated_machine(const simulated_machine&) = delete;
  simulated_machine& operator=(const simulated_machine&) = delete;

  const ppmm::numa::topology& topology() const { return topology_; }
  /// The pool's medium is this machine's from now on. All lines of the pool below `shared_bytes` are followed from core
  /// to core.
  void take(ppmm::pool& p, std::size_t shared_bytes);
  /// The running task computes for so long.
  void work(std::uint64_t picoseconds) { spend(use::work, picoseconds); }
  simulated last_run() const { return result_; }

  // runner
  void run(std::vector<std::function<void(std::uintptr_t stack_low)>> bodies) override;
  void pause(unsigned rounds) override;
  void recorded(unsigned slot, ppmm::detail::record_kind kind, const ppmm::flush_counters& cost) override;

  // virtual_machine
  std::uint64_t now() override;
  void reads(const void* p, std::size_t n) override;
  void stores(const void* p) override;
  void changes(const void* p) override;
  void looks_at(unsigned victim, bool is_empty) override;
  void takes_from(unsigned victim) override;
  void asks(unsigned victim) override;
  void pushes(unsigned owner) override;
  void locks(ppmm::detail::virtual_lock& l) override;
  void unlocks(ppmm::detail::virtual_lock& l) override;

 private:
  using time = std::uint64_t;  // picoseconds
  struct fiber;
  struct turn {
    time when;
    unsigned who;
    bool operator<(const turn& o) const { return when != o.when ? when < o.when : who < o.who; }
  };
  /// A line of a deque: who stored to it last, and who has a copy.
  struct deque_line {
    unsigned last = 0;
    time free_at = 0;
    std::vector<std::uint64_t> copies;
  };
  struct home {
    std::uint32_t cache, node, package;
  };

  static time ps(double ns) { return static_cast<time>(ns * 1000); }
  distance between(unsigned a, unsigned b) const;
  time transfer(unsigned from) const { return transfer_[static_cast<std::size_t>(between(from, running_))]; }
  void spend(use what, time t) {
    clock_ += t;
    spent_[static_cast<std::size_t>(what)] += t;
  }
  void wait_until(use what, time t) { spend(what, t > clock_ ? t - clock_ : 0); }
  void let_others() {
    if (clock_ > next_turn_) change();
  }
  void change();
  void leave();
  [[noreturn]] void enter(unsigned who);
  void sift_down();
  void prepare(ucontext_t& beginning, unsigned who);
  static void begin(unsigned high, unsigned low, unsigned number);
  std::uint16_t* owner_of(const void* p);
  void change_line(deque_line& l);
  void flush(const void* p, std::size_t n);
  void fence();

  const costs costs_;
  std::array<time, distances> transfer_{};
  const ppmm::numa::topology topology_;
  std::vector<home> homes_;  // by worker

  std::vector<std::unique_ptr<fiber>> fibers_;
  std::vector<std::function<void(std::uintptr_t)>> bodies_;
  std::vector<turn> waiting_;  // a heap: the least first
  ucontext_t main_{};
  bool in_run_ = false;
  unsigned running_ = 0, locked_ = 0;
  time clock_ = 0, next_turn_ = ~time{0}, ended_ = 0, overall_ = 0;
  time last_turn_ = 0;

  std::uintptr_t shared_first_ = 0, shared_last_ = 0;
  std::uint16_t* owners_ = nullptr;  // by line: who stored to it last + 1
  std::size_t owners_bytes_ = 0;
  std::vector<deque_line> deques_;  // by worker
  std::array<time, uses> spent_{};
  simulated result_;
};

/// The machine that tasks compute on.
inline simulated_machine* the_machine = nullptr;
inline void work(std::uint64_t picoseconds) { the_machine->work(picoseconds); }

}  // namespace bench
