#include <ppmm/alloc/heap.hpp>

#include <ppmm/pmem/checksum.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <bit>
#include <cstring>

namespace ppmm::detail {

heap::heap(const heap_place& where, const medium& m, std::uint64_t serial, commons& shared)
    : chunks_(where, m, serial, shared),
      base_(reinterpret_cast<std::uintptr_t>(where.base)),
      numbers_(where.numbers),
      books_(shared.make<books>()),
      table_(shared.zeros<std::atomic<superblock*>>(where.numbers)),
      superblocks_(shared.zeros<superblock>(where.numbers)) {}

// ---- jobs ----------------------------------------------------------------------------------------------------------

// Invariants after crash (H9): the serial's kept bit is zero before anything carries the serial. Older serials whose bit
// would be used again have nothing left that asks for it.
// Recovery: the next job begins in the same way; a serial that was begun and not used is harmless.
void heap::begin_job(persister& p) {
  heap_control& control = *chunks_.where().control;
  const std::uint64_t serial = chunks_.serial();
  if (serial - control.first.load() >= serial_window) {
    resolve_all(p);
    control.first.store(serial);
    p.persist(&control, line_size);
  }
  control.kept[serial % serial_window / 64].assign_bits(std::uint64_t{1} << serial % 64, 0);
  p.flush(&control.kept, sizeof control.kept);
  control.newest.store(serial);
  p.flush(&control, line_size);
  for (const heap_place::range& r : chunks_.where().ranges)
    for (std::uint32_t c = r.last; c < r.end; ++c) {
      chunk_entry& e = chunks_.entry(c);
      const std::uint64_t word = e.word.load();
      if (word == 0) continue;  // never used
      if (chunks_.look_at(c).kind != chunk_kind::none)
        throw pool_too_small("the job's region would lie where objects of an earlier job are kept; ask for a smaller region, or create a larger pool");
      if (!is_kind(word, chunk_kind::none)) e.word.store(chunk_word(claim_of(word) + 1, chunk_kind::none));
      p.flush(&e, sizeof e);  // it may be only visible, if the process died [M]
    }
  p.fence();
}

void heap::finish_job(persister& p) {
  heap_control& control = *chunks_.where().control;
  const std::uint64_t serial = chunks_.serial();
  const bool set_a_root = std::ranges::any_of(control.roots, [&](const root_slot& r) {
    return r.versions[0].serial.load() == serial || r.versions[1].serial.load() == serial;
  });
  if (!set_a_root) return;
  durable_word<std::uint64_t>& kept = control.kept[serial % serial_window / 64];
  kept.assign_bits(std::uint64_t{1} << serial % 64, ~std::uint64_t{0});
  p.persist(&kept, sizeof kept);
}

/// Blocks of the job that last adopted the superblock: those of a kept job are like any others from now on, those of
/// another are free.
///
/// Invariants after crash: what counts as allocated is the same before, after, and between the steps: free bits first,
/// durably, then young. The entry's serial still is the old job's. Bits that are clear already may be only visible, if
/// the process died: so they are persisted all the same [M].
/// Recovery: the next adoption does it again.
void heap::resolve(std::uint32_t chunk, persister& p) {
  const chunk_entry& e = chunks_.entry(chunk);
  block_bits* bits = chunks_.bits(chunk);
  const std::uint64_t word = e.word.load();
  const std::uint32_t words = is_kind(word, chunk_kind::extent) ? 1 : class_layouts[size_class_of(word)].words();
  if (!chunks_.counts(e.serial.load())) {
    for (std::uint32_t w = 0; w < words; ++w) bits[w].free.assign_bits(bits[w].young.load(), bits[w].alloc.load());
    p.persist(bits, words * sizeof *bits);
  }
  for (std::uint32_t w = 0; w < words; ++w) bits[w].young.store(0);
  p.persist(bits, words * sizeof *bits);
}

void heap::resolve_all(persister& p) {
  for (const heap_place::range& r : chunks_.where().ranges)
    for (std::uint32_t c = r.first; c < r.end; ++c) {
      const chunk_entry& e = chunks_.entry(c);
      const std::uint64_t word = e.word.load();
      if ((is_kind(word, chunk_kind::superblock) || is_kind(word, chunk_kind::extent)) && !chunks_.counts(e.serial.load())) resolve(c, p);
    }
  heap_control& control = *chunks_.where().control;
  for (root_slot& r : control.roots)
    for (root_version& v : r.versions)
      if (v.serial.load() != 0 && !chunks_.counts(v.serial.load())) {
        v.serial.store(0);
        p.flush(&v, sizeof v);
      }
  p.fence();
}

// ---- superblocks ---------------------------------------------------------------------------------------------------

superblock& heap::describe(std::uint32_t chunk, const arena_name& by) {
  superblock* const s = &superblocks_[chunk];
  const chunk_entry& e = chunks_.entry(chunk);
  const std::uint64_t word = e.word.load();
  s->chunk = chunk;
  s->claim = claim_of(word);
  s->bits = chunks_.bits(chunk);
  s->owner.store(by.number, std::memory_order_relaxed);
  s->mail_to.store(by.books, std::memory_order_relaxed);
  s->listed = false;
  s->fresh.fill(0);
  s->free.fill(0);
  for (auto* const words : {&s->leaving, &s->returned})
    for (auto& w : *words) w.store(0, std::memory_order_relaxed);
  s->size_class = size_class_of(word);
  s->first = chunks_.where().address(chunk);
  if (is_kind(word, chunk_kind::extent)) {
    s->extent_chunks = static_cast<std::uint32_t>(e.chunks.load());
    s->size = s->reciprocal = 0;
    s->blocks = 1;
    s->in_use = 1;
  } else {
    const class_layout& l = class_layouts[s->size_class];
    s->extent_chunks = 0;
    s->size = l.size;
    s->reciprocal = l.reciprocal;
    s->blocks = l.blocks;
    s->first += l.first;
    s->in_use = l.blocks;
    for (std::uint32_t w = 0; w < l.words(); ++w) {
      const std::uint32_t here = std::min(64u, l.blocks - 64 * w);
      const std::uint64_t real = here == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << here) - 1;
      s->free[w] = real & ~(s->bits[w].alloc.load() ^ s->bits[w].free.load());
      s->in_use -= static_cast<std::uint32_t>(std::popcount(s->free[w]));
    }
  }
  for (std::uint32_t i = 0; i < std::max(1u, s->extent_chunks); ++i) table_[chunk + i].store(s, std::memory_order_release);
  return *s;
}

