/// Applies patches to a pool's data plane and job catalog, with checksums that fit where that is asked for: what a
/// stranger could write who knows the format.
#pragma once

#include "patch.hpp"
#include "scene.hpp"

#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/verify.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace ppmm::fuzz {

class forger {
 public:
  /// `memory`: the whole file, mapped anywhere. The frames' addresses are those of the pool when it is open.
  forger(std::byte* memory, std::uint64_t base_address, std::uint64_t root_offset, std::vector<std::uint64_t> frames)
      : memory_(memory),
        base_address_(base_address),
        root_(reinterpret_cast<layout::control_root*>(memory + root_offset)),
        frames_(std::move(frames)) {
    const std::uint64_t plane = root_->segments[0].offset;
    workers_ = reinterpret_cast<detail::worker_slot*>(memory + plane);
    slots_ = reinterpret_cast<detail::exposure_slot*>(memory + plane + scene_workers * sizeof(detail::worker_slot));
    const std::uint64_t fixed = scene_workers * (sizeof(detail::worker_slot) +
                                                 detail::exposure_slots_per_worker * sizeof(detail::exposure_slot));
    const std::uint64_t first = base_address + plane + fixed;
    chunks_ = (first + detail::chunk_bytes - 1) / detail::chunk_bytes * detail::chunk_bytes - base_address;
  }

  static constexpr unsigned kinds = 8;

  void apply(const patch& p) {
    switch (p.where % kinds) {
      case 0:
        return record(p);
      case 1:
        return copy_record(p);
      case 2:
        return raw(p);
      case 3:
        return owner(p);
      case 4:
        return exposure(p);
      case 5:
        return frame(p);
      case 6:
        return new_frame(p);
      default:
        return job(p);
    }
  }

 private:
  /// What a word becomes: arithmetic, or something that is well-formed.
  std::uint64_t word(const patch& p, std::uint64_t old) const {
    const auto small = [&](unsigned shift) { return static_cast<std::uint32_t>(p.value >> shift & 0xf); };
    const detail::exposure e{slot_number(static_cast<std::uint8_t>(p.value)), p.extra};
    const detail::identity who{small(8), small(12)};
    const std::uint64_t address = frames_.empty() ? 0 : frames_[p.value % frames_.size()];
    switch (p.how % 16) {
      case 4:
      case 5:
        return address + (p.value >> 8 & 1) + (p.extra % 16 == 15 ? 64 : 0);
      case 6:
        return base_address_ + chunks_ + p.value % (std::uint64_t{8} << 16) + p.extra % 2;
      case 7:
        return detail::exposure_word(e);
      case 8:
        return detail::right_word(p.extra, static_cast<detail::right_state>(p.value & 3), who);
      case 9:
        return detail::join_word(p.extra, static_cast<detail::join_state>(p.value & 3),
                                 static_cast<detail::side>(p.value >> 2 & 1));
      case 10:
        return detail::exposed_link(e);
      case 11:
        return p.value % 2 == 0 ? frame_types()[p.value / 2 % frame_types().size()]
                                : task_types()[p.value / 2 % task_types().size()]->id;
      case 12:
        return (p.value & 1) == 0 ? detail::owner_word(p.extra % 32) : detail::robbed_word(p.extra % 32, who);
      case 13:
        return detail::identity_word(who);
      case 14:
        return std::uint64_t{small(0)} << 32 | small(4);
      default:
        return changed(old, static_cast<word_change>(p.how % word_changes), p.value);
    }
  }

  static std::uint32_t slot_number(std::uint8_t object) {
    return (object & 7u) + detail::exposure_slots_per_worker * (object >> 3 & 7u);
  }

  detail::restart newest(unsigned worker) const {
    detail::restart r[2];
    const bool first = detail::read_record(workers_[worker].records[0], r[0]);
    const bool second = detail::read_record(workers_[worker].records[1], r[1]);
    if (first && (!second || r[0].sequence > r[1].sequence)) return r[0];
    if (second) return r[1];
    detail::restart fresh;
    fresh.sequence = 1;
    fresh.job = job_serial;
    std::memset(fresh.arguments, 0, sizeof fresh.arguments);
    return fresh;
  }
  void write(unsigned worker, const detail::restart& r) {
    std::size_t bytes = 0;
    detail::write_record(workers_[worker], r, bytes);
  }

