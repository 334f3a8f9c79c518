/// Applies patches to a pool's data plane and job catalog, with checksums that fit where that is asked for: what a
/// stranger could write who knows the format. `finish` comes after the last.
#pragma once

#include "patch.hpp"
#include "scene.hpp"

#include <ppmm/alloc/heap.hpp>
#include <ppmm/pmem/checksum.hpp>
#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/verify.hpp>
#include <ppmm/sched/undo.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <typeinfo>
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
    // Where things are is asked with the pool's own addresses.
    const std::span<std::byte> segment(reinterpret_cast<std::byte*>(base_address + plane), root_->segments[0].size);
    const detail::part_segments part(&segment, 1);
    place_ = detail::heap_place_in(reinterpret_cast<std::byte*>(base_address), root_->file_size, std::span(&part, 1), scene_workers);
    chunks_ = reinterpret_cast<std::uint64_t>(place_.address(place_.ranges[0].first)) - base_address;
    table_ = reinterpret_cast<detail::chunk_entry*>(here(place_.ranges[0].table));
    control_ = reinterpret_cast<detail::heap_control*>(here(place_.control));
  }

  static constexpr unsigned kinds = 16;
  static constexpr unsigned undo_kind = 13;
  static constexpr std::uint32_t chunks_with_content = 8;  // patches write no others
  static constexpr std::size_t content_bytes = std::size_t{20} << 10;

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
      case 7:
        return job(p);
      case 8:
        return chunk(p);
      case 9:
        return block_memory(p);
      case 10:
        return bits(p);
      case 11:
        return list(p);
      case 12:
        return long_list(p);
      case undo_kind:
        return undo(p);
      case 14:
        return control(p);
      default:
        return heap_root(p);
    }
  }

  /// After the last patch: sequences and checksums of lists and undo logs fit, but where a patch wanted them wrong.
  void finish() {
    for (unsigned w = 0; w < scene_workers; ++w) {
      const detail::restart r = newest(w);
      if (r.has_list && !list_is_wrong_[w]) sum_list(workers_[w].redo[r.sequence & 1], r.sequence);
      if (!undo_is_wrong_[w]) sum_undo(w, r.sequence);
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
    if (p.how >= 0xf0) r.has_list = !r.has_list;
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

  // ---- the heap

  std::byte* here(const void* address) const { return memory_ + (reinterpret_cast<std::uintptr_t>(address) - base_address_); }
  std::uint32_t numbers() const { return place_.ranges[0].end - place_.ranges[0].first; }
  /// One of the first chunks, or of the last: those are taken first.
  std::uint32_t index(std::uint8_t object) const { return object % 16 < 12 ? object % 16u : numbers() - 1 - object % 4; }
  std::uint32_t number(std::uint32_t index) const { return place_.ranges[0].first + index; }
  std::uint64_t address(std::uint32_t index) const { return base_address_ + chunks_ + std::uint64_t{index} * detail::chunk_bytes; }
  std::byte* content(std::uint32_t index) const { return memory_ + chunks_ + index % chunks_with_content * detail::chunk_bytes; }

  /// An address that somebody might trust: of a block, a frame, a word of the runtime's, or none of the pool's.
  std::uint64_t some_address(const patch& p) const {
    const std::uint32_t k = index(static_cast<std::uint8_t>(p.value));
    const std::uint64_t plane = root_->segments[0].offset + base_address_;
    switch (p.how % 10) {
      case 0:
      case 1:
        return address(k) + (p.value >> 8) % 64 * 16;
      case 2:
        return address(k) + detail::class_layouts[(p.value >> 8) % detail::size_classes].first;
      case 3:
        return frames_.empty() ? address(0) : frames_[p.value % frames_.size()] + (p.value >> 8) % 8 * 8;
      case 4:
        return plane + p.value % (chunks_ - root_->segments[0].offset);
      case 5:
        return address(k) + (std::uint64_t{1} << (32 + p.value % 32));  // the number of its chunk, cut off, is right
      case 6:
        return base_address_ + p.value % root_->file_size;
      case 7:
        return address(k) - p.value % 256;
      case 8:
        return address(numbers()) - (p.value >> 8) % 256;
      default:
        return word(p, address(k));
    }
  }
  std::uint64_t some_bytes(const patch& p) const {
    static constexpr std::array<std::uint64_t, 8> sizes = {8, 16, 128, 4096, detail::chunk_bytes - 32, detail::chunk_bytes, 1, 2000};
    return p.extra % 16 < 12 ? sizes[p.extra % 8] : changed(8, word_change::interesting, p.extra);
  }
  std::uint64_t serial(const patch& p) const {
    static constexpr std::array<std::uint64_t, 6> serials = {0, kept_serial, job_serial - 1, job_serial, job_serial + 1,
                                                             job_serial + detail::serial_window};
    return p.value % 8 < 6 ? serials[p.value % 8] : word(p, job_serial);
  }

  void chunk(const patch& p) {
    detail::chunk_entry& e = table_[index(p.object)];
    const std::uint64_t old = e.word.load();
    switch (p.field % 6) {
      case 0:
        return e.word.store(word(p, old));
      case 1:
        return e.word.store(detail::chunk_word(p.how % 8 == 0 ? static_cast<std::uint32_t>(p.value >> 16) : detail::claim_of(old),
                                               static_cast<detail::chunk_kind>(p.value % 5), static_cast<unsigned>(p.value >> 8) % 44, p.extra % 9));
      case 2:
        return e.serial.store(serial(p));
      case 3:
        return e.chunks.store(p.how % 2 == 0 ? p.value % 16 : word(p, e.chunks.load()));
      case 4:
        return e.bits.alloc.store(word(p, e.bits.alloc.load()));
      default: {
        std::byte* at = reinterpret_cast<std::byte*>(&e) + p.extra % 8 * 8;
        change_bytes(at, 8, static_cast<word_change>(p.how % word_changes), p.value);
      }
    }
  }
  /// A superblock with some blocks, or an extent, as a run leaves them; what stood there before is what contradicts it.
  void block_memory(const patch& p) {
    const std::uint32_t k = index(p.object), claim = detail::claim_of(table_[k].word.load());
    detail::chunk_entry& e = table_[k];
    e.serial.store(serial(p));
    const std::uint64_t some = p.value >> 8;
    if (p.field % 2 == 0) {
      const unsigned c = p.extra % detail::size_classes;
      e.word.store(detail::chunk_word(claim, detail::chunk_kind::superblock, c, p.field % 8));
      auto* b = detail::class_layouts[c].bits_in_entry() ? &e.bits : reinterpret_cast<detail::block_bits*>(content(k));
      b->alloc.store(some);
      b->young.store(p.how % 4 == 0 ? some : 0);
      return;
    }
    const std::uint32_t n = p.how % 8 == 0 ? p.extra : 1 + p.extra % 12;
    e.chunks.store(n);
    e.bits.alloc.store(1);
    e.bits.free.store(p.how % 16 == 1 ? 1 : 0);
    e.word.store(detail::chunk_word(claim, detail::chunk_kind::extent));
    if (p.how % 4 == 1) return;  // the others say what they said
    for (std::uint32_t i = 1; i < n && k + i < numbers(); ++i) {
      table_[k + i].chunks.store(i);
      table_[k + i].word.store(detail::chunk_word(1, detail::chunk_kind::rest));
    }
  }
  void bits(const patch& p) {
    std::byte* at = p.field % 2 == 0 ? content(p.object) + p.extra % 256 * 8 : reinterpret_cast<std::byte*>(&table_[index(p.object)].bits) + p.extra % 3 * 8;
    change_bytes(at, 8, static_cast<word_change>(p.how % word_changes), p.value);
  }

  /// The area of the worker's newest record, which says from now on that it has a list.
  detail::redo_area& area_of(unsigned worker) {
    detail::restart r = newest(worker);
    if (!r.has_list) {
      r.has_list = true;
      write(worker, r);
      workers_[worker].redo[r.sequence & 1].count = 0;
      workers_[worker].redo[r.sequence & 1].next = 0;
    }
    return workers_[worker].redo[r.sequence & 1];
  }
  std::uint64_t list_word(const patch& p) const {
    const std::uint32_t k = index(static_cast<std::uint8_t>(p.value)), number = p.how % 8 == 7 ? p.extra & 0xff'ffff : this->number(k);
    const std::uint32_t claim = p.how % 8 == 6 ? p.extra : detail::claim_of(table_[k].word.load());
    return detail::redo_word(claim & detail::redo_claim_mask, number, static_cast<std::uint32_t>(p.value >> 8) & 0xfff, (p.extra & 1) != 0, (p.extra & 2) != 0);
  }
  void list(const patch& p) {
    const unsigned worker = p.object % scene_workers;
    detail::redo_area& area = area_of(worker);
    switch (p.field % 8) {
      case 0:
        area.count = word(p, area.count);
        return;
      case 1:
        area.next = p.how % 2 == 0 ? std::uint64_t{number(index(static_cast<std::uint8_t>(p.value)))} + 1 : word(p, area.next);
        return;
      case 2:
        list_is_wrong_[worker] = true;
        change_bytes(reinterpret_cast<std::byte*>(&area) + p.extra % 4 * 8, 8, static_cast<word_change>(p.how % word_changes), p.value);
        return;
      default:  // one word more
        area.words[area.count % detail::redo_words_in_area] = list_word(p);
        if (area.count < detail::redo_words_in_area) ++area.count;
    }
  }
  /// A list over several chunks: one after the other, in a circle, or to where nothing is; with more words than there are.
  void long_list(const patch& p) {
    const unsigned worker = p.object % scene_workers;
    detail::redo_area& area = area_of(worker);
    const std::uint32_t n = 1 + p.field % 4, from = static_cast<std::uint32_t>(p.value % chunks_with_content);
    area.next = std::uint64_t{number(from)} + 1;
    for (std::uint32_t i = 0; i < n; ++i) {
      const bool last = i + 1 == n;
      auto* words = reinterpret_cast<std::uint64_t*>(content(from + i));
      words[0] = !last ? std::uint64_t{number((from + i + 1) % chunks_with_content)} + 1 : p.how % 4 == 0 ? std::uint64_t{number(from)} + 1 : p.how % 4 == 1 ? p.extra : 0;
      for (std::size_t w = 1; w < 8; ++w) words[w] = list_word(p);
    }
    area.count = p.how % 3 == 0 ? word(p, area.count) : detail::redo_words_in_area + std::uint64_t{n - 1} * detail::redo_words_in_chunk + p.how / 4 % 8;
  }
  void sum_list(detail::redo_area& area, std::uint64_t sequence) const {
    area.sequence = sequence;
    std::vector<std::uint64_t> words(area.words, area.words + std::min<std::uint64_t>(area.count, detail::redo_words_in_area));
    std::uint64_t next = area.next;
    for (unsigned steps = 0; words.size() < area.count && steps < 2 * chunks_with_content; ++steps) {
      if (next == 0 || next - 1 < number(0) || next - 1 >= number(numbers())) return;
      const auto* from = reinterpret_cast<const std::uint64_t*>(here(place_.address(static_cast<std::uint32_t>(next - 1))));
      next = from[0];
      words.insert(words.end(), from + 1, from + 1 + std::min<std::uint64_t>(area.count - words.size(), detail::redo_words_in_chunk));
    }
    if (words.size() == area.count) area.checksum = detail::list_checksum(area, words);
  }

  void undo(const patch& p) {
    const unsigned worker = p.object % scene_workers;
    detail::worker_slot& w = workers_[worker];
    const std::uint32_t k = (p.object >> 3) % chunks_with_content;
    std::byte* at = content(k);
    switch (p.field % 8) {
      case 0:
        return w.undo.store(p.how % 2 == 0 ? std::uint64_t{number(index(static_cast<std::uint8_t>(p.value)))} + 1 : word(p, w.undo.load()));
      case 1:
        undo_is_wrong_[worker] = true;
        change_bytes(at + p.extra % 16 * 8, 8, static_cast<word_change>(p.how % word_changes), p.value);
        return;
      default: {
        w.undo.store(std::uint64_t{number(k)} + 1);
        if (p.field % 8 > 2)  // after those that are there
          while (at < content(k) + 4096 && reinterpret_cast<detail::undo_head*>(at)->sequence == undo_mark)
            at += sizeof(detail::undo_head) + std::min<std::size_t>((reinterpret_cast<detail::undo_head*>(at)->bytes + 31) / 32 * 32, 4096);
        detail::undo_head h{undo_mark, some_address(p), some_bytes(p), 0};
        if (p.field % 8 == 7) h = {undo_mark, 0, std::uint64_t{number(static_cast<std::uint32_t>(p.value) % (chunks_with_content + 1))} + 1, 0};
        std::memcpy(at, &h, sizeof h);
      }
    }
  }
  void sum_undo(unsigned worker, std::uint64_t sequence) const {
    std::uint64_t next = workers_[worker].undo.load();
    std::size_t offset = 0;
    for (unsigned steps = 0; steps < 32; ++steps) {
      if (next == 0 || next - 1 < number(0) || next - 1 >= number(chunks_with_content) || offset > content_bytes - sizeof(detail::undo_head)) return;
      std::byte* at = here(place_.address(static_cast<std::uint32_t>(next - 1))) + offset;
      detail::undo_head h;
      std::memcpy(&h, at, sizeof h);
      if (h.sequence != undo_mark && h.sequence != sequence) return;
      const bool leads_on = h.address == 0;
      if (!leads_on && h.bytes > detail::chunk_bytes - offset - sizeof h) return;
      h.sequence = sequence;
      const std::uint64_t words[] = {h.sequence, h.address, h.bytes, worker};
      h.checksum = checksum(words, sizeof words) ^ (leads_on ? 0 : checksum(at + sizeof h, h.bytes));
      std::memcpy(at, &h, sizeof h);
      if (leads_on) {
        next = h.bytes;
        offset = 0;
      } else {
        offset += sizeof h + (h.bytes + 31) / 32 * 32;
      }
    }
  }

  void control(const patch& p) {
    detail::heap_control& c = *control_;
    switch (p.field % 3) {
      case 0:
        return c.newest.store(p.how % 2 == 0 ? serial(p) : word(p, c.newest.load()));
      case 1:
        return c.first.store(p.how % 2 == 0 ? serial(p) : word(p, c.first.load()));
      default:
        change_bytes(reinterpret_cast<std::byte*>(&c.kept[p.extra % 2 == 0 ? 0 : p.extra % c_kept_words]), 8,
                     static_cast<word_change>(p.how % word_changes), p.value);
    }
  }
  void heap_root(const patch& p) {
    detail::root_slot& r = control_->roots[p.object < 0xc0 ? p.object % 2 : p.object % detail::max_roots];
    detail::root_version& v = r.versions[p.extra >> 8 & 1];
    switch (p.field % 8) {
      case 0:
        return v.serial.store(serial(p));
      case 1:
      case 2:
        return v.address.store(some_address(p));
      case 3:
        return v.count.store(p.how % 2 == 0 ? some_bytes(p) / 8 : word(p, v.count.load()));
      case 4:
        return v.type.store(word(p, v.type.load()));
      case 5:
        return v.bytes.store(p.how % 2 == 0 ? p.value % 17 : word(p, v.bytes.load()));
      case 6:
        change_bytes(reinterpret_cast<std::byte*>(r.name) + p.extra % 8 * 8, 8, static_cast<word_change>(p.how % word_changes), p.value);
        return;
      default: {  // a good one, but for where it is and how much
        std::memset(r.name, 0, sizeof r.name);
        std::memcpy(r.name, root_name, std::strlen(root_name));
        v.address.store(some_address(p));
        v.count.store(some_bytes(p) / 8);
        v.type.store(detail::hash_of_name(typeid(fuzz::number).name()));
        v.bytes.store(8);
        v.serial.store(kept_serial);
      }
    }
  }

  static constexpr std::size_t c_kept_words = detail::serial_window / 64;
  static constexpr std::uint64_t undo_mark = 0x5050'4d4d'756e'646f;  // the sequence of an entry until finish()

  std::byte* memory_;
  std::uint64_t base_address_;
  layout::control_root* root_;
  std::vector<std::uint64_t> frames_;  // addresses
  detail::worker_slot* workers_;
  detail::exposure_slot* slots_;
  detail::heap_place place_;
  detail::chunk_entry* table_;
  detail::heap_control* control_;
  std::uint64_t chunks_;  // offset of the first
  std::array<bool, scene_workers> list_is_wrong_{}, undo_is_wrong_{};
};

}  // namespace ppmm::fuzz
