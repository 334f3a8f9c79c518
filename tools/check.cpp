/// ppmm check: everything about a pool that can be verified without changing it.
#include "command.hpp"
#include "pool_reader.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

namespace ppmm::tools {
namespace {

using detail::record_kind;

/// Checks what the records of an unfinished job reach: all that a recovery would follow, and no more. What a lost steal
/// or a join that is over names may be gone.
class strand_check {
 public:
  strand_check(const pool_reader& reader, const std::vector<worker_state>& workers, std::uint64_t serial)
      : reader_(reader), workers_(workers), serial_(serial) {}

  void worker(const worker_state& w) {
    const auto problem = [&](const std::string& what) {
      problems.push_back(fmt::format("worker {}: {}", w.slot, what));
    };
    if (detail::is_robbed(w.owner)) {  // its record is reached through its robber's
      if (w.owner >> (32 + detail::life_bits) >= workers_.size())
        problem("its owner word names a robber that is not there");
      return;
    }
    if (w.damaged) return problem("neither of its restart records is whole; its part of an unfinished job is lost");
    if (w.record && w.record->job == serial_) record(*w.record, problem);
  }

  std::vector<std::string> problems;
  unsigned strands = 0;
  std::size_t frames() const { return seen_.size(); }

 private:
  template <class Problem>
  void record(const detail::restart& r, const Problem& problem, std::size_t robberies = 0) {
    switch (r.kind) {
      case record_kind::idle:
      case record_kind::done:
        return;
      case record_kind::run:
        chain(r.at, problem);
        break;
      case record_kind::right:
      case record_kind::continuation:
        frame_and_up(r.at, problem);
        break;
      case record_kind::steal:
      case record_kind::arrive:
        exposed(r, problem);
        break;
      case record_kind::rob:
        return robbed(r, problem, robberies);
    }
    ++strands;
  }

  template <class Problem>
  void robbed(const detail::restart& r, const Problem& problem, std::size_t robberies) {
    const auto dead = r.at >> 32;
    if (dead >= workers_.size() || robberies > workers_.size())
      return problem(fmt::format("it takes over from worker {}, which cannot be", dead));
    const worker_state& w = workers_[dead];
    const auto robber = detail::unpack_identity(static_cast<std::uint32_t>(r.type));
    if (w.owner != detail::robbed_word(static_cast<std::uint32_t>(r.at), robber)) return;  // another was faster
    if (w.record && w.record->job == serial_) record(*w.record, problem, robberies + 1);
  }

  template <class Problem>
  void exposed(const detail::restart& r, const Problem& problem) {
    const detail::exposure e = r.exposed();
    if (e.slot >= reader_.exposure_slots())
      return problem(fmt::format("it names exposure slot {}; there are {}", e.slot, reader_.exposure_slots()));
    const exposure_words words = reader_.exposure(e.slot);
    if (r.kind == record_kind::steal) {
      const auto thief = detail::unpack_identity(static_cast<std::uint32_t>(r.type));
      if (words.right == detail::right_word(e.generation, detail::right_state::stolen, thief))
        frame_and_up(words.frame, problem);
      return;
    }
    const auto other = r.type == 0 ? detail::side::right : detail::side::left;
    if (words.generation == e.generation &&
        words.join != detail::join_word(e.generation, detail::join_state::claimed, other))
      frame_and_up(words.frame, problem);
  }

  template <class Problem>
  void frame_and_up(std::uint64_t place, const Problem& problem) {
    if (detail::place(place).parent() == nullptr) return problem("it names a frame at address 0");
    chain(place, problem);
  }

