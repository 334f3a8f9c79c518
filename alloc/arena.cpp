#include <ppmm/alloc/arena.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <utility>

namespace ppmm::detail {

// ---- allocating ----------------------------------------------------------------------------------------------------

void arena::refuse_free(const void* p, const char* why) { throw invalid_free(fmt::format("cannot free {}: {}", p, why)); }

/// A superblock of an earlier run.
superblock& arena::adopt(const void* p) {
  superblock& s = heap_.adopt_at(p, *this, slot_, persister_);
  if (s.owner == this && s.extent_chunks == 0 && !s.listed && s.in_use < s.blocks) {
    bins_[s.size_class].more.push_back(&s);
    s.listed = true;
  }
  return s;
}

bool arena::next_word(bin& b) {
  const std::uint32_t words = (b.current->blocks + 63) / 64;
  for (std::uint32_t i = 0; i < words; ++i) {
    const std::uint32_t w = (b.word + i) % words;
    if (b.current->free[w] == 0) continue;
    b.word = w;
    b.mask = std::exchange(b.current->free[w], 0);
    return true;
  }
  return false;
}

void arena::refill(bin& b, unsigned size_class) {
  if (mail_.load(std::memory_order_relaxed)) {
    drain_inbox();
    if (b.mask != 0) return;
  }
  if (b.current != nullptr && next_word(b)) return;
  b.word = 0;
  while (!b.more.empty()) {
    b.current = b.more.back();
    b.more.pop_back();
    b.current->listed = false;
    if (next_word(b)) return;
  }
  b.current = heap_.more(size_class, *this, slot_, persister_);
  if (b.current == nullptr || !next_word(b)) {
    b.current = nullptr;
    heap_.chunks().no_room(class_layouts[size_class].size, "by a task");
  }
}

std::byte* arena::allocate_extent(std::size_t bytes, const task_stamp& now) {
  const std::size_t chunks = (bytes + chunk_bytes - 1) / chunk_bytes;
  superblock* s = chunks <= heap_.chunks().total() ? heap_.new_extent(static_cast<std::uint32_t>(chunks), *this, slot_, persister_) : nullptr;
  if (s == nullptr) heap_.chunks().no_room(bytes, "by a task");
  mark(now);
  s->fresh[0] = 1;
  log_.push_back({s, 0});
  return s->first;
}

void arena::hand_back(superblock& s, std::uint32_t block) {
  if (s.extent_chunks != 0) {
    heap_.release(s);
    return;
  }
  bin& b = bins_[s.size_class];
  const std::uint64_t bit = std::uint64_t{1} << block % 64;
  --s.in_use;
  if (b.current == &s) {
    (b.word == block / 64 ? b.mask : s.free[block / 64]) |= bit;
    return;
  }
  s.free[block / 64] |= bit;
  if (s.in_use == 0 && !b.more.empty() && b.more.back() != &s) {  // another has room
    if (s.listed) b.more.erase(std::find(b.more.begin(), b.more.end(), &s));
    s.listed = false;
    heap_.release(s);
    return;
  }
  if (!s.listed) b.more.push_back(&s);
  s.listed = true;
}

void arena::give_back(const noted& n) {
  if (n.at->extent_chunks != 0) {
    heap_.release(*n.at);
  } else if (n.at->owner == this) {
    hand_back(*n.at, n.block);
  } else {
    arena& owner = *n.at->owner;
    const std::lock_guard lock(owner.inbox_mutex_);
    owner.inbox_.push_back(n);
    owner.mail_.store(true, std::memory_order_relaxed);
  }
}

void arena::drain_inbox() {
  std::vector<noted> mail;
  {
    const std::lock_guard lock(inbox_mutex_);
    mail.swap(inbox_);
    mail_.store(false, std::memory_order_relaxed);
  }
  for (const noted& n : mail) hand_back(*n.at, n.block);
}

/// A job that only frees must get on in a full pool. So from its first change on each arena keeps a chunk for either
/// list, and lets capsules grow to what fits there; without them, to what fits in the areas, with some to spare for the
/// rest of the task.
bool arena::is_full_now() {
  constexpr std::size_t few = redo_words_in_area / 2, many = redo_words_in_chunk / 4;
  if (limit_ < many) {
    limit_ = many;
    for (std::vector<std::uint32_t>& chunks : list_chunks_) {
      if (chunks.empty())
        if (const std::uint32_t c = heap_.chunks().take_high(); c != no_chunk) chunks.push_back(c);
      if (chunks.empty()) limit_ = few;
    }
  }
  return log_.size() + freed_.size() >= limit_;
}

// ---- commit --------------------------------------------------------------------------------------------------------

bool arena::is_cancelled(const noted& n) const {
  return n.at->owner == this && (n.at->fresh[n.block / 64] & n.at->leaving[n.block / 64].load(std::memory_order_relaxed)) >> n.block % 64 & 1;
}

bool arena::write_list(redo_area& area, std::uint64_t sequence) {
  words_.clear();
  for (const noted& n : log_) {
    if (is_cancelled(n)) continue;
    const bool free = (n.at->bits[n.block / 64].free.load() >> n.block % 64 & 1) != 0;
    words_.push_back(redo_word(n.at->claim & redo_claim_mask, n.at->chunk, n.block, !free, false));
  }
  for (const noted& n : freed_) {
    if (is_cancelled(n)) continue;
    const bool alloc = (n.at->bits[n.block / 64].alloc.load() >> n.block % 64 & 1) != 0;
    words_.push_back(redo_word(n.at->claim & redo_claim_mask, n.at->chunk, n.block, alloc, true));
  }
  if (words_.empty()) return false;
  area.sequence = sequence;
  write_words(area, words_, list_chunks_[sequence & 1]);
  return true;
}

/// Invariants after crash (H6): the area and the chunks belong to a record that does not count: the newest record's are
/// those of the other buffer.
void arena::write_words(redo_area& area, const std::vector<std::uint64_t>& words, std::vector<std::uint32_t>& chunks) {
  const std::size_t here = std::min(words.size(), redo_words_in_area);
  const std::size_t needed = (words.size() - here + redo_words_in_chunk - 1) / redo_words_in_chunk;
  while (chunks.size() < needed) {
    const std::uint32_t c = heap_.chunks().take_high();
    if (c == no_chunk) heap_.chunks().no_room(chunk_bytes, "to note what a task has allocated and freed");
    chunks.push_back(c);
  }
  while (chunks.size() > needed + 1) {
    heap_.chunks().give_back(chunks.back());
    chunks.pop_back();
  }
  area.count = words.size();
  area.next = needed == 0 ? 0 : std::uint64_t{chunks[0]} + 1;
  area.checksum = list_checksum(area, words);
  std::copy_n(words.begin(), here, area.words);
  persister_.flush(&area, 32 + here * sizeof(std::uint64_t));
  auto from = words.begin() + static_cast<std::ptrdiff_t>(here);
  for (std::size_t i = 0; i < needed; ++i) {
    auto* to = reinterpret_cast<std::uint64_t*>(heap_.chunks().where().address(chunks[i]));
    to[0] = i + 1 < needed ? std::uint64_t{chunks[i + 1]} + 1 : 0;
    const std::size_t n = std::min(static_cast<std::size_t>(words.end() - from), redo_words_in_chunk);
    std::copy_n(from, n, to + 1);
    from += static_cast<std::ptrdiff_t>(n);
    persister_.flush(to, (1 + n) * sizeof(std::uint64_t));
  }
}

// Invariants after crash: each bit has its old or its new value; recovery applies the list again (heap::replay). Young
// before alloc, so that no block is allocated without its job being known.
bool arena::apply() {
  const block_bits* line = nullptr;
  const auto changed = [&](const block_bits& b) {  // one flush for neighbours
    if (line != nullptr && line != &b) persister_.flush(line, sizeof *line);
    line = &b;
  };
  bool any = false;
  std::size_t kept = 0;
  for (const noted& n : freed_) {
    if (is_cancelled(n)) continue;
    block_bits& b = n.at->bits[n.block / 64];
    const std::uint64_t bit = std::uint64_t{1} << n.block % 64;
    b.free.assign_bits(bit, b.alloc.load());
    changed(b);
    freed_[kept++] = n;
    any = true;
  }
  freed_.resize(kept);
  for (const noted& n : log_) {
    const std::uint64_t bit = std::uint64_t{1} << n.block % 64;
    const bool cancelled = is_cancelled(n);
    n.at->fresh[n.block / 64] &= ~bit;
    if (cancelled) {
      n.at->leaving[n.block / 64].fetch_and(~bit, std::memory_order_acq_rel);
      hand_back(*n.at, n.block);
      continue;
    }
    block_bits& b = n.at->bits[n.block / 64];
    b.young.store(b.young.load() | bit);  // this arena alone changes young and alloc
    b.alloc.store((b.alloc.load() & ~bit) | (~b.free.load() & bit));
    changed(b);
    any = true;
  }
  if (line != nullptr) persister_.flush(line, sizeof *line);
  log_.clear();

  for (const noted& n : leaving_) {
    n.at->leaving[n.block / 64].fetch_and(~(std::uint64_t{1} << n.block % 64), std::memory_order_acq_rel);
    give_back(n);
  }
  leaving_.swap(freed_);
  freed_.clear();
  marked_ = {};
  marked_log_ = marked_freed_ = 0;
  return any;
}

void arena::undo_to(std::size_t log, std::size_t freed) {
  while (freed_.size() > freed) {
    const noted n = freed_.back();
    freed_.pop_back();
    n.at->leaving[n.block / 64].fetch_and(~(std::uint64_t{1} << n.block % 64), std::memory_order_acq_rel);
  }
  while (log_.size() > log) {
    const noted n = log_.back();
    log_.pop_back();
    n.at->fresh[n.block / 64] &= ~(std::uint64_t{1} << n.block % 64);
    hand_back(*n.at, n.block);
  }
}

void arena::abandon() {
  for (const noted& n : freed_) n.at->leaving[n.block / 64].fetch_and(~(std::uint64_t{1} << n.block % 64), std::memory_order_acq_rel);
  freed_.clear();
  log_.clear();
}

void arena::go_on_from(std::uint64_t sequence) {
  if (sequence == newest_)
    forget();
  else
    committed(sequence);
}

void arena::forget() {
  undo_to(0, 0);
  marked_ = {};
  marked_log_ = marked_freed_ = 0;
}

}  // namespace ppmm::detail
