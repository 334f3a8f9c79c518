#include "kept_memory.hpp"

#include "mapped_parts.hpp"

#include <ppmm/alloc/heap.hpp>
#include <ppmm/pmem/persist.hpp>

#include <fmt/format.h>
#include <sys/file.h>  // flock

#include <algorithm>
#include <optional>

namespace ppmm::tools {

/// Of all parts, against jobs.
struct kept_memory::mapped {
  explicit mapped(const pool_facts& facts) : files(facts) {}
  part_files files;
  std::optional<mapped_parts> parts;
  detail::heap_place place;
  std::uint64_t running = 0;  // serial of the unfinished job
};

kept_memory::kept_memory(const std::filesystem::path& pool) {
  const auto looked_at = [&] {
    pool_report report = inspect(pool);
    if (!report.ok() || !report.facts)
      throw corrupt_pool(
          fmt::format("{} is damaged: {}; `ppmm check` tells more", pool.string(),
                      report.failed.empty() ? "its control root cannot be read" : report.failed.front().message));
    if (report.facts->part != 0) throw part_mismatch(fmt::format("{} is part {} of a pool; name its first part: {}", pool.string(), report.facts->part, report.facts->parts[0].file.string()));
    return report;
  };
  mapped_ = std::make_unique<mapped>(*looked_at().facts);
  mapped& m = *mapped_;
  // The lock that libpmemobj takes for itself alone.
  for (std::size_t i = 0; i < m.files.facts().parts.size(); ++i)
    if (flock(m.files.fd(i).get(), LOCK_SH | LOCK_NB) != 0) {
      const auto holder = inspect(pool).holder;
      throw pool_in_use(fmt::format("{} is in use{}; what it keeps can be read when that is done", pool.string(),
                                    holder ? fmt::format(" by process {}", *holder) : std::string()));
    }
  const pool_report report = looked_at();  // nobody changes it any more
  if (!report.worked_in.empty())
    throw pool_in_use(fmt::format("{} is in use by worker processes whose coordinator is gone; what it keeps can be read when they are done", pool.string()));
  if (report.facts->size() != m.files.facts().size()) throw pool_in_use(fmt::format("{} has just been made larger; try again", pool.string()));
  m.parts.emplace(m.files, mapped_parts::where::own_address);
  m.place = m.parts->heap();
  const auto job = std::ranges::find(report.jobs, layout::job_state::running, &layout::job_entry::state);
  if (job != report.jobs.end()) m.running = job->serial;
}

kept_memory::~kept_memory() = default;

kept_memory::found kept_memory::find(std::string_view name, const char* type, std::uint64_t bytes) const {
  const medium nothing{};
  const detail::chunk_space chunks(mapped_->place, nothing, mapped_->running);
  const detail::root_value v = detail::typed_root(chunks, name, type, bytes);
  return {v.address, v.count};
}

}  // namespace ppmm::tools
