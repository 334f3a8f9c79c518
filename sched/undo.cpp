#include <ppmm/sched/undo.hpp>

#include <ppmm/check/watch.hpp>
#include <ppmm/pmem/checksum.hpp>
#include <ppmm/pmem/errors.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <cstring>
#include <unordered_set>

namespace ppmm::detail {
namespace {

constexpr std::size_t unit = sizeof(undo_head);
constexpr std::size_t last_head = chunk_bytes - unit;  // kept for the entry that leads on

std::size_t padded(std::size_t n) { return (n + unit - 1) / unit * unit; }

std::uint64_t checksum_of(const undo_head& h, unsigned slot, const void* data) {
  const std::uint64_t words[] = {h.sequence, h.address, h.bytes, slot};
  return checksum(words, sizeof words) ^ (h.address == 0 ? 0 : checksum(data, h.bytes));
}

}  // namespace

void undo_log::put(const undo_head& h, const void* data) {
  std::byte* to = image_.chunk(log_chunks_[chunk_]) + at_;
  const std::size_t n = data == nullptr ? 0 : h.bytes;
  std::memcpy(to, &h, unit);
  if (data != nullptr) std::memcpy(to + unit, data, n);
  persister_.flush(to, unit + n);
  at_ += unit + padded(n);
}

void undo_log::next_chunk() {
  if (chunk_ + 1 == log_chunks_.size()) log_chunks_.push_back(chunks_.take(part_, "to save what a task updates in place"));
  undo_head link{sequence_, 0, std::uint64_t{log_chunks_[chunk_ + 1]} + 1, 0};
  link.checksum = checksum_of(link, slot_, nullptr);
  put(link, nullptr);
  ++chunk_;
  at_ = 0;
}

// Invariants after crash: before the fence some entries may be there and others not: what they would put back has not
// been changed yet. After it they all are.
// Recovery: roll_back.
void undo_log::save(const void* p, std::size_t n, std::uint64_t sequence) {
  const watch::runtimes_own not_the_users;
  if (log_chunks_.empty()) {
    log_chunks_.push_back(chunks_.take(part_, "to save what a task updates in place"));
    durable_word<std::uint64_t>& first = image_.worker(slot_).undo;
    first.store(std::uint64_t{log_chunks_[0]} + 1);
    persister_.flush(&first, sizeof first);
  }
  if (sequence_ != sequence) chunk_ = at_ = 0;
  sequence_ = sequence;
  for (const auto* from = static_cast<const std::byte*>(p); n > 0;) {
    if (at_ + 2 * unit > last_head) next_chunk();
    const std::size_t part = std::min(n, last_head - at_ - unit);
    undo_head h{sequence, reinterpret_cast<std::uintptr_t>(from), part, 0};
    h.checksum = checksum_of(h, slot_, from);
    put(h, from);
    from += part;
    n -= part;
  }
  persister_.fence();
}

void task_undo::save(const void* p, std::size_t n, const task_stamp& now) {
  const watch::runtimes_own not_the_users;
  if (task_ != now) clear();
  task_ = now;
  auto* const at = static_cast<std::byte*>(const_cast<void*>(p));
  ranges_.push_back({at, bytes_.size(), n});
  bytes_.insert(bytes_.end(), at, at + n);
}

/// Invariants after crash: as before; the log still counts, and puts back the same or older bytes. The commit that follows
/// flushes the ranges, for they are open.
void task_undo::take_back(const task_stamp& now) {
  const watch::runtimes_own not_the_users;
  if (task_ == now)
    for (auto r = ranges_.rbegin(); r != ranges_.rend(); ++r) std::memcpy(r->to, bytes_.data() + r->from, r->bytes);
  clear();
}

found_undo find_undo(unsigned slot, const image& img, std::uint64_t sequence) {
  found_undo found;
  std::unordered_set<std::uint32_t> seen;
  for (std::uint64_t next = img.worker(slot).undo.load(); next != 0;) {
    const auto chunk = static_cast<std::uint32_t>(next - 1);
    // Nobody wrote a log there, or in a circle: what counts of the log ends here.
    if (next > img.chunk_numbers() || !seen.insert(chunk).second) break;
    const heap_place::range* r = img.heap().range_of(chunk);
    if (r == nullptr || !is_kind(r->table[chunk - r->first].word.load(), chunk_kind::none)) break;
    next = 0;
    const std::byte* const base = img.chunk(chunk);
    for (std::size_t at = 0; at <= last_head;) {
      undo_head h;
      std::memcpy(&h, base + at, unit);
      if (h.sequence != sequence || sequence == 0 || (h.address != 0 && (h.bytes == 0 || h.bytes > chunk_bytes - at - unit)) ||
          h.checksum != checksum_of(h, slot, base + at + unit))
        break;
      if (found.chunks.empty() || found.chunks.back() != chunk) found.chunks.push_back(chunk);
      if (h.address == 0) {
        next = h.bytes;
        break;
      }
      if (!img.holds_data(h.address, h.bytes))
        throw corrupt_pool(fmt::format("an undo log of the pool would restore {} bytes at {:#x}, where no data is; the pool is damaged", h.bytes, h.address));
      found.entries.push_back({reinterpret_cast<std::byte*>(h.address), base + at + unit, h.bytes});
      at += unit + padded(h.bytes);
    }
  }
  return found;
}

bool roll_back(unsigned slot, const image& img, std::uint64_t sequence, persister& p) {
  const watch::runtimes_own not_the_users;
  const found_undo found = find_undo(slot, img, sequence);
  if (found.entries.empty()) return false;
  for (auto e = found.entries.rbegin(); e != found.entries.rend(); ++e) {  // what was saved first is the oldest
    std::memcpy(e->to, e->from, e->bytes);
    p.flush(e->to, e->bytes);
  }
  p.fence();
  return true;
}

}  // namespace ppmm::detail