/// Once a run for each superblock: from here on it belongs to one arena, and its young blocks are the running job's.
///
/// Invariants after crash: no young bit is left, durably, when the entry's serial changes.
superblock& heap::adopt(std::uint32_t chunk, const arena_name& by, persister& p) {
  chunk_entry& e = chunks_.entry(chunk);
  if (e.serial.load() != chunks_.serial()) {
    resolve(chunk, p);
    const std::uint64_t word = e.word.load();
    e.serial.store(chunks_.serial());
    e.word.store(chunk_word(claim_of(word), static_cast<chunk_kind>(kind_of(word)), size_class_of(word), by.slot));
  }
  p.persist(&e, sizeof e);  // also where it was the job's already: it may be only visible, if the process died [M]
  superblock& s = describe(chunk, by);
  chunks_.mark_used(chunk, std::max(1u, s.extent_chunks));
  return s;
}

superblock& heap::adopt_at(const void* at, const arena_name& by, persister& p) {
  const auto refuse = [&](const char* why) { throw invalid_free(fmt::format("cannot free {}: {}", at, why)); };
  const std::uint32_t chunk = chunks_.where().number_of(at);
  if (chunks_.where().range_of(chunk) == nullptr) refuse("it is not in the pool's heap");
  const std::lock_guard lock(books_->mutex);
  if (superblock* s = table_[chunk].load()) return *s;
  const chunk_use use = chunks_.look_at(chunk);
  if (use.kind == chunk_kind::none || use.head != chunk || !chunks_.is_whole(use)) refuse("no block that begins there is allocated; was it freed before?");
  return adopt(chunk, by, p);
}

