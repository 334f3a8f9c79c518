/// The explorer: runs a small job on the simulated medium, takes what a power failure would leave at every fence and
/// after every CAM, and goes on from each of these images, again with failures, and so on.
///
/// What is tried: seeded interleavings of the workers; of each image every combination of line contents that the
/// restarted run can tell apart (simulated.hpp). Equal images are explored once. The oracle: the answer that a run
/// without failures gives, each unit of work counted once, the job's memory as it must be, and durable.
#pragma once

#include <ppmm/pmem/simulated.hpp>

#include "fibers.hpp"
#include "scenario.hpp"

#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

namespace ppmm::test {

/// One run of the job, from an image to the end or to the next power failure.
struct run_step {
  std::uint64_t schedule = 0;     ///< seed of the interleaving
  unsigned workers = 1;
  std::vector<unsigned> choices;  ///< of line contents, in the order in which they were asked for
  std::uint64_t failure = 0;      ///< the event at which it was cut short; 0: the run went to its end
  bool killed = false;            ///< … by the death of the process; else by a power failure
};

/// "schedule.workers:choice.choice@failure/...": what repeats a failing case. An event of a process's death is followed by k.
std::string to_text(const std::vector<run_step>& path);
std::vector<run_step> parse_path(const std::string& text);

struct wrong : std::runtime_error {
  wrong(const std::string& what, std::vector<run_step> how) : std::runtime_error(what), path(std::move(how)) {}
  std::vector<run_step> path;
};

struct exploration {
  std::uint64_t images = 0;  ///< different ones
  std::uint64_t runs = 0, failures = 0, most_open_lines = 0, cut = 0;
  std::vector<std::uint64_t> images_by_depth;
  coverage covered;
  simulated_medium::counters medium;
};

struct bounds {
  unsigned depth = 3;                    ///< failures one after another
  unsigned schedules = 32;               ///< interleavings tried from the beginning
  unsigned schedules_after = 1;          ///< … from each image
  std::uint64_t runs = ~std::uint64_t{0};  ///< at most; the rest counts as `cut`
  std::uint64_t seed = 1;
};

/// What the explorer looks for besides wrong outcomes.
struct reports {
  bool missing_flushes = true;  ///< something that a record reaches is not durable: an error, with its type and member
  std::map<std::string, std::uint64_t> unneeded_flushes;  ///< lines that were flushed and held nothing new, by what they are
};

class explorer {
 public:
  /// The pool file is made anew and removed at the end.
  /// `parts`: files of it.
  explicit explorer(std::filesystem::path file, unsigned parts = 1);
  ~explorer();

  /// All images within the bounds. Throws wrong.
  exploration explore(const scenario& s, const bounds& b);
  /// One random walk: failures at random events, random contents. Throws wrong.
  void walk(const scenario& s, std::uint64_t seed, unsigned failures, exploration& sum);
  /// Repeats a path. Throws wrong if it goes wrong again.
  void replay(const scenario& s, const std::vector<run_step>& path);
  /// The path that is being run: for who finds the process dying.
  const std::vector<run_step>& under_way() const { return path_; }
  reports looked_for;
  /// Called with a line about each worker slot before a run is replayed, and after it.
  std::function<void(const std::string&)> tell;
  /// Copies the pool as it is now.
  void keep(const std::filesystem::path& to) const;

 private:
  struct node {
    simulated_medium::image left;
    std::optional<layout::job_entry> entry;
    std::vector<run_step> path;
  };
  void make_pool();
  std::filesystem::path part(const std::filesystem::path& of, unsigned i) const { return of.string() + (i == 0 ? "" : "." + std::to_string(i)); }
  node begin(const scenario& s);
  node cut_short(std::uint64_t event, bool killed);
  void tell_records(const std::string& when);
  std::string kind_of(std::uintptr_t line) const;
  /// Runs from a node; at each event that may be followed by a failure calls `at(number)`. True: the job is finished.
  bool run_from(const scenario& s, const node& from, run_step& how, std::mt19937_64* dice, const std::function<void(std::uint64_t)>& at);
  std::string look_at_heap(const scenario& s);
  void look_at_slots(exploration& sum);
  void go(const scenario& s, const bounds& b, const node& from, unsigned schedules, exploration& sum);
  bool next_choices(run_step& how) const;

  std::filesystem::path file_;
  unsigned parts_;
  std::optional<pool> pool_;
  std::optional<simulated_medium> medium_;
  fiber_runner fibers_;
  std::unordered_set<std::uint64_t> seen_;
  std::vector<unsigned> widths_;  // of the choices of the last run
  std::vector<run_step> path_;
  coverage covered_;
  std::uint64_t clock_ = 0;
  std::uint64_t region_ = 0;
  bool earlier_left_something_ = false;
  std::span<std::byte> prepared_;  // the region of the scenario before, if it was filled
  std::string missing_;  // found in the run under way
};

}  // namespace ppmm::test
