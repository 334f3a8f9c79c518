#include <ppmm/alloc/arena.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <utility>

namespace ppmm::detail {

// ---- allocating ----------------------------------------------------------------------------------------------------

void arena::refuse_free(const void* p, const char* why) { throw invalid_free(fmt::format("cannot free {}: {}", p, why)); }

/// A superblock of an earlier run.
superblock& arena::adopt(const void* p) {
  superblock& s = heap_.adopt_at(p, name_, persister_);
  if (s.is_of(name_) && s.extent_chunks == 0 && !s.listed && s.in_use < s.blocks) {
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
  if (books_.mail.load(std::memory_order_relaxed) != nullptr) {
    read_mail();
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
  b.current = heap_.more(size_class, name_, part_, persister_);
  if (b.current == nullptr || !next_word(b)) {
    b.current = nullptr;
    heap_.chunks().no_room(class_layouts[size_class].size, "by a task");
  }
}

std::byte* arena::allocate_extent(std::size_t bytes, unsigned part, const task_stamp& now) {
  const std::size_t chunks = (bytes + chunk_bytes - 1) / chunk_bytes;
  superblock* s = chunks <= heap_.chunks().total() ? heap_.new_extent(static_cast<std::uint32_t>(chunks), name_, part, persister_) : nullptr;
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

void arena::give_back(const noted_block& n) {
  if (n.at->extent_chunks != 0) {
    heap_.release(*n.at);
  } else if (n.at->is_of(name_)) {
    hand_back(*n.at, n.block);
  } else {
    n.at->returned[n.block / 64].fetch_or(std::uint64_t{1} << n.block % 64, std::memory_order_release);
    post(*n.at);
  }
}

/// A list that others push to, and only the owner takes, as a whole (Treiber 1986).
void arena::post(superblock& s) {
  if (s.in_mail.exchange(true, std::memory_order_acq_rel)) return;
  std::atomic<superblock*>& mail = s.mail_to.load(std::memory_order_relaxed)->mail;
  s.next_mail = mail.load(std::memory_order_relaxed);
  while (!mail.compare_exchange_weak(s.next_mail, &s, std::memory_order_release, std::memory_order_relaxed)) {}
}

void arena::read_mail() {
  superblock* next = nullptr;
  for (superblock* s = books_.mail.exchange(nullptr, std::memory_order_acquire); s != nullptr; s = next) {
    next = s->next_mail;
    s->in_mail.store(false, std::memory_order_release);  // before the bits are taken: who frees now posts it again
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!s->is_of(name_)) {  // it was emptied, and is another's by now: that one is to look
      if (s->mail_to.load(std::memory_order_relaxed) != &books_) post(*s);
      continue;
    }
    std::array<std::uint64_t, 64> back;  // all of it, for with the last block the superblock is released
    const std::uint32_t words = (s->blocks + 63) / 64;
    for (std::uint32_t w = 0; w < words; ++w) back[w] = s->returned[w].load(std::memory_order_relaxed) == 0 ? 0 : s->returned[w].exchange(0, std::memory_order_acquire);
    for (std::uint32_t w = 0; w < words; ++w)
      for (std::uint64_t bits = back[w]; bits != 0; bits &= bits - 1) hand_back(*s, w * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
  }
}

void arena_books::abandon() {
  for (std::uint64_t i = std::min(freed.load(std::memory_order_acquire), most_freed); i-- > 0;) {
    const noted_block& n = freed_notes[i];
    n.at->leaving[n.block / 64].fetch_and(~(std::uint64_t{1} << n.block % 64), std::memory_order_acq_rel);
    freed.store(i, std::memory_order_release);
  }
}

void arena::begin() {
  books_.abandon();
  books_.mail.store(nullptr);  // of one who lived here before
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
        if (const std::uint32_t c = heap_.chunks().take_high(part_); c != no_chunk) chunks.push_back(c);
      if (chunks.empty()) limit_ = few;
    }
  }
  return log_.size() + freed_count() >= limit_;
}

// ---- commit --------------------------------------------------------------------------------------------------------

bool arena::is_cancelled(const noted_block& n) const {
  return n.at->is_of(name_) && (n.at->fresh[n.block / 64] & n.at->leaving[n.block / 64].load(std::memory_order_relaxed)) >> n.block % 64 & 1;
}

bool arena::write_list(redo_area& area, std::uint64_t sequence) {
  words_.clear();
  for (const noted_block& n : log_) {
    if (is_cancelled(n)) continue;
    const bool free = (n.at->bits[n.block / 64].free.load() >> n.block % 64 & 1) != 0;
    words_.push_back(redo_word(n.at->claim & redo_claim_mask, n.at->chunk, n.block, !free, false));
  }
  for (const noted_block& n : freed()) {
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
    const std::uint32_t c = heap_.chunks().take_high(part_);
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
  std::vector<noted_block>& kept = leaves_next_;
  kept.clear();
  for (const noted_block& n : freed()) {
    if (is_cancelled(n)) continue;
    block_bits& b = n.at->bits[n.block / 64];
    const std::uint64_t bit = std::uint64_t{1} << n.block % 64;
    b.free.assign_bits(bit, b.alloc.load());
    changed(b);
    kept.push_back(n);
    any = true;
  }
  for (const noted_block& n : log_) {
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

  books_.freed.store(0, std::memory_order_release);
  for (const noted_block& n : leaving_) {
    n.at->leaving[n.block / 64].fetch_and(~(std::uint64_t{1} << n.block % 64), std::memory_order_acq_rel);
    give_back(n);
  }
  leaving_.swap(kept);
  marked_ = {};
  marked_log_ = marked_freed_ = 0;
  return any;
}

void arena::undo_to(std::size_t log, std::size_t freed) {
  while (freed_count() > freed) {
    const noted_block n = books_.freed_notes[freed_count() - 1];
    n.at->leaving[n.block / 64].fetch_and(~(std::uint64_t{1} << n.block % 64), std::memory_order_acq_rel);
    pop_freed();
  }
  while (log_.size() > log) {
    const noted_block n = log_.back();
    log_.pop_back();
    n.at->fresh[n.block / 64] &= ~(std::uint64_t{1} << n.block % 64);
    hand_back(*n.at, n.block);
  }
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
