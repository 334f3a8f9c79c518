/// A closed pool file whose bytes are changed and put back: libpmemobj's structures, the control root, the data plane,
/// the length.
#pragma once

#include "finding.hpp"
#include "forger.hpp"
#include "patch.hpp"
#include "scene.hpp"
#include "scratch_pool.hpp"

#include <ppmm/pmem/checksum.hpp>
#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/pmemobj_format.hpp>
#include <ppmm/pmem/verify.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace ppmm::fuzz {

namespace format = pmemobj_format;

class pool_bytes {
 public:
  pool_bytes() : file_(scene_pool) {
    {
      pool& p = file_.opened();
      run_options how;
      how.workers = 1;
      how.pin = false;
      run(p, job_name, root_task(), how);
      layout::job_entry entry = *p.find_job(job_name);
      std::strcpy(entry.name, "finished");
      p.put_job(entry);
      std::strcpy(entry.name, "failed");
      std::strcpy(entry.text, "a reason");
      entry.state = layout::job_state::failed;
      p.put_job(entry);
      entry = *p.find_job(job_name);
      entry.state = layout::job_state::running;
      entry.serial = job_serial;
      p.put_job(entry);
      base_address_ = reinterpret_cast<std::uint64_t>(p.base());
      const std::uint64_t plane = static_cast<std::uint64_t>(p.segments()[0].data() - p.base());
      for (unsigned s = 0; s < stage::scenes; ++s) {  // all of them, one after the other: their pages are kept
        file_.wipe(plane, p.segments()[0].size());
        scenes_[s] = stage(p).build(s);
        for (const range& r : scene_ranges(base_address_ + plane, p.segments()[0].size())) {
          const std::byte* from = p.segments()[0].data() + r.offset;
          planes_[s].insert(planes_[s].end(), from, from + r.bytes);
        }
      }
    }
    file_.close();
    size_ = pool::min_size;
    void* at = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.fd(), 0);
    if (at == MAP_FAILED) finding("no mapping of the pool file");
    bytes_ = static_cast<std::byte*>(at);
    std::memcpy(&descriptor_, bytes_ + format::descriptor_offset, sizeof descriptor_);
    plane_ = root().segments[0].offset;
    plane_bytes_ = root().segments[0].size;
    control_.assign(bytes_, bytes_ + plane_);
  }

  std::string path() const { return file_.path(); }

  /// The file as it was made, with that scene in it.
  void put_back(unsigned which) {
    const unsigned s = which % stage::scenes;
    if (cut_) {
      if (::ftruncate(file_.fd(), static_cast<off_t>(size_)) != 0) finding("the pool file cannot grow again");
      cut_ = false;
      std::memcpy(bytes_, control_.data(), control_.size());
    }
    for (const auto& [offset, bytes] : touched_) std::memcpy(bytes_ + offset, control_.data() + offset, bytes);
    touched_.clear();
    const std::byte* from = planes_[s].data();
    for (const range& r : scene_ranges(base_address_ + plane_, plane_bytes_)) {
      std::memcpy(bytes_ + plane_ + r.offset, from, r.bytes);
      from += r.bytes;
    }
    scene_ = s;
  }
  /// libpmemobj's part and the catalog are as forge() left them. Puts them back as they were before that.
  bool unchanged_since_forged() {
    for (std::size_t i = 0; i < touched_.size(); ++i)
      if (const auto& [offset, bytes] = touched_[i];
          (!cut_ || offset + bytes <= cut_at_) && std::memcmp(bytes_ + offset, forged_[i].data(), bytes) != 0)
        return false;
    put_back(scene_);
    return !put_all_back();
  }
  /// The same after somebody had the file open: any byte may have changed. False: none has.
  bool put_all_back() {
    constexpr std::size_t page = 4096;
    bool changed = false;
    for (std::size_t at = 0; at < control_.size(); at += page) {
      const std::size_t n = std::min(page, control_.size() - at);
      if (std::memcmp(bytes_ + at, control_.data() + at, n) == 0) continue;
      std::memcpy(bytes_ + at, control_.data() + at, n);
      changed = true;
    }
    return changed;
  }

  void forge(const std::vector<patch>& patches, unsigned flags) {
    std::vector<std::uint64_t> frames;
    for (const detail::frame* f : scenes_[scene_].frames) frames.push_back(reinterpret_cast<std::uint64_t>(f));
    forger hand(bytes_, base_address_, descriptor_.root_offset, frames);
    note(descriptor_.root_offset + offsetof(layout::control_root, jobs), sizeof(layout::control_root::jobs));
    std::uint64_t length = size_;
    for (const patch& p : patches) {
      if (p.where % 2 == 0) {
        patch data = p;
        data.where = p.where / 2;
        hand.apply(data);
      } else {
        control(p, length);
      }
    }
    hand.finish();
    put_sums_right(flags);
    forged_.clear();
    for (const auto& [offset, bytes] : touched_) forged_.emplace_back(bytes_ + offset, bytes_ + offset + bytes);
    if (length != size_) {
      if (::ftruncate(file_.fd(), static_cast<off_t>(length)) != 0) finding("the pool file cannot be cut");
      cut_ = true;
      cut_at_ = length;
    }
  }

 private:
  struct range {
    std::uint64_t offset;
    std::size_t bytes;
  };
  /// All that scenes and patches write of the data plane: what stands there once, and the beginnings of some chunks.
  static std::array<range, 1 + forger::chunks_with_content> scene_ranges(std::uint64_t plane_address, std::uint64_t plane_bytes) {
    const std::span<std::byte> plane(reinterpret_cast<std::byte*>(plane_address), plane_bytes);
    const detail::part_segments part(&plane, 1);
    const auto place = detail::heap_place_in(plane.data(), plane_bytes, std::span(&part, 1), scene_workers);
    const std::uint64_t first = reinterpret_cast<std::uint64_t>(place.address(place.ranges[0].first)) - plane_address;
    std::array<range, 1 + forger::chunks_with_content> all{{{0, first}}};
    for (std::size_t k = 0; k < forger::chunks_with_content; ++k) all[k + 1] = {first + k * detail::chunk_bytes, forger::content_bytes};
    return all;
  }

  layout::control_root& root() { return *reinterpret_cast<layout::control_root*>(bytes_ + descriptor_.root_offset); }

  void note(std::uint64_t offset, std::size_t bytes) { touched_.push_back({offset, bytes}); }

  void change(std::uint64_t offset, const patch& p, std::uint64_t value) {
    static constexpr std::array<std::size_t, 4> widths = {8, 4, 1, 8};
    const std::size_t width = widths[p.how / 4 % widths.size()];
    note(offset, width);
    change_bytes(bytes_ + offset, width, static_cast<word_change>(p.how % word_changes), value);
  }

  /// Changes libpmemobj's structures and the control root, field by field.
  void control(const patch& p, std::uint64_t& length) {
    const auto words = [&](std::size_t n) { return p.extra % (n / 8) * 8; };
    const std::uint64_t lane =
        format::lanes_offset + (p.object < 0xf0 ? p.object % 4 : p.extra % format::lane_count) * format::lane_bytes;
    static constexpr std::array<std::size_t, 3> logs = {
        0, sizeof(format::log_header) + format::internal_redo_bytes,
        2 * sizeof(format::log_header) + format::internal_redo_bytes + format::external_redo_bytes};
    const std::uint64_t catalog = descriptor_.root_offset + offsetof(layout::control_root, jobs);
    switch (p.where / 2 % 8) {
      case 0: {
        static constexpr std::array<std::size_t, 8> fields = {0, 8, 12, 16, 24, 40, 56, 4024};
        return change(p.field % 4 == 0 ? words(4096) : fields[p.extra % fields.size()], p, p.value);
      }
      case 1: {
        static constexpr std::array<std::size_t, 10> fields = {0, 1024, 1032, 1040, 2040, 2048, 2056, 2064, 2072, 2080};
        return change(format::descriptor_offset + (p.field % 4 == 0 ? words(2088) : fields[p.extra % fields.size()]), p,
                      p.value);
      }
      case 2:  // a log's header
        return change(lane + logs[p.field % 3] + p.extra % 8 * 8, p, p.value);
      case 3: {  // an entry of an undo log, that names the catalog or anything else
        const std::uint64_t at = lane + logs[2] + sizeof(format::log_header) + p.extra % 4 * 512;
        const std::uint64_t target =
            p.field % 2 == 0 ? catalog + p.value % sizeof(layout::control_root::jobs) : p.value;
        const format::undo_entry entry{target | format::operation_copy << format::operation_shift, 0, p.value >> 48};
        note(at, 512);
        std::memcpy(bytes_ + at, &entry, sizeof entry);
        undo_at_ = lane + logs[2];
        return;
      }
      case 4:
        return change(format::heap_offset + (p.field % 4 == 0 ? words(1024) : p.extra % 6 * 8), p, p.value);
      case 5:  // a zone's header, or chunk headers
        return change(format::zone_offset(0) +
                          (p.field % 4 == 0 ? p.extra % 2 * 4 : sizeof(format::zone_header) + p.extra % 64 * 4),
                      p, p.value);
      case 6: {
        static constexpr std::array<std::size_t, 12> fields = {0, 8, 12, 16, 24, 32, 36, 40, 48, 56, 64, 1064};
        const std::size_t at =
            p.field % 4 == 0 ? words(offsetof(layout::control_root, jobs)) : fields[p.extra % fields.size()];
        if (p.field % 8 == 5) {  // a part's name
          const std::size_t name = offsetof(layout::control_root, names) + p.extra % 2 * sizeof(layout::part_name);
          return change(descriptor_.root_offset + name + p.value % sizeof(layout::part_name) / 8 * 8, p, p.value);
        }
        return change(descriptor_.root_offset + at, p, p.value);
      }
      default:
        if (p.field % 2 == 0)  // where the root says it is: its header in the heap
          return change(descriptor_.root_offset - 16 + p.extra % 2 * 8, p, p.value);
        length = p.field % 4 == 1 ? p.value % (size_ + 8192) : size_ - p.value % 8192 + 4096;
    }
  }

  /// All but those that the flags except.
  void put_sums_right(unsigned flags) {
    if ((flags & 1) == 0) {
      format::pool_header h;
      std::memcpy(&h, bytes_, sizeof h);
      h.checksum = format::checksum_of(h);
      note(0, sizeof h);
      std::memcpy(bytes_, &h, sizeof h);
    }
    if ((flags & 2) == 0) {
      format::pool_descriptor d;
      std::memcpy(&d, bytes_ + format::descriptor_offset, sizeof d);
      d.checksum = format::checksum_of(d);
      note(format::descriptor_offset, sizeof d);
      std::memcpy(bytes_ + format::descriptor_offset, &d, sizeof d);
    }
    if ((flags & 4) == 0) {
      format::heap_header h;
      std::memcpy(&h, bytes_ + format::heap_offset, sizeof h);
      h.checksum = format::checksum_of(h);
      note(format::heap_offset, sizeof h);
      std::memcpy(bytes_ + format::heap_offset, &h, sizeof h);
    }
    if ((flags & 8) == 0) {
      note(descriptor_.root_offset, offsetof(layout::control_root, jobs));
      note(descriptor_.root_offset + offsetof(layout::control_root, names), sizeof(layout::control_root::names));
      root().checksum = detail::checksum_of(root());
      for (layout::part_name& n : root().names) n.checksum = detail::checksum_of(n);
    }
    if ((flags & 16) == 0 && undo_at_ != 0) sum_undo(undo_at_);
    undo_at_ = 0;
  }

  /// The checksum of each entry of an undo log, as libpmemobj believes it: over whole lines, and on over the
  /// generation.
  void sum_undo(std::uint64_t log) {
    format::log_header header;
    std::memcpy(&header, bytes_ + log, sizeof header);
    std::byte* data = bytes_ + log + sizeof header;
    note(log + sizeof header, format::undo_bytes);
    for (std::size_t at = 0; at + sizeof(format::undo_entry) <= format::undo_bytes;) {
      format::undo_entry entry;
      std::memcpy(&entry, data + at, sizeof entry);
      const std::uint64_t all = sizeof entry + std::min<std::uint64_t>(entry.size, format::undo_bytes);
      const std::size_t lines = std::min<std::uint64_t>((all + 63) / 64 * 64, format::undo_bytes - at);
      if (entry.offset == 0) return;
      const std::uint64_t sum =
          format::fletcher64(std::span(data + at, lines), offsetof(format::undo_entry, checksum), lines);
      auto low = static_cast<std::uint32_t>(sum), high = static_cast<std::uint32_t>(sum >> 32);
      for (const std::uint64_t word : {header.generation & 0xffff'ffff, header.generation >> 32}) {
        low += static_cast<std::uint32_t>(word);
        high += low;
      }
      entry.checksum = std::uint64_t{high} << 32 | low;
      std::memcpy(data + at, &entry, sizeof entry);
      at += lines;
    }
  }

  scratch_pool file_;
  std::uint64_t base_address_ = 0, size_ = 0, plane_ = 0, plane_bytes_ = 0;
  std::byte* bytes_ = nullptr;
  format::pool_descriptor descriptor_{};
  std::vector<std::byte> control_;  // up to the data plane, as it was made
  std::array<scene, stage::scenes> scenes_;
  std::array<std::vector<std::byte>, stage::scenes> planes_;
  std::vector<range> touched_;                  // since the last put_back
  std::vector<std::vector<std::byte>> forged_;  // what stands there
  std::uint64_t undo_at_ = 0;                   // the log that was changed last
  unsigned scene_ = 0;
  bool cut_ = false;
  std::uint64_t cut_at_ = 0;
};

}  // namespace ppmm::fuzz
