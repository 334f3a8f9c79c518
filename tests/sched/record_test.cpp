#include <gtest/gtest.h>
#include <ppmm/sched/record.hpp>

#include <cstddef>
#include <cstring>
#include <memory>

namespace ppmm::detail {
namespace {

restart sample(std::uint64_t sequence, std::uint16_t bytes) {
  restart r;
  r.sequence = sequence;
  r.job = 5;
  r.kind = record_kind::run;
  r.at = 0x1000;
  r.type = 77;
  r.progress = 3 * sequence;
  r.bytes = bytes;
  for (std::size_t i = 0; i < bytes; ++i) r.arguments[i] = static_cast<std::byte>(i * 7 + sequence);
  return r;
}

void expect_same(const restart& a, const restart& b) {
  EXPECT_EQ(a.sequence, b.sequence);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.at, b.at);
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.progress, b.progress);
  ASSERT_EQ(a.bytes, b.bytes);
  EXPECT_EQ(std::memcmp(a.arguments, b.arguments, a.bytes), 0);
}

TEST(Record, RoundTripOfEverySize) {
  auto slot = std::make_unique<worker_slot>();
  std::size_t written = 0;
  for (std::uint16_t bytes = 0; bytes <= max_argument_bytes; ++bytes) {
    const restart r = sample(bytes + 1u, bytes);
    write_record(*slot, r, written);
    EXPECT_LE(written, sizeof(record));
    expect_same(newest_record(*slot, 5), r);
  }
}

TEST(Record, AnotherJobsRecordCountsAsIdleAndKeepsItsSequence) {
  auto slot = std::make_unique<worker_slot>();
  std::size_t written = 0;
  write_record(*slot, sample(9, 8), written);
  const restart r = newest_record(*slot, 6);
  EXPECT_EQ(r.kind, record_kind::idle);
  EXPECT_EQ(r.sequence, 9u);
}

/// A crash keeps of each line an old or a new state, in any mixture: the newest record is then the old one, or, with
/// every line new, the new one. Never a third.
TEST(Record, EveryMixtureOfOldAndNewLinesIsOldOrNew) {
  for (const std::uint16_t bytes : {std::uint16_t{0}, std::uint16_t{8}, std::uint16_t{9}, std::uint16_t{64}, std::uint16_t{200}, std::uint16_t{400}}) {
    auto slot = std::make_unique<worker_slot>();
    std::size_t written = 0;
    write_record(*slot, sample(1, bytes), written);  // what the buffer held before
    write_record(*slot, sample(2, bytes), written);  // the durable record
    const record before[2] = {slot->records[0], slot->records[1]};
    write_record(*slot, sample(3, bytes), written);
    const auto lines = static_cast<unsigned>(written / sizeof(record_line));
    for (unsigned kept = 0; kept < 1u << lines; ++kept) {
      auto crashed = std::make_unique<worker_slot>();
      crashed->records[0] = before[0];
      crashed->records[1] = before[1];
      for (unsigned i = 0; i < lines; ++i)
        if ((kept >> i & 1) != 0) crashed->records[1].lines[i] = slot->records[1].lines[i];
      const restart r = newest_record(*crashed, 5);
      expect_same(r, kept + 1 == 1u << lines ? sample(3, bytes) : sample(2, bytes));
    }
  }
}

/// Within a line stores become durable in program order (x86), so a torn line is a prefix of words: never valid, or
/// the old record.
TEST(Record, TornFirstLineIsFound) {
  auto slot = std::make_unique<worker_slot>();
  std::size_t written = 0;
  write_record(*slot, sample(1, 8), written);
  write_record(*slot, sample(2, 8), written);
  const record_line old = slot->records[1].lines[0];
  write_record(*slot, sample(3, 8), written);
  const record_line now = slot->records[1].lines[0];
  for (std::size_t words = 1; words < 8; ++words) {
    record_line torn = old;
    std::memcpy(static_cast<void*>(&torn), &now, words * 8);
    if (std::memcmp(&torn, &now, sizeof torn) == 0) continue;
    slot->records[1].lines[0] = torn;
    EXPECT_EQ(newest_record(*slot, 5).sequence, 2u) << words;
  }
}

/// On a disk the page of a worker is written while its newest record is: any sectors of it may be new, and the one that was
/// being written when the power failed may be anything.
TEST(Record, InAPageTornBySectorsIsTheOldOrTheNew) {
  auto slot = std::make_unique<worker_slot>();
  std::size_t written = 0;
  write_record(*slot, sample(1, 400), written);
  write_record(*slot, sample(2, 400), written);
  constexpr std::size_t sectors = sizeof(worker_slot) / sector;
  const auto copy_sector = [](worker_slot& to, const worker_slot& from, std::size_t i) {
    std::memcpy(reinterpret_cast<std::byte*>(&to) + i * sector, reinterpret_cast<const std::byte*>(&from) + i * sector, sector);
  };
  const auto copy_of = [&](const worker_slot& from) {
    auto to = std::make_unique<worker_slot>();
    for (std::size_t i = 0; i < sectors; ++i) copy_sector(*to, from, i);
    return to;
  };
  const auto before = copy_of(*slot);
  slot->redo[1].sequence = 3;  // the list goes before the record
  slot->redo[1].count = 7;
  slot->live_progress.store(77);
  write_record(*slot, sample(3, 400), written);
  constexpr std::size_t of_the_new_record = (offsetof(worker_slot, records) + sizeof(record)) / sector;
  for (unsigned kept = 0; kept < 1u << sectors; ++kept) {
    const auto crashed = copy_of(*before);
    for (std::size_t i = 0; i < sectors; ++i)
      if ((kept >> i & 1) != 0) copy_sector(*crashed, *slot, i);
    const bool has_new = (kept >> of_the_new_record & 1) != 0;
    expect_same(newest_record(*crashed, 5), has_new ? sample(3, 400) : sample(2, 400));
    std::memset(reinterpret_cast<std::byte*>(crashed.get()) + of_the_new_record * sector, static_cast<int>(kept), sector);
    expect_same(newest_record(*crashed, 5), sample(2, 400));
  }
}

TEST(Record, GarbageIsIdle) {
  auto slot = std::make_unique<worker_slot>();
  for (int seed = 0; seed < 2000; ++seed) {
    auto* bytes = reinterpret_cast<unsigned char*>(slot->records);
    for (std::size_t i = 0; i < sizeof slot->records; ++i) bytes[i] = static_cast<unsigned char>((static_cast<unsigned>(seed) * 2654435761u + i * 40503u) >> 7);
    EXPECT_EQ(newest_record(*slot, 5).kind, record_kind::idle);
  }
}

}  // namespace
}  // namespace ppmm::detail