  void record(const patch& p) {
    const unsigned worker = p.object % scene_workers;
    detail::restart r = newest(worker);
    switch (p.field % 10) {
      case 0: {
        r.kind = static_cast<detail::record_kind>(p.value % 8);
        break;
      }
      case 1:
      case 2:
        r.at = word(p, r.at);
        break;
      case 3:
        r.type = word(p, r.type);
        break;
      case 4:
        r.progress = word(p, r.progress);
        break;
      case 5:
        r.sequence = word(p, r.sequence);
        break;
      case 6:
        r.job = word(p, r.job);
        break;
      case 7:
        r.bytes = static_cast<std::uint16_t>(word(p, r.bytes) % (detail::max_argument_bytes + 1));
        break;
      case 8:
        change_bytes(r.arguments + p.extra % (detail::max_argument_bytes / 8) * 8, 8,
                     static_cast<word_change>(p.how % word_changes), p.value);
        break;
      default: {  // a task of another type, with as many arguments as it has
        const detail::node_type* type = task_types()[p.value % task_types().size()];
        r.kind = detail::record_kind::run;
        r.type = type->id;
        r.bytes = static_cast<std::uint16_t>(type->bytes);
      }
    }
    write(worker, r);
  }
  void copy_record(const patch& p) {
    detail::restart r = newest(p.extra % scene_workers);
    r.sequence = newest(p.object % scene_workers).sequence + 1;
    write(p.object % scene_workers, r);
  }
  void raw(const patch& p) {
    auto* at = reinterpret_cast<std::byte*>(workers_ + p.object % scene_workers);
    change_bytes(at + p.extra % (sizeof(detail::worker_slot) / 8) * 8, 8,
                 static_cast<word_change>(p.how % word_changes), p.value);
  }
  void owner(const patch& p) {
    auto& owner = workers_[p.object % scene_workers].owner;
    owner.store(word(p, owner.load()));
  }
  void exposure(const patch& p) {
    detail::exposure_slot& s = slots_[slot_number(p.object)];
    switch (p.field % 4) {
      case 0:
        return s.generation.store(word(p, s.generation.load()));
      case 1:
        return s.right.store(word(p, s.right.load()));
      case 2:
        return s.join.store(word(p, s.join.load()));
      default:
        return s.frame_address.store(word(p, s.frame_address.load()));
    }
  }
  void put_word(std::byte* at, const patch& p) const {
    std::uint64_t w = 0;
    std::memcpy(&w, at, sizeof w);
    w = word(p, w);
    std::memcpy(at, &w, sizeof w);
  }
  void frame(const patch& p) {
    if (frames_.empty()) return new_frame(p);
    std::byte* at = memory_ + (frames_[p.object % frames_.size()] - base_address_);
    put_word(at + p.field % 16 * 8, p);
  }
  void new_frame(const patch& p) {
    const std::uint64_t offset = chunks_ + p.object % 8 * detail::chunk_bytes + p.field * detail::frame_alignment;
    detail::frame f{};
    std::memcpy(&f, memory_ + offset, sizeof f);
    f.type = frame_types()[p.extra % frame_types().size()];
    f.link = detail::link_flag::committed;
    f.parent = word(p, f.parent);
    std::memcpy(memory_ + offset, &f, sizeof f);
    frames_.push_back(base_address_ + offset);
  }
  void job(const patch& p) {
    layout::job_entry& job = root_->jobs[p.object % 4];
    auto* bytes = reinterpret_cast<std::byte*>(&job);
    const bool named = p.field % 2 == 0;  // one of the fields that count
    static constexpr std::array<std::size_t, 8> fields = {
        offsetof(layout::job_entry, state),  offsetof(layout::job_entry, result_size),
        offsetof(layout::job_entry, name),   offsetof(layout::job_entry, workers),
        offsetof(layout::job_entry, serial), offsetof(layout::job_entry, region),
        offsetof(layout::job_entry, input),  offsetof(layout::job_entry, resumed)};
    const std::size_t at = named ? fields[p.extra % fields.size()] : p.extra % (sizeof job / 4) * 4;
    change_bytes(bytes + at, named && at % 8 == 0 && at > 300 ? 8 : 4, static_cast<word_change>(p.how % word_changes),
                 p.value);
    if (p.how < 0xf0) job.checksum = detail::checksum_of(job);
  }

  std::byte* memory_;
  std::uint64_t base_address_;
  layout::control_root* root_;
  std::vector<std::uint64_t> frames_;  // addresses
  detail::worker_slot* workers_;
  detail::exposure_slot* slots_;
  std::uint64_t chunks_;  // offset of the first
};

}  // namespace ppmm::fuzz