superblock* heap::more(unsigned size_class, const arena_name& by, unsigned near, persister& p) {
  const std::lock_guard lock(books_->mutex);
  std::uint32_t c = no_chunk;
  for (unsigned k = 0; k < chunks_.parts() && c == no_chunk; ++k) {
    const unsigned part = (near + k) % chunks_.parts();
    for (const bool looked : {false, true}) {  // the way to a free chunk may lead past superblocks that have room
      for (std::uint32_t some = chunks_.take_partial(size_class, part); some != no_chunk; some = chunks_.take_partial(size_class, part)) {
        if (table_[some].load() != nullptr) continue;  // adopted when one of its blocks was freed
        superblock& s = adopt(some, by, p);
        if (s.in_use == s.blocks) continue;
        if (c != no_chunk) chunks_.give_back(c);
        return &s;
      }
      if (!looked) c = chunks_.take_low(1, part);
    }
  }
  if (c == no_chunk) return nullptr;
  // Invariants after crash: the bits are zero, durably, before the entry says that this is a superblock.
  chunk_entry& e = chunks_.entry(c);
  const class_layout& l = class_layouts[size_class];
  block_bits* bits = l.bits_in_entry() ? &e.bits : reinterpret_cast<block_bits*>(chunks_.where().address(c));
  for (std::uint32_t w = 0; w < l.words(); ++w) {
    bits[w].alloc.store(0);
    bits[w].free.store(0);
    bits[w].young.store(0);
  }
  e.serial.store(chunks_.serial());
  p.flush(bits, l.words() * sizeof *bits);
  p.persist(&e, sizeof e);
  e.word.store(chunk_word(claim_of(e.word.load()), chunk_kind::superblock, size_class, by.slot));
  p.persist(&e, sizeof e);
  return &describe(c, by);
}

/// Invariants after crash: further chunks say `rest` and count for nothing by themselves; the first one's bits are zero,
/// durably, before its word says extent. The list of the commit makes it allocated.
superblock* heap::new_extent(std::uint32_t n, const arena_name& by, unsigned near, persister& p) {
  const std::lock_guard lock(books_->mutex);
  std::uint32_t head = no_chunk;
  for (unsigned k = 0; k < chunks_.parts() && head == no_chunk; ++k) head = chunks_.take_low(n, (near + k) % chunks_.parts());
  if (head == no_chunk) return nullptr;
  for (std::uint32_t i = 1; i < n; ++i) {
    chunk_entry& e = chunks_.entry(head + i);
    e.chunks.store(i);
    e.word.store(chunk_word(claim_of(e.word.load()), chunk_kind::rest));
    p.flush(&e, sizeof e);
  }
  chunk_entry& e = chunks_.entry(head);
  e.bits.alloc.store(0);
  e.bits.free.store(0);
  e.bits.young.store(0);
  e.chunks.store(n);
  e.serial.store(chunks_.serial());
  p.persist(&e, sizeof e);
  e.word.store(chunk_word(claim_of(e.word.load()), chunk_kind::extent, 0, by.slot));
  p.persist(&e, sizeof e);
  return &describe(head, by);
}

void heap::release(superblock& s) {
  const std::lock_guard lock(books_->mutex);
  for (std::uint32_t i = 0; i < std::max(1u, s.extent_chunks); ++i) table_[s.chunk + i].store(nullptr, std::memory_order_release);
  chunks_.give_back(s.chunk, std::max(1u, s.extent_chunks));
}

// ---- recovery ------------------------------------------------------------------------------------------------------

