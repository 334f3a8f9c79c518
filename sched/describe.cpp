#include <ppmm/sched/describe.hpp>
#include <ppmm/sched/names.hpp>

#include <fmt/core.h>  // format

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

namespace ppmm::detail {
namespace {

const node_type* frame_type(const frame* f) {
  const node_type* type = find_type(f->type >> 16);
  return type != nullptr && type->is_frame() && type->word() == f->type ? type : nullptr;
}

std::string describe_frame(const frame* f, const void* p) {
  const auto* at = static_cast<const std::byte*>(p);
  for (const frame_member& m : members_of(f))
    if (m.at <= at && at < m.at + m.bytes) return fmt::format("frame {} of {}: {}", static_cast<const void*>(f), frame_type(f)->readable_name(), m.name);
  return fmt::format("frame {} of {}", static_cast<const void*>(f), frame_type(f)->readable_name());
}

}  // namespace

std::vector<frame_member> members_of(const frame* f) {
  const auto* base = reinterpret_cast<const std::byte*>(f);
  const node_type& type = *frame_type(f);
  using enum frame_member::kind;
  std::vector<frame_member> m = {{head, "parent", base, 8}, {link, "link", base + 8, 8}, {head, "type", base + 16, 8}};
  std::size_t end = 24;
  constexpr const char* results[] = {"left result", "right result"};
  for (std::size_t side = 0; side < (is_fork(f->type) ? 2u : 1u); ++side) {
    m.push_back({side == 0 ? left_result : right_result, results[side], base + type.offset[side], type.result[side]});
    end = std::max<std::size_t>(end, type.offset[side] + type.result[side]);
  }
  m.push_back({content, is_fork(f->type) ? "right child and captures" : "captures", base + end, frame_bytes(f->type) - end});
  return m;
}

std::string describe(const image& img, const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  const auto in = [&](const void* first, std::size_t bytes) {
    return address - reinterpret_cast<std::uintptr_t>(first) < bytes;
  };
  if (in(&img.worker(0), img.workers() * sizeof(worker_slot))) {
    const std::size_t offset = address - reinterpret_cast<std::uintptr_t>(&img.worker(0)), slot = offset / sizeof(worker_slot), at = offset % sizeof(worker_slot);
    constexpr std::pair<std::size_t, const char*> parts[] = {
        {offsetof(worker_slot, undo), "first chunk of the undo log"},
        {offsetof(worker_slot, redo) + sizeof(redo_area), "redo list 1"},
        {offsetof(worker_slot, redo), "redo list 0"},
        {offsetof(worker_slot, records) + sizeof(record), "record 1"},
        {offsetof(worker_slot, records), "record 0"},
        {offsetof(worker_slot, live_when), "sign of life"},
        {0, "owner word"},
    };
    return fmt::format("worker slot {}: {}", slot, std::find_if(std::begin(parts), std::end(parts), [&](auto& part) { return at >= part.first; })->second);
  }
  if (in(&img.slot(0), img.slots() * sizeof(exposure_slot))) {
    constexpr const char* words[] = {"generation", "right word", "join word", "frame address"};
    const std::size_t offset = address - reinterpret_cast<std::uintptr_t>(&img.slot(0)), word = offset % sizeof(exposure_slot) / 8;
    return fmt::format("exposure slot {}: {}", offset / sizeof(exposure_slot), word < 4 ? words[word] : "padding");
  }
  if (in(img.region().data(), img.region().size()))
    return fmt::format("the job's memory, byte {}", address - reinterpret_cast<std::uintptr_t>(img.region().data()));
  if (const heap_place& h = img.heap(); in(h.control, sizeof *h.control)) {
    const std::size_t at = address - reinterpret_cast<std::uintptr_t>(h.control);
    if (at < offsetof(heap_control, roots)) return at < offsetof(heap_control, kept) ? "the heap's control" : "the heap's kept bits";
    return fmt::format("heap root {}", (at - offsetof(heap_control, roots)) / sizeof(root_slot));
  }
  for (const heap_place::range& r : img.chunk_ranges()) {
    if (in(r.table, (r.end - r.first) * sizeof(chunk_entry))) {
      const std::size_t at = address - reinterpret_cast<std::uintptr_t>(r.table);
      return fmt::format("entry of chunk {}{}", r.first + at / sizeof(chunk_entry), at % sizeof(chunk_entry) < offsetof(chunk_entry, bits) ? "" : ": bits");
    }
    if (const std::uint32_t c = img.chunk_of(p); c >= r.first && c < r.last) {
      if (!is_kind(r.table[c - r.first].word.load(), chunk_kind::none)) return fmt::format("heap chunk {}, byte {}", c, address % chunk_bytes);
      const auto* f = reinterpret_cast<const frame*>(address / frame_alignment * frame_alignment);
      return frame_type(f) != nullptr ? describe_frame(f, p) : fmt::format("chunk {}, byte {}", c, address % chunk_bytes);
    }
  }
  return fmt::format("{}: no part of the data plane", p);
}

std::string describe_record(const image& img, unsigned slot, std::uint64_t job) {
  constexpr const char* kinds[] = {"idle", "run", "right", "continuation", "steal", "arrive", "rob", "done"};
  const worker_slot& w = img.worker(slot);
  const std::uint64_t owner = w.owner.load();
  const restart r = newest_record(w, job);
  std::string text = fmt::format("worker slot {} in life {}", slot, owner_life(owner));
  const auto who = [](std::uint64_t word) {
    const identity i = unpack_identity(static_cast<std::uint32_t>(word));
    return fmt::format("slot {} in life {}", i.slot, i.life);
  };
  if (is_robbed(owner)) text += fmt::format(", robbed by {}", who(owner >> 32));
  text += fmt::format(": record {}, {} units, {}", r.sequence, r.progress, kinds[static_cast<unsigned>(r.kind)]);
  switch (r.kind) {
    case record_kind::run:
      text += fmt::format(" {} for {:#x}", find_type(r.type) != nullptr ? find_type(r.type)->readable_name() : "of no type of this program", r.at);
      break;
    case record_kind::right:
    case record_kind::continuation:
      text += fmt::format(" of {:#x}", r.at);
      break;
    case record_kind::steal:
      text += fmt::format(" exposure slot {} generation {} as {}", r.exposed().slot, r.exposed().generation, who(r.type));
      break;
    case record_kind::arrive:
      text += fmt::format(" at exposure slot {} generation {} from the {}", r.exposed().slot, r.exposed().generation, r.type == 0 ? "left" : "right");
      break;
    case record_kind::rob:
      text += fmt::format(" slot {} in life {} as {}", r.at >> 32, static_cast<std::uint32_t>(r.at), who(r.type));
      break;
    case record_kind::idle:
    case record_kind::done:
      break;
  }
  return text;
}

std::vector<std::string> reached_but_not_durable(const image& img, unsigned slot, std::uint64_t job, const std::function<bool(const void*, std::size_t)>& durable) {
  std::vector<std::string> missing;
  const restart r = newest_record(img.worker(slot), job);
  if (const redo_area& list = img.worker(slot).redo[r.sequence & 1]; r.has_list && !durable(&list, offsetof(redo_area, words) + 8 * std::min(list.count, redo_words_in_area)))
    missing.push_back(describe(img, &list));
  place p;
  switch (r.kind) {
    case record_kind::run:
    case record_kind::right:
    case record_kind::continuation:
      p = r.to();
      break;
    default:
      return missing;
  }
  bool continuation = r.kind == record_kind::continuation;
  for (; p.word != 0; p = place(p.parent()->parent), continuation = false) {
    const frame* f = p.parent();
    if (!continuation && p.which() == side::right && img.is_stolen(f)) break;  // the victim's from here on, durable before the theft
    for (const frame_member& m : members_of(f)) {
      using enum frame_member::kind;
      const bool not_yet = !continuation && (m.what == right_result || (m.what == left_result && p.which() == side::left));
      if (m.what == link && (link_exposure(f->link).generation == 0 || !img.is_live(link_exposure(f->link), f))) continue;  // it does not count
      if (!not_yet && !durable(m.at, m.bytes)) missing.push_back(describe_frame(f, m.at));
    }
  }
  return missing;
}

std::string describe_position(const image& img, const restart& r) {
  const auto name = [](std::uint64_t id, std::string in_words(std::string_view)) {
    const node_type* type = find_type(id);
    return type == nullptr ? fmt::format("of type {:#x}", id) : in_words(type->readable_name());
  };
  if (!is_position(r.kind)) return "what is no task: a theft, a join or a robbery";
  if (r.kind != record_kind::run) {
    const frame* f = img.checked_frame(reinterpret_cast<std::uintptr_t>(r.to().parent()));
    const std::string function = name(f->type >> 16, function_of);
    if (r.kind == record_kind::right) return fmt::format("task {}, the right child of a fork in {},", name(f->type >> 16, right_child_of), function);
    return fmt::format("what follows a {} in {}", is_fork(f->type) ? "fork" : "call", function);
  }
  std::string bytes;
  const std::size_t shown = std::min<std::size_t>(r.bytes, 32);
  for (std::size_t i = 0; i < shown; ++i) bytes += fmt::format("{}{:02x}", i % 8 == 0 && i > 0 ? " " : "", static_cast<unsigned>(r.arguments[i]));
  return fmt::format("task {} with the argument bytes {}{}", name(r.type, function_of), bytes, shown < r.bytes ? " ..." : "");
}

std::string describe_build(const std::uint8_t* id) {
  return fmt::format("{:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3]);
}

}  // namespace ppmm::detail
