#include <ppmm/sched/image.hpp>
#include <ppmm/sched/job.hpp>  // region_of

#include <fmt/core.h>  // format

#include <algorithm>

namespace ppmm::detail {
namespace {

constexpr std::uint32_t min_chunks = 64;  // left for stacklets, whatever region a job asks for

std::uintptr_t round_up(std::uintptr_t n, std::uintptr_t to) { return (n + to - 1) / to * to; }

/// What a segment begins with that is there once: slots in the first of each part, the heap's control in the first of all.
std::size_t fixed_bytes(const slot_places& places, unsigned part, std::size_t segment) {
  if (segment > 0) return 0;
  return places.end(part) + (part == 0 ? sizeof(heap_control) : 0);
}

// After that comes the table of its chunks.
std::uintptr_t table_at(std::span<std::byte> segment, std::size_t after) { return reinterpret_cast<std::uintptr_t>(segment.data()) + after; }
std::size_t table_bytes(std::span<std::byte> segment) { return segment.size() / chunk_bytes * sizeof(chunk_entry); }

std::vector<part_segments> segments_of(const pool& p) {
  std::vector<part_segments> all;
  for (const pool_part& part : p.parts()) all.emplace_back(part.segments);
  return all;
}

}  // namespace

heap_place heap_place_in(std::byte* base, std::size_t span, std::span<const part_segments> parts, unsigned workers) {
  const slot_places places{workers, static_cast<unsigned>(parts.size())};
  heap_place place;
  const std::uintptr_t zero = reinterpret_cast<std::uintptr_t>(base) / chunk_bytes * chunk_bytes;  // chunks are aligned, a base to pages only
  place.base = reinterpret_cast<std::byte*>(zero);
  place.numbers = static_cast<std::uint32_t>(span / chunk_bytes + 2);
  place.control = reinterpret_cast<heap_control*>(parts[0][0].data() + places.end(0));
  for (unsigned part = 0; part < places.parts; ++part) {
    const part_segments segments = parts[part];
    if (const std::size_t fixed = fixed_bytes(places, part, 0); segments[0].size() < fixed)
      throw pool_too_small(fmt::format("the first segment of the pool's part {} has {} bytes, but its share of {} worker slots and the heap's control need {}; the pool is damaged, or none of this program's",
                                       part, segments[0].size(), workers, fixed));
    for (std::size_t s = 0; s < segments.size(); ++s) {
      const std::uintptr_t table = table_at(segments[s], fixed_bytes(places, part, s));
      const auto number = [&](std::uintptr_t at) { return static_cast<std::uint32_t>((at - zero) / chunk_bytes); };
      const std::uint32_t first = number(round_up(table + table_bytes(segments[s]), chunk_bytes));
      const std::uint32_t end = number(reinterpret_cast<std::uintptr_t>(segments[s].data()) + segments[s].size());
      if (first < end) place.ranges.push_back({first, end, end, part, reinterpret_cast<chunk_entry*>(table)});
    }
  }
  return place;
}

image::image(const pool& p, std::uint64_t region_bytes)
    : base_(reinterpret_cast<std::uintptr_t>(p.base()) / chunk_bytes * chunk_bytes),
      places_{p.max_workers(), static_cast<unsigned>(p.parts().size())},
      chunk_numbers_(static_cast<std::uint32_t>(p.span() / chunk_bytes + 2)) {
  const std::vector<part_segments> parts = segments_of(p);
  const std::size_t fixed = fixed_bytes(places_, 0, 0);
  if (parts[0][0].size() < fixed + min_chunks * chunk_bytes)
    throw pool_too_small(fmt::format("{}: the pool's first segment has {} bytes, but {} workers need {} and room for stacks; create a larger pool or "
                                     "one for fewer workers", p.file().string(), parts[0][0].size(), places_.workers, fixed + min_chunks * chunk_bytes));
  heap_ = heap_place_in(p.base(), p.span(), parts, places_.workers);
  for (unsigned w = 0; w < places_.workers; ++w) {
    std::byte* const first = parts[places_.part_of(w)][0].data();
    homes_.push_back({reinterpret_cast<worker_slot*>(first + places_.worker(w)), reinterpret_cast<exposure_slot*>(first + places_.exposures(w))});
  }

  // The region is at the end of the oldest segment that has room, page-aligned: the same bytes ask for the same place
  // every time, also after the pool has grown.
  struct candidate {
    std::uint64_t round;
    std::uintptr_t end;
    std::uint64_t room;
  };
  std::vector<candidate> candidates;
  for (unsigned part = 0; part < places_.parts; ++part)
    for (std::size_t s = 0; s < parts[part].size(); ++s) {
      const std::span<std::byte> segment = parts[part][s];
      const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(segment.data()) + segment.size();
      const std::uintptr_t from = round_up(table_at(segment, fixed_bytes(places_, part, s)) + table_bytes(segment), chunk_bytes) +
                                  (part == 0 && s == 0 ? min_chunks * chunk_bytes : 0);
      candidates.push_back({p.parts()[part].rounds[s], end, end > from ? end - from : 0});
    }
  std::ranges::stable_sort(candidates, {}, &candidate::round);
  const std::uint64_t taken = round_up(region_bytes, 4096);
  const auto chosen = std::ranges::find_if(candidates, [&](const candidate& c) { return region_bytes <= c.room && taken <= c.room; });  // taken may have overflowed
  if (chosen == candidates.end())
    throw pool_too_small(fmt::format("{}: the job needs {} bytes of pool memory in one piece, the pool has {}; create a larger pool, or make this one larger "
                                     "by as much (`ppmm grow {} SIZE`)",
                                     p.file().string(), region_bytes, std::ranges::max(candidates, {}, &candidate::room).room, p.file().string()));
  if (taken == 0) return;
  const std::uintptr_t region = chosen->end - taken;
  region_ = {reinterpret_cast<std::byte*>(region), region_bytes};
  for (heap_place::range& r : heap_.ranges)
    if (const auto last = static_cast<std::uint32_t>((region - base_) / chunk_bytes); last >= r.first && last < r.end) r.last = last;
}

bool image::holds_data(std::uintptr_t address, std::uint64_t bytes) const {
  const auto inside = [&](std::uintptr_t first, std::uintptr_t last) { return address >= first && address < last && bytes <= last - address; };
  const auto region = reinterpret_cast<std::uintptr_t>(region_.data());
  if (inside(region, region + region_.size())) return true;
  const auto r = std::ranges::find_if(heap_.ranges, [&](const heap_place::range& x) {
    return inside(reinterpret_cast<std::uintptr_t>(chunk(x.first)), reinterpret_cast<std::uintptr_t>(chunk(x.last)));
  });
  if (r == heap_.ranges.end()) return false;
  const auto first = static_cast<std::uint32_t>((address - base_) / chunk_bytes), last = static_cast<std::uint32_t>((address + bytes - 1) / chunk_bytes - base_ / chunk_bytes);
  const auto word = [&](std::uint32_t c) { return r->table[c - r->first].word.load(); };
  if (const std::uint64_t w = word(first); is_kind(w, chunk_kind::superblock))
    return first == last && size_class_of(w) < size_classes && address % chunk_bytes >= class_layouts[size_class_of(w)].first;
  for (std::uint32_t c = first; c <= last; ++c)
    if (!is_kind(word(c), chunk_kind::rest) && !(c == first && is_kind(word(c), chunk_kind::extent))) return false;
  return true;
}

void image::check_readable(std::span<const std::span<std::byte>> bad) const {
  if (bad.empty()) return;
  const auto check = [bad](const void* at, std::size_t bytes, const char* what) {
    const auto first = reinterpret_cast<std::uintptr_t>(at);
    for (const std::span<std::byte> b : bad)
      if (const auto from = reinterpret_cast<std::uintptr_t>(b.data()); from < first + bytes && first < from + b.size())
        throw medium_error(fmt::format("{} bytes at address {:#x} cannot be read, where the pool has {}; restore the pool from a copy on good memory",
                                       b.size(), from, what));
  };
  for (unsigned i = 0; i < workers(); ++i) check(&worker(i), sizeof(worker_slot), "a worker's records");
  for (std::uint32_t i = 0; i < slots(); ++i) check(&slot(i), sizeof(exposure_slot), "an exposure slot");
  check(heap_.control, sizeof(heap_control), "the heap's control");
  for (const heap_place::range& r : heap_.ranges) check(r.table, (r.end - r.first) * sizeof(chunk_entry), "a table of chunks");
}

frame* image::checked_frame(std::uintptr_t address) const {
  const auto fail = [&](const char* what) {
    throw corrupt_pool(fmt::format("a strand in the pool names a frame at {:#x}, but {}; the pool is damaged: `ppmm check` tells more", address, what));
  };
  if (address % frame_alignment != 0) fail("frames are aligned to 64 bytes");
  const std::uint64_t number = (address - base_) / chunk_bytes;
  if (address < base_ || number >= chunk_numbers_ || heap_.range_of(static_cast<std::uint32_t>(number)) == nullptr)
    fail("no stack memory is there");
  auto* f = reinterpret_cast<frame*>(address);
  const node_type* type = find_type(f->type >> 16);
  if (type == nullptr || !type->is_frame() || type->word() != f->type) fail("its type is none of this program's");
  if (address % chunk_bytes + frame_bytes(f->type) > chunk_bytes) fail("it crosses the end of its chunk");
  return f;
}

exposure_slot& image::checked_slot(exposure e) const {
  if (e.slot >= slots() || e.generation == 0)
    throw corrupt_pool(fmt::format("a strand in the pool names exposure slot {} of generation {}, but there are {} slots; the pool is damaged", e.slot,
                                   e.generation, slots()));
  return slot(e.slot);
}

bool image::is_live(exposure e, const frame* f) const {
  const exposure_slot& s = checked_slot(e);
  return s.generation.load() == e.generation && s.right.load() >> 32 == e.generation && s.frame_address.load() == reinterpret_cast<std::uintptr_t>(f);
}

bool image::is_stolen(const frame* f) const {
  const exposure e = link_exposure(f->link);
  return e.generation != 0 && is_live(e, f) && static_cast<right_state>(slot(e.slot).right.load() & 3) == right_state::stolen;
}

}  // namespace ppmm::detail

namespace ppmm {

std::span<std::byte> region_of(const pool& p, std::uint64_t bytes) { return detail::image(p, bytes).region(); }

std::uint64_t max_region(const pool& p) {
  std::uint64_t low = 0, high = p.size();  // the largest that image accepts
  while (low < high) {
    const std::uint64_t mid = low + (high - low + 1) / 2;
    try {
      detail::image(p, mid);
      low = mid;
    } catch (const pool_too_small&) {
      high = mid - 1;
    }
  }
  return low;
}

}  // namespace ppmm