std::vector<std::uint64_t> read_list(const chunk_space& chunks, const redo_area& area, std::uint64_t sequence, std::unordered_set<std::uint32_t>& in_lists) {
  const auto corrupt = [](const std::string& what) {
    throw corrupt_pool(fmt::format("the list of heap changes of a restart record {}; the pool is damaged: `ppmm check` tells more", what));
  };
  if (area.sequence != sequence) corrupt("belongs to another record");
  if (area.count == 0) return {};  // retired
  if (area.count > max_redo_words) corrupt(fmt::format("has {} entries", area.count));
  std::vector<std::uint64_t> words(area.words, area.words + std::min<std::uint64_t>(area.count, redo_words_in_area));
  std::uint64_t next = area.next;
  while (words.size() < area.count) {
    if (next == 0) corrupt(fmt::format("ends after {} of {} entries", words.size(), area.count));
    if (next > chunks.where().numbers || chunks.where().range_of(static_cast<std::uint32_t>(next - 1)) == nullptr)
      corrupt(fmt::format("goes on in chunk {}, which it cannot", next - 1));
    // A forged list may go round for ever, or be read for each record.
    if (!in_lists.insert(static_cast<std::uint32_t>(next - 1)).second) corrupt(fmt::format("goes on in chunk {}, where it or another list has been", next - 1));
    const auto chunk = static_cast<std::uint32_t>(next - 1);
    const auto* from = reinterpret_cast<const std::uint64_t*>(chunks.where().address(chunk));
    next = from[0];
    const std::uint64_t n = std::min<std::uint64_t>(area.count - words.size(), redo_words_in_chunk);
    words.insert(words.end(), from + 1, from + 1 + n);
  }
  if (area.checksum != list_checksum(area, words)) corrupt("does not fit its checksum");
  for (const std::uint64_t w : words) {
    if (chunks.where().range_of(redo_chunk(w)) == nullptr) corrupt(fmt::format("names chunk {}, which no block can be in", redo_chunk(w)));
    const std::uint64_t entry = chunks.entry(redo_chunk(w)).word.load();
    if ((claim_of(entry) & redo_claim_mask) != redo_claim(w)) continue;
    static_cast<void>(chunks.bits(redo_chunk(w)));
    const std::uint32_t blocks = is_kind(entry, chunk_kind::extent) ? 1 : class_layouts[size_class_of(entry)].blocks;
    if (redo_block(w) >= blocks) corrupt(fmt::format("names block {} of a chunk of {}", redo_block(w), blocks));
  }
  return words;
}

/// Invariants after crash: as before; each change is absolute, and of bits that nobody else has changed since (design.md,
/// "Why replaying is harmless"). A chunk with another claim is something else by now (H5).
void heap::replay(const std::vector<std::uint64_t>& words, persister& p) {
  const auto hold = chunks_.hold();
  for (const std::uint64_t w : words) {
    const std::uint64_t entry = chunks_.entry(redo_chunk(w)).word.load();
    if ((claim_of(entry) & redo_claim_mask) != redo_claim(w)) continue;
    block_bits& b = chunks_.bits(redo_chunk(w))[redo_block(w) / 64];
    const std::uint64_t bit = std::uint64_t{1} << redo_block(w) % 64, value = redo_value(w) ? bit : 0;
    if (redo_is_free(w)) {
      b.free.assign_bits(bit, value);
    } else {
      b.young.assign_bits(bit, bit);
      b.alloc.assign_bits(bit, value);
    }
    p.flush(&b, sizeof b);
  }
}

/// Invariants after crash: one word; the list is whole or empty.
void heap::retire_list(redo_area& area, persister& p) {
  area.count = 0;
  p.flush(&area, line_size);
}

std::uint64_t list_checksum(const redo_area& area, const std::vector<std::uint64_t>& words) {
  return checksum(&area, 24) ^ checksum(words.data(), words.size() * sizeof(std::uint64_t));
}

// ---- roots ---------------------------------------------------------------------------------------------------------

namespace {

bool is_named(const root_slot& r, std::string_view name) {
  return std::string_view(r.name, strnlen(r.name, max_root_name)) == name;
}

}  // namespace

const root_version* current_version(const chunk_space& chunks, const root_slot& r) {
  const root_version* best = nullptr;
  for (const root_version& v : r.versions) {
    const std::uint64_t serial = v.serial.load();
    if (serial == 0 || serial == chunks.serial() || !chunks.counts(serial)) continue;
    if (best == nullptr || serial > best->serial.load()) best = &v;
  }
  return best;
}

bool names_a_block(const chunk_space& chunks, const root_version& v, std::uint64_t moved) {
  const std::uint64_t address = v.address.load(), count = v.count.load(), bytes = v.bytes.load();
  if (address == 0) return count == 0;
  return bytes != 0 && count <= chunks.total() * chunk_bytes / bytes && is_allocated(chunks, address - moved, count * bytes);
}

