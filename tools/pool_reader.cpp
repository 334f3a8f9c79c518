#include "pool_reader.hpp"

#include "job_words.hpp"

#include <ppmm/alloc/heap.hpp>
#include <ppmm/pmem/slot_lock.hpp>
#include <ppmm/sched/names.hpp>
#include <ppmm/sched/record.hpp>
#include <ppmm/sched/type.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <unordered_set>

namespace ppmm::tools {

using detail::record_kind;

std::string workers_in_words(const pool_report& report) {
  const std::size_t n = report.worked_in.size();
  return fmt::format("{} worker process{}", n, n == 1 ? "" : "es");
}

std::string users_in_words(const pool_report& report) {
  const std::string workers = report.worked_in.empty() ? "" : workers_in_words(report);
  if (!report.holder) return workers.empty() ? "nobody" : workers + " whose coordinator is gone";
  return fmt::format("process {}{}{}", *report.holder, workers.empty() ? "" : " and ", workers);
}

pool_reader::pool_reader(const pool_report& report)
    : files_(*report.facts),
      places_{report.facts->max_workers, static_cast<unsigned>(report.facts->parts.size())},
      in_use_(report.in_use()) {}

std::uint64_t pool_reader::first_segment(unsigned worker) const { return files_.facts().parts[places_.part_of(worker)].segments.at(0).offset; }

std::vector<worker_state> pool_reader::workers() const {
  const auto slot = std::make_unique<detail::worker_slot>();
  const std::vector<std::uint32_t> held = detail::held_slots(files_.fd(0).get(), places_.workers);
  std::vector<worker_state> all;
  for (unsigned i = 0; i < places_.workers; ++i) {
    files_.read(places_.part_of(i), first_segment(i) + places_.worker(i), slot.get(), sizeof *slot);
    worker_state w;
    w.slot = i;
    w.owner = slot->owner.load();
    w.live_when = slot->live_when.load();
    w.live_progress = slot->live_progress.load();
    w.steals_of = slot->live_serial.load();
    for (std::size_t n = 0; n < numa::nearnesses; ++n) w.steals[n] = slot->live_steals_by[n].load();
    w.live_commits = slot->live_commits.load();
    w.live_commit_ticks = slot->live_commit_ticks.load();
    w.live_lines = slot->live_lines.load();
    w.live_steals = slot->live_steals.load();
    w.live_faults = slot->live_faults.load();
    w.live_type = slot->live_type.load();
    if (std::ranges::binary_search(held, i)) w.process = slot->live_pid.load();
    for (const detail::record& buffer : slot->records) {
      detail::restart r;
      if (read_record(buffer, r)) {
        if (!w.record || w.record->sequence < r.sequence) w.record = r;
      } else if (buffer.lines[0].sequence != 0) {
        w.damaged = true;
      }
    }
    if (w.record) w.damaged = false;  // the other was being written
    all.push_back(w);
  }
  return all;
}

exposure_words pool_reader::exposure(std::uint32_t slot) const {
  exposure_words words{};
  const unsigned worker = slot / detail::exposure_slots_per_worker;
  files_.read(places_.part_of(worker), first_segment(worker) + places_.exposures(worker) + slot % detail::exposure_slots_per_worker * sizeof(detail::exposure_slot),
              &words, sizeof words);
  return words;
}

std::optional<frame_head> pool_reader::frame(std::uint64_t address) const {
  if (address % detail::frame_alignment != 0) return std::nullopt;
  const pool_facts& facts = files_.facts();
  for (std::size_t i = 0; i < facts.parts.size(); ++i) {
    const std::uint64_t offset = address - facts.parts[i].base_address;
    const bool inside = address >= facts.parts[i].base_address && std::ranges::any_of(facts.parts[i].segments, [&](const layout::segment_entry& s) {
      return offset >= s.offset && offset - s.offset <= s.size - sizeof(frame_head);
    });
    if (!inside) continue;
    frame_head head{};
    files_.read(i, offset, &head, sizeof head);
    return head;
  }
  return std::nullopt;
}

detail::heap_report pool_reader::heap(std::uint64_t running, const std::function<void(const detail::heap_block&)>& on_block) const {
  const mapped_parts parts(files_, mapped_parts::where::anywhere);
  const medium nothing{};
  const detail::chunk_space chunks(parts.heap(), nothing, running);
  const auto next_written = [&](const void* p) -> const void* {
    for (std::size_t i = parts.part_of(static_cast<const std::byte*>(p)); i < files_.facts().parts.size(); ++i) {
      const std::byte* const from = std::max(static_cast<const std::byte*>(p), static_cast<const std::byte*>(parts.base(i)));
      if (const auto at = files_.next_written(i, static_cast<std::uint64_t>(from - parts.base(i)))) return parts.base(i) + *at;
    }
    return nullptr;
  };
  return detail::inspect_heap(chunks, {on_block, next_written, parts.moved()});
}

std::vector<std::string> pool_reader::list_problems(std::uint64_t running, std::size_t& lists) const {
  std::vector<std::string> problems;
  if (in_use_) return problems;  // they change
  const mapped_parts parts(files_, mapped_parts::where::anywhere);
  const medium nothing{};
  const detail::chunk_space chunks(parts.heap(), nothing, running);
  std::unordered_set<std::uint32_t> in_lists;
  for (const worker_state& w : workers()) {
    if (!w.record || w.record->job != running || !w.record->has_list || detail::is_robbed(w.owner)) continue;
    ++lists;
    const auto& slot = *reinterpret_cast<const detail::worker_slot*>(parts.base(places_.part_of(w.slot)) + first_segment(w.slot) + places_.worker(w.slot));
    try {
      static_cast<void>(detail::read_list(chunks, slot.redo[w.record->sequence & 1], w.record->sequence, in_lists));
    } catch (const corrupt_pool& e) {
      problems.push_back(fmt::format("worker {}: {}", w.slot, e.what()));
    }
  }
  return problems;
}

std::string describe(const detail::restart& r) {
  switch (r.kind) {
    case record_kind::idle:
      return "idle";
    case record_kind::run: {
      const detail::node_type* type = detail::find_type(r.type);
      if (type == nullptr) return fmt::format("about to run task {:#x}, which this program does not know", r.type);
      return fmt::format("about to run {}", function_of(type->readable_name()));
    }
    case record_kind::right:
      return fmt::format("about to run the right child of the frame at {:#x}", r.at);
    case record_kind::continuation:
      return fmt::format("about to run the continuation of the frame at {:#x}", r.at);
    case record_kind::steal:
      return fmt::format("about to steal from exposure slot {}", r.exposed().slot);
    case record_kind::arrive:
      return fmt::format("about to arrive at the join in exposure slot {}", r.exposed().slot);
    case record_kind::rob:
      return fmt::format("about to take over from worker {}", r.at >> 32);
    case record_kind::done:
      return "done: has the result";
  }
  return "unknown";
}

}  // namespace ppmm::tools
