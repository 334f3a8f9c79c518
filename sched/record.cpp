#include <ppmm/sched/record.hpp>

#include <algorithm>
#include <atomic>

namespace ppmm::detail {
namespace {

/// Mixes every word and its position (multiply and fold, after Lemire's and Wang's multiply hashes). Not for enemies:
/// it finds torn and scribbled records.
class mixer {
 public:
  void add(std::uint64_t w) {
    state_ = (state_ ^ w) * 0x9e3779b97f4a7c15u;
    state_ ^= state_ >> 32;
  }
  std::uint32_t value() const { return static_cast<std::uint32_t>(state_ ^ state_ >> 29); }

 private:
  std::uint64_t state_ = 0x5050'4d4d;
};

std::uint32_t checksum(const record& r, unsigned lines, std::uint64_t sequence) {
  mixer m;
  for (unsigned i = 0; i < lines; ++i) {
    m.add(sequence);
    for (std::size_t w = 0; w < 7; ++w)
      m.add(i == 0 && w == record_word::head ? r.lines[0].words[w] & 0xffff'ffff : r.lines[i].words[w]);
  }
  return m.value();
}

constexpr std::size_t first_line_bytes = 8;  // of arguments
constexpr std::size_t line_bytes = 56;

/// A worker that wrote a record every nanosecond would get there in 292 years: what says more was not written by one,
/// and the next record's sequence would soon be 0, which is none.
constexpr std::uint64_t last_sequence = ~std::uint64_t{0} >> 1;

unsigned lines_for(std::size_t bytes) {
  return bytes <= first_line_bytes ? 1 : static_cast<unsigned>(1 + (bytes - first_line_bytes + line_bytes - 1) / line_bytes);
}

}  // namespace

std::size_t record_bytes(std::size_t argument_bytes) { return lines_for(argument_bytes) * sizeof(record_line); }

/// The sequence goes into each line last. Stores within a line become durable in order (x86), so a line with the new
/// sequence is whole; a torn record shows the old sequence in some line, and the other buffer is newer than that.
const void* write_record(worker_slot& slot, const restart& r, std::size_t& bytes) {
  record& buffer = slot.records[r.sequence & 1];
  const unsigned lines = lines_for(r.bytes);
  bytes = lines * sizeof(record_line);
  record_line* line = buffer.lines;
  line->words[record_word::job] = r.job;
  line->words[record_word::head] = record_head(r.kind, lines, r.has_list, r.bytes, 0);
  line->words[record_word::at] = r.at;
  line->words[record_word::type] = r.type;
  line->words[record_word::progress] = r.progress;
  line->words[record_word::when] = r.when;
  line->words[record_word::arguments] = 0;
  const std::byte* from = r.arguments;
  std::size_t left = r.bytes;
  std::size_t n = left < first_line_bytes ? left : first_line_bytes;
  std::memcpy(&line->words[record_word::arguments], from, n);
  for (from += n, left -= n; left > 0; from += n, left -= n) {
    ++line;
    n = left < line_bytes ? left : line_bytes;
    std::memset(line->words, 0, line_bytes);
    std::memcpy(line->words, from, n);
  }
  buffer.lines[0].words[record_word::head] = record_head(r.kind, lines, r.has_list, r.bytes, checksum(buffer, lines, r.sequence));
  for (unsigned i = 0; i < lines; ++i) std::atomic_ref(buffer.lines[i].sequence).store(r.sequence, std::memory_order_release);
  return &buffer;
}

bool read_record(const record& buffer, restart& r) {
  const record_line& first = buffer.lines[0];
  const std::uint64_t head = first.words[record_word::head];
  const auto kind = static_cast<unsigned>(head & 0xff);
  const auto lines = static_cast<unsigned>(head >> 8 & 0x7f);
  const auto bytes = static_cast<std::uint16_t>(head >> 16 & 0xffff);
  if (first.sequence == 0 || first.sequence > last_sequence || kind > static_cast<unsigned>(last_record_kind) || bytes > max_argument_bytes || lines != lines_for(bytes))
    return false;
  for (unsigned i = 1; i < lines; ++i)
    if (buffer.lines[i].sequence != first.sequence) return false;
  if (static_cast<std::uint32_t>(head >> 32) != checksum(buffer, lines, first.sequence)) return false;
  r.sequence = first.sequence;
  r.job = first.words[record_word::job];
  r.kind = static_cast<record_kind>(kind);
  r.at = first.words[record_word::at];
  r.type = first.words[record_word::type];
  r.progress = first.words[record_word::progress];
  r.when = first.words[record_word::when];
  r.bytes = bytes;
  r.has_list = (head >> 15 & 1) != 0;
  std::size_t done = bytes < first_line_bytes ? bytes : first_line_bytes;
  std::memcpy(r.arguments, &first.words[record_word::arguments], done);
  for (unsigned i = 1; i < lines; ++i) {
    const std::size_t n = bytes - done < line_bytes ? bytes - done : line_bytes;
    std::memcpy(r.arguments + done, buffer.lines[i].words, n);
    done += n;
  }
  return true;
}

restart newest_record(const worker_slot& slot, std::uint64_t job) {
  const std::uint64_t a = slot.records[0].lines[0].sequence, b = slot.records[1].lines[0].sequence;
  restart newest, none;
  if (!read_record(slot.records[a > b ? 0 : 1], newest) && !read_record(slot.records[a > b ? 1 : 0], newest)) {
    // Not even a sequence to trust: go on above whatever stands in the lines and could be one.
    for (const std::uint64_t s : {a, b})
      if (s <= last_sequence) none.sequence = std::max(none.sequence, s);
    return none;
  }
  none.sequence = newest.sequence;
  return newest.job == job ? newest : none;
}

bool is_same_step(const restart& a, const restart& b) {
  return a.kind == b.kind && a.at == b.at && a.type == b.type && a.bytes == b.bytes && std::memcmp(a.arguments, b.arguments, a.bytes) == 0;
}

}  // namespace ppmm::detail