// Invariants after crash: the version that counts is not touched. The one of the running job counts when the job is
// kept; until then it may be anything, and a repeated capsule writes it again.
void heap::set_root(std::string_view name, std::uintptr_t address, std::uint64_t count, std::uint64_t type, std::uint64_t bytes, persister& p) {
  if (name.empty() || name.size() >= max_root_name) throw root_error(fmt::format("a root's name has 1 to {} characters, \"{}\" has {}", max_root_name - 1, name, name.size()));
  const std::lock_guard lock(books_->mutex);
  heap_control& control = *chunks_.where().control;
  root_slot* slot = nullptr;
  const auto in_use = [&](const root_slot& r) {
    return current_version(chunks_, r) != nullptr || r.versions[0].serial.load() == chunks_.serial() || r.versions[1].serial.load() == chunks_.serial();
  };
  for (root_slot& r : control.roots)
    if (in_use(r) && is_named(r, name)) slot = &r;
  for (root_slot& r : control.roots) {
    if (slot != nullptr) break;
    if (in_use(r)) continue;
    slot = &r;
    std::memset(r.name, 0, max_root_name);
    std::memcpy(r.name, name.data(), name.size());
    p.persist(r.name, max_root_name);  // nothing in the slot counts meanwhile
  }
  if (slot == nullptr) throw root_error(fmt::format("the pool has {} roots, and no room for \"{}\"", max_roots, name));
  const root_version* keep = current_version(chunks_, *slot);
  root_version& v = slot->versions[0].serial.load() == chunks_.serial() ? slot->versions[0]
                    : slot->versions[1].serial.load() == chunks_.serial() || keep == &slot->versions[0] ? slot->versions[1]
                                                                                                           : slot->versions[0];
  v.serial.store(chunks_.serial());
  v.address.store(address);
  v.count.store(count);
  v.type.store(type);
  v.bytes.store(bytes);
  p.flush(&v, sizeof v);  // durable with the capsule's commit
}

root_value typed_root(const chunk_space& chunks, std::string_view name, const char* type, std::uint64_t bytes) {
  for (const root_slot& r : chunks.where().control->roots) {
    const root_version* there = current_version(chunks, r);
    if (there == nullptr || !is_named(r, name)) continue;
    const root_value v{there->address.load(), there->count.load(), there->type.load(), there->bytes.load()};
    if (v.type != hash_of_name(type) || v.bytes != bytes)
      throw root_error(fmt::format("root \"{}\" is of another type, with elements of {} bytes instead of {}", name, v.bytes, bytes));
    if (!names_a_block(chunks, *there)) throw corrupt_pool(fmt::format("root \"{}\" names memory that is not allocated; `ppmm check` tells more", name));
    return v;
  }
  throw root_error(fmt::format("the pool has no root \"{}\"", name));
}

bool is_allocated(const chunk_space& chunks, std::uintptr_t address, std::uint64_t bytes) {
  const heap_place& where = chunks.where();
  const std::uint32_t chunk = where.number_of(reinterpret_cast<const void*>(address));
  if (where.range_of(chunk) == nullptr) return false;
  const chunk_use use = chunks.look_at(chunk);
  if (use.kind == chunk_kind::none || use.head != chunk || !chunks.is_whole(use)) return false;
  if (use.kind == chunk_kind::extent) return address % chunk_bytes == 0 && bytes <= std::uint64_t{use.chunks} * chunk_bytes;
  const class_layout& l = class_layouts[size_class_of(chunks.entry(chunk).word.load())];
  const std::size_t offset = address % chunk_bytes;
  if (offset < l.first || (offset - l.first) % l.size != 0 || bytes > l.size) return false;
  const std::size_t block = (offset - l.first) / l.size;
  if (block >= l.blocks) return false;
  const block_bits& b = chunks.bits(chunk)[block / 64];
  const std::uint64_t young = chunks.counts(chunks.entry(chunk).serial.load()) ? 0 : b.young.load();
  return ((b.alloc.load() ^ b.free.load()) & ~young) >> block % 64 & 1;
}

std::uint64_t hash_of_name(const char* name) { return checksum(name, std::strlen(name)); }

}  // namespace ppmm::detail
