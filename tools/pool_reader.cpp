#include "pool_reader.hpp"

#include "job_words.hpp"

#include <ppmm/alloc/heap.hpp>
#include <ppmm/sched/image.hpp>
#include <ppmm/sched/record.hpp>
#include <ppmm/sched/type.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <span>
#include <system_error>
#include <unordered_set>

namespace ppmm::tools {

using detail::record_kind;

pool_reader::pool_reader(const pool_report& report) : facts_(*report.facts), file_(report.file.string()), in_use_(report.holder.has_value()) {
  fd_ = open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw error(fmt::format("cannot open {}: {}", file_, std::system_category().message(errno)));
}

pool_reader::~pool_reader() { close(fd_); }

void pool_reader::read(std::uint64_t offset, void* to, std::size_t bytes) const {
  if (pread(fd_, to, bytes, static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes))
    throw error(fmt::format("cannot read {} bytes of {} at {}", bytes, file_, offset));
}

std::vector<worker_state> pool_reader::workers() const {
  const auto slot = std::make_unique<detail::worker_slot>();
  std::vector<worker_state> all;
  for (unsigned i = 0; i < facts_.max_workers; ++i) {
    read(facts_.segments.at(0).offset + i * sizeof *slot, slot.get(), sizeof *slot);
    worker_state w;
    w.slot = i;
    w.owner = slot->owner.load();
    w.live_when = slot->live_when.load();
    w.live_progress = slot->live_progress.load();
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
  read(facts_.segments.at(0).offset + facts_.max_workers * sizeof(detail::worker_slot) +
           slot * sizeof(detail::exposure_slot),
       &words, sizeof words);
  return words;
}

std::optional<frame_head> pool_reader::frame(std::uint64_t address) const {
  if (address % detail::frame_alignment != 0 || address < facts_.base_address) return std::nullopt;
  const std::uint64_t offset = address - facts_.base_address;
  const bool inside = std::ranges::any_of(facts_.segments, [&](const layout::segment_entry& s) {
    return offset >= s.offset && offset - s.offset <= s.size - sizeof(frame_head);
  });
  if (!inside) return std::nullopt;
  frame_head head{};
  read(offset, &head, sizeof head);
  return head;
}

/// The pool, mapped for reading: chunks are aligned to their size where the pool is mapped, so here as well.
struct pool_reader::mapped {
  explicit mapped(const pool_reader& reader) : reserved(reader.facts_.size + detail::chunk_bytes) {
    const auto fail = [&] { throw error(fmt::format("cannot map {}: {}", reader.file_, std::system_category().message(errno))); };
    const std::size_t size = reader.facts_.size;
    room = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) fail();
    base = static_cast<std::byte*>(room) + (reader.facts_.base_address - reinterpret_cast<std::uintptr_t>(room)) % detail::chunk_bytes;
    if (mmap(base, size, PROT_READ, MAP_SHARED | MAP_FIXED, reader.fd_, 0) == MAP_FAILED) {
      const int why = errno;
      munmap(room, reserved);
      errno = why;
      fail();
    }
    std::vector<std::span<std::byte>> segments;
    for (const layout::segment_entry& s : reader.facts_.segments) segments.emplace_back(base + s.offset, s.size);
    place = detail::heap_place_in(base, size, segments, reader.facts_.max_workers);
  }
  ~mapped() { munmap(room, reserved); }
  mapped(const mapped&) = delete;
  mapped& operator=(const mapped&) = delete;

  std::size_t reserved;
  void* room;
  std::byte* base;
  detail::heap_place place;
};

detail::heap_report pool_reader::heap(std::uint64_t running, const std::function<void(const detail::heap_block&)>& on_block) const {
  const mapped pool(*this);
  const medium nothing{};
  const detail::chunk_space chunks(pool.place, nothing, running);
  const auto next_written = [&](const void* p) -> const void* {
    const off_t at = lseek(fd_, static_cast<const std::byte*>(p) - pool.base, SEEK_DATA);
    return at < 0 ? nullptr : pool.base + at;
  };
  return detail::inspect_heap(chunks, {on_block, next_written, facts_.base_address - reinterpret_cast<std::uintptr_t>(pool.base)});
}

std::vector<std::string> pool_reader::list_problems(std::uint64_t running, std::size_t& lists) const {
  std::vector<std::string> problems;
  if (in_use_) return problems;  // they change
  const mapped pool(*this);
  const medium nothing{};
  const detail::chunk_space chunks(pool.place, nothing, running);
  std::unordered_set<std::uint32_t> in_lists;
  for (const worker_state& w : workers()) {
    if (!w.record || w.record->job != running || !w.record->has_list || detail::is_robbed(w.owner)) continue;
    ++lists;
    const auto& slot = *reinterpret_cast<const detail::worker_slot*>(pool.base + facts_.segments.at(0).offset + w.slot * sizeof(detail::worker_slot));
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
      return fmt::format("about to run {}", readable_task(type->readable_name()));
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
