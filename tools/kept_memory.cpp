#include "kept_memory.hpp"

#include <ppmm/alloc/heap.hpp>
#include <ppmm/pmem/persist.hpp>
#include <ppmm/sched/image.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>  // flock
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <vector>

namespace ppmm::tools {

struct kept_memory::mapped {
  int fd = -1;
  std::byte* base = nullptr;
  std::size_t size = 0;
  detail::heap_place place;
  std::uint64_t running = 0;  // serial of the unfinished job

  mapped() = default;
  mapped(const mapped&) = delete;
  mapped& operator=(const mapped&) = delete;
  ~mapped() {
    if (base != nullptr) munmap(base, size);
    if (fd >= 0) close(fd);
  }
};

kept_memory::kept_memory(const std::filesystem::path& pool) : mapped_(std::make_unique<mapped>()) {
  mapped& m = *mapped_;
  const auto reason = [] { return std::system_category().message(errno); };
  static_cast<void>(inspect(pool));  // before it is opened: it may be no regular file
  m.fd = open(pool.c_str(), O_RDONLY | O_CLOEXEC);
  if (m.fd < 0) throw error(fmt::format("cannot open {}: {}", pool.string(), reason()));
  // The lock that libpmemobj takes for itself alone.
  if (flock(m.fd, LOCK_SH | LOCK_NB) != 0) {
    const auto holder = inspect(pool).holder;
    throw pool_in_use(fmt::format("{} is in use{}; what it keeps can be read when that is done", pool.string(),
                                  holder ? fmt::format(" by process {}", *holder) : std::string()));
  }
  const pool_report report = inspect(pool);  // nobody changes it any more
  if (!report.ok() || !report.facts)
    throw corrupt_pool(
        fmt::format("{} is damaged: {}; `ppmm check` tells more", pool.string(),
                    report.failed.empty() ? "its control root cannot be read" : report.failed.front().message));
  const pool_facts& facts = *report.facts;
  void* const at = reinterpret_cast<void*>(facts.base_address);
  void* const there = mmap(at, facts.size, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, m.fd, 0);
  if (there == MAP_FAILED)
    throw address_taken(
        fmt::format("{} cannot be mapped at its address {:#x}: {}", pool.string(), facts.base_address, reason()));
  m.base = static_cast<std::byte*>(there);
  m.size = facts.size;
  if (there != at)
    throw address_taken(fmt::format("{} cannot be mapped at its address {:#x}", pool.string(), facts.base_address));
  std::vector<std::span<std::byte>> segments;
  for (const layout::segment_entry& s : facts.segments) segments.emplace_back(m.base + s.offset, s.size);
  m.place = detail::heap_place_in(m.base, m.size, segments, facts.max_workers);
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
