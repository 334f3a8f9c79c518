/// The heap by itself: what counts of which job, how memory comes back, lists that are not what they should be.
#include "alloc_test.hpp"

#include <gtest/gtest.h>

#include <ppmm/alloc/inspect.hpp>

namespace ppmm::test {
namespace {

using namespace detail;

struct one_worker {
  one_worker(fake_medium& m, std::uint64_t serial) : p(m.get()), h(m.place(), m.get(), serial, shared), books(shared.make<arena_books>()), a(h, 0, 0, *books, p), area(m.areas(0)) {}
  void commit() {
    if (a.write_list(area[(sequence + 1) & 1], sequence + 1)) p.fence();
    ++sequence;
    a.committed(sequence);
    p.fence();
  }
  std::byte* allocate(std::size_t bytes) {
    return bytes > max_block_bytes ? a.allocate_extent(bytes, {}) : a.allocate(size_class_for(bytes), {});
  }
  persister p;
  commons shared;
  heap h;
  shared_object<arena_books> books;
  arena a;
  redo_area* area;
  std::uint64_t sequence = 0;
};

std::uint64_t blocks(fake_medium& m) {
  const chunk_space s(m.place(), m.get(), 0);
  const heap_report r = inspect_heap(s);
  for (const auto& problem : r.problems) ADD_FAILURE() << problem;
  return r.blocks;
}

TEST(HeapAlone, AllMemoryComesBack) {
  fake_medium m(200);
  one_worker w(m, 1);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::byte*> all;
    try {
      for (;;) all.push_back(w.allocate(1 + all.size() * 7919 % 100'000));
    } catch (const out_of_pool_memory&) {
    }
    EXPECT_GT(all.size(), 100u);
    for (std::byte* p : all) w.a.free(p, {});
    w.commit();
    w.commit();
  }
  EXPECT_LE(w.h.chunks().taken(), size_classes + 2u);  // nothing holds on to chunks, but a superblock a class and two lists
}

/// A list that is too long for its area, when the pool has become full meanwhile: the chunk for it was taken before. And
/// where there was none: capsules must end sooner.
TEST(HeapAlone, ListsHaveRoomInAFullPool) {
  for (const bool full_before : {false, true}) {
    fake_medium m(60);
    one_worker w(m, 1);
    w.h.begin_job(w.p);
    std::vector<std::byte*> all;
    for (int i = 0; i < 5000; ++i) all.push_back(w.allocate(16));
    w.commit();
    w.h.set_root("all", 0, 0, 1, 1, w.p);
    w.h.finish_job(w.p);
    one_worker later(m, 2);
    later.h.begin_job(later.p);
    if (!full_before) {
      EXPECT_FALSE(later.a.is_full());
    }
    while (later.h.chunks().take_high(0) != no_chunk) {
    }
    std::size_t noted = 0;
    while (noted < all.size() && !later.a.is_full()) later.a.free(all[noted++], {});
    EXPECT_EQ(noted, full_before ? redo_words_in_area / 2 : redo_words_in_chunk / 4);
    later.commit();
    later.commit();
    EXPECT_EQ(blocks(m), 5000 - noted);
    if (!full_before) continue;
    while (noted < all.size()) later.a.free(all[noted++], {});
    try {
      later.commit();
      ADD_FAILURE();
    } catch (const out_of_pool_memory& e) {
      EXPECT_EQ(e.asked, chunk_bytes);
      EXPECT_EQ(e.free, 0u);
      EXPECT_NE(std::string(e.what()).find("to note"), std::string::npos) << e.what();
    }
  }
}

TEST(HeapAlone, NoFlushAndNoFenceBetweenCommits) {
  fake_medium m(60);
  one_worker w(m, 1);
  w.a.free(w.allocate(64), {});
  const unsigned fences = m.fences();
  const std::uint64_t flushes = w.p.counters().flushes;
  std::vector<std::byte*> some;
  for (int i = 0; i < 500; ++i) some.push_back(w.allocate(64));
  for (std::byte* p : some) w.a.free(p, {});
  EXPECT_EQ(m.fences(), fences);
  EXPECT_EQ(w.p.counters().flushes, flushes);
}

/// Serials that are kept and serials that are not, far more than there are bits for.
TEST(HeapAlone, WhatIsKeptStaysKeptWhenItsBitIsUsedAgain) {
  fake_medium m(60);
  std::uint64_t kept = 0;
  for (std::uint64_t serial = 1; serial < 3 * serial_window; serial += serial % 64 == 0 ? 700 : 1) {
    one_worker w(m, serial);
    w.h.begin_job(w.p);
    static_cast<void>(w.allocate(serial % 40'000 + 1));
    static_cast<void>(w.allocate(100));
    if (serial % 16 == 0) w.h.set_root(std::array{"a", "b", "c"}[serial % 3], 0, 0, 1, 1, w.p);
    w.commit();
    w.h.finish_job(w.p);
    kept += serial % 16 == 0 ? 2 : 0;
    ASSERT_EQ(blocks(m), kept) << serial;
  }
}

TEST(HeapAlone, DamagedListsAreRefused) {
  fake_medium m(60);
  one_worker w(m, 1);
  for (int i = 0; i < 20'000; ++i) static_cast<void>(w.allocate(16));
  ASSERT_TRUE(w.a.write_list(w.area[1], 1));
  EXPECT_EQ(w.h.read_list(w.area[1], 1).size(), 20'000u);
  EXPECT_THROW(w.h.read_list(w.area[1], 2), corrupt_pool);
  const redo_area good = w.area[1];
  const auto spoil = [&](auto how) {
    w.area[1] = good;
    how(w.area[1]);
    EXPECT_THROW(w.h.read_list(w.area[1], 1), corrupt_pool);
    w.area[1] = good;
  };
  spoil([](redo_area& a) { a.count += 1; });
  spoil([](redo_area& a) { a.count = ~std::uint64_t{0}; });
  spoil([](redo_area& a) { a.next = 0; });
  spoil([](redo_area& a) { a.next = 1; });
  spoil([](redo_area& a) { a.next = 1'000'000; });
  spoil([](redo_area& a) { a.words[5] ^= 1; });
  auto* second = reinterpret_cast<std::uint64_t*>(m.place().address(static_cast<std::uint32_t>(good.next - 1)));
  second[0] = good.next;  // in a circle
  EXPECT_THROW(w.h.read_list(w.area[1], 1), corrupt_pool);
}

TEST(HeapAlone, InspectionFindsDamagedTables) {
  fake_medium m(60);
  one_worker w(m, 1);
  w.h.begin_job(w.p);
  w.h.set_root("x", 0, 0, 1, 1, w.p);
  const std::uint32_t small = m.place().number_of(w.allocate(1200)), large = m.place().number_of(w.allocate(5 * chunk_bytes));
  w.commit();
  w.h.finish_job(w.p);
  EXPECT_EQ(blocks(m), 2u);
  chunk_entry* table = m.place().ranges[0].table;
  const auto expect_problem = [&](durable_word<std::uint64_t>& word, std::uint64_t value) {
    const std::uint64_t good = word.load();
    word.store(value);
    const chunk_space s(m.place(), m.get(), 0);
    EXPECT_FALSE(inspect_heap(s).problems.empty()) << std::hex << value;
    word.store(good);
  };
  expect_problem(table[small - 1].word, chunk_word(0, chunk_kind::superblock, size_classes));
  expect_problem(table[small - 1].word, chunk_word(0, static_cast<chunk_kind>(9)));
  expect_problem(table[small - 1].bits.alloc, ~std::uint64_t{0} << 60);
  expect_problem(table[small - 1].serial, 2);
  expect_problem(table[large - 1].chunks, 1000);
  expect_problem(table[large - 1].chunks, 0);
  expect_problem(table[large].word, 0);
  expect_problem(table[large + 2].chunks, 9);
  expect_problem(m.place().control->newest, 0);
  expect_problem(m.place().control->newest, 2 * serial_window);
}

/// Told which entries may be other than zero, inspection finds the same; a forged extent is one problem, however long.
TEST(HeapAlone, InspectionLooksWhereItIsTold) {
  fake_medium m(300);
  one_worker w(m, 1);
  w.h.begin_job(w.p);
  for (int i = 0; i < 300; ++i) w.allocate(1 + static_cast<std::size_t>(i) * 37 % 5000);
  w.allocate(100 * chunk_bytes);
  w.commit();
  w.h.set_root("all", 0, 0, 1, 1, w.p);
  w.h.finish_job(w.p);
  const chunk_space s(m.place(), m.get(), 0);
  const heap_report all = inspect_heap(s);
  EXPECT_EQ(all.blocks, 301u);
  const auto same_if_written = [&](const std::function<bool(std::uint32_t chunk)>& written) {
    const auto next_written = [&](const void* p) -> const void* {
      for (std::uint32_t c = 1; c < 301; ++c)
        if (&s.entry(c) >= p && written(c)) return &s.entry(c);
      return nullptr;
    };
    const heap_report some = inspect_heap(s, {.next_written = next_written});
    return some.blocks == all.blocks && some.bytes == all.bytes && some.problems.empty();
  };
  EXPECT_TRUE(same_if_written([](std::uint32_t) { return true; }));
  EXPECT_TRUE(same_if_written([&](std::uint32_t c) { return s.entry(c).word.load() != 0; }));
  EXPECT_FALSE(same_if_written([](std::uint32_t c) { return c > 200; }));
  EXPECT_FALSE(same_if_written([](std::uint32_t) { return false; }));
  for (std::uint32_t c = 1; c < 301; ++c) {
    chunk_entry& e = s.entry(c);
    if (!is_kind(e.word.load(), chunk_kind::extent)) continue;
    e.chunks.store(m.place().ranges[0].end - c);
    break;
  }
  EXPECT_EQ(inspect_heap(s).problems.size(), 1u);
}

/// A word that fits its checksum may still name what is not there.
TEST(HeapAlone, ForgedListsAreRefused) {
  fake_medium m(60);
  one_worker w(m, 1);
  auto* p = w.allocate(1000);
  const std::uint32_t chunk = m.place().number_of(p);
  for (const std::uint64_t word : {redo_word(0, 0, 0, true, false), redo_word(0, 5000, 0, true, false), redo_word(0, chunk, 4000, true, false)}) {
    redo_area& a = w.area[0];
    a.sequence = 2;
    a.count = 1;
    a.next = 0;
    a.words[0] = word;
    a.checksum = list_checksum(a, {word});
    EXPECT_THROW(w.h.read_list(a, 2), corrupt_pool) << std::hex << word;
  }
}

}  // namespace
}  // namespace ppmm::test