  /// The frames from a place up to the root.
  template <class Problem>
  void chain(std::uint64_t word, const Problem& problem) {
    std::unordered_set<std::uint64_t> mine;
    while (word != 0) {
      const std::uint64_t address = word & ~std::uint64_t{1};
      if (!mine.insert(address).second) return problem("the frames of its strand go round in a circle");
      if (!seen_.insert(address).second) return;  // checked from here on up
      const auto head = reader_.frame(address);
      if (!head) return problem(fmt::format("its strand names a frame at {:#x}, where none can be", address));
      const std::size_t bytes = detail::frame_bytes(head->type);
      if (bytes < sizeof(frame_head) || address % detail::chunk_bytes + bytes > detail::chunk_bytes)
        return problem(
            fmt::format("the frame at {:#x} of its strand has an impossible size of {} bytes", address, bytes));
      if (const auto e = detail::link_exposure(head->link); e.generation != 0 && e.slot >= reader_.exposure_slots())
        problem(fmt::format("the frame at {:#x} of its strand names exposure slot {}; there are {}", address, e.slot,
                            reader_.exposure_slots()));
      word = head->parent;
    }
  }

  const pool_reader& reader_;
  const std::vector<worker_state>& workers_;
  const std::uint64_t serial_;
  std::unordered_set<std::uint64_t> seen_;
};

void check_data_plane(const pool_report& report, std::vector<std::string>& problems) {
  if (report.in_use()) {
    fmt::print("  in use by {}: what changes meanwhile (restart records, frames) is not checked\n", users_in_words(report));
    return;
  }
  const pool_reader reader(report);
  const auto workers = reader.workers();
  const auto running = std::ranges::find(report.jobs, layout::job_state::running, &layout::job_entry::state);
  strand_check check(reader, workers, running == report.jobs.end() ? 0 : running->serial);
  for (const worker_state& w : workers) check.worker(w);
  for (std::uint32_t s = 0; s < reader.exposure_slots(); ++s)
    if (const exposure_words e = reader.exposure(s);
        e.generation > detail::max_generation || e.right >> 32 > e.generation)
      check.problems.push_back(fmt::format("exposure slot {}: its words contradict each other", s));
  const detail::heap_report heap = reader.heap(running == report.jobs.end() ? 0 : running->serial);
  std::size_t lists = 0;
  auto wrong = reader.list_problems(running == report.jobs.end() ? 0 : running->serial, lists);
  wrong.insert(wrong.end(), heap.problems.begin(), heap.problems.end());
  for (const std::string& p : wrong) problems.push_back("heap: " + p);
  if (wrong.empty())
    fmt::print("  heap of {} block{}, {} list{} of changes: good\n", heap.blocks, heap.blocks == 1 ? "" : "s", lists, lists == 1 ? "" : "s");
  problems.insert(problems.end(), check.problems.begin(), check.problems.end());
  if (check.problems.empty())
    fmt::print("  restart records of {} worker slots, {} exposure slots, {} frames in {} strand{}: good\n",
               workers.size(), reader.exposure_slots(), check.frames(), check.strands, check.strands == 1 ? "" : "s");
}

void check(const std::string& file) {
  const pool_report report = inspect(file);
  fmt::print("{}\n", file);
  std::vector<std::string> problems;
  for (const auto& f : report.failed) problems.push_back(fmt::format("{}: {}", f.check, f.message));
  if (problems.empty())
    fmt::print("  header, control root, segments and {} job{}: good\n", report.jobs.size(),
               report.jobs.size() == 1 ? "" : "s");
  if (report.facts && report.facts->part != 0)
    fmt::print("  part {} of a pool: what is in it is checked with its first part, {}\n", report.facts->part, report.facts->parts[0].file.string());
  else if (report.facts)
    check_data_plane(report, problems);
  for (const auto& p : problems) fmt::print("  PROBLEM: {}\n", p);
  if (!problems.empty()) throw exit_status{1};
}

}  // namespace

void add_check(CLI::App& app) {
  auto file = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("check", "Verify a pool without changing it");
  command->footer("Exit status 0 if everything is good, 1 if there is a problem; each is told in words.");
  command->add_option("FILE", *file, "Pool file")->required();
  command->callback([file] { check(*file); });
}

}  // namespace ppmm::tools
