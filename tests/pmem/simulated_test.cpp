/// The simulated medium: what it says a failure leaves is what x86 and the flushes allow, no less and no more.
#include <ppmm/pmem/errors.hpp>
#include <ppmm/pmem/simulated.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <set>
#include <vector>

namespace ppmm::test {
namespace {

using word = std::uint64_t;

class Simulated : public ::testing::Test {
 protected:
  Simulated()
      : file_("/dev/shm/ppmm-simulated-" + std::to_string(getpid()) + ".pool"),
        pool_(pool::create(file_, {.size = pool::min_size, .max_workers = 1, .sparse = true, .level = durability::process})),
        at_(reinterpret_cast<word*>(pool_.segments()[0].data())),
        medium_(pool_),
        mine_(pool_.medium()),
        other_(pool_.medium()) {}
  ~Simulated() override { std::filesystem::remove(file_); }

  /// All pairs of values that the two words may have after a failure now.
  std::set<std::pair<word, word>> possible(const word* a, const word* b) {
    const simulated_medium::image left = medium_.power_failure();
    std::set<std::pair<word, word>> found;
    std::vector<unsigned> choices, widths;
    do {
      std::size_t asked = 0;
      widths.clear();
      medium_.restart_from(left, [&](unsigned n) {
        if (asked == choices.size()) choices.push_back(0);
        widths.push_back(n);
        return choices[asked++];
      });
      const word first = *const_cast<const volatile word*>(a), second = *const_cast<const volatile word*>(b);
      found.emplace(first, second);
      choices.resize(widths.size());
      while (!choices.empty() && ++choices.back() >= widths[choices.size() - 1]) choices.pop_back();
    } while (!choices.empty());
    return found;
  }
  using pairs = std::set<std::pair<word, word>>;

  std::filesystem::path file_;
  pool pool_;
  word* at_;  // at the beginning of a line
  simulated_medium medium_;
  persister mine_, other_;
};

TEST_F(Simulated, SaysItsLevel) {
  EXPECT_EQ(pool_.medium().level, durability::simulated);
  EXPECT_NE(pool_.describe_medium().find("simulated"), std::string::npos);
}

TEST_F(Simulated, KeepsOrLosesEachLineByItself) {
  at_[0] = 1;
  at_[8] = 2;  // the next line
  EXPECT_EQ(possible(&at_[0], &at_[8]), (pairs{{0, 0}, {1, 0}, {0, 2}, {1, 2}}));
}

TEST_F(Simulated, KeepsStoresOfALineInOrder) {
  at_[0] = 1;
  at_[1] = 2;
  at_[0] = 3;
  EXPECT_EQ(possible(&at_[0], &at_[1]), (pairs{{0, 0}, {1, 0}, {1, 2}, {3, 2}}));
}

TEST_F(Simulated, TearsAStoreOfSeveralWords) {
  const word two[2] = {5, 6};
  std::memcpy(at_, two, sizeof two);
  EXPECT_EQ(possible(&at_[0], &at_[1]), (pairs{{0, 0}, {5, 0}, {5, 6}}));
}

TEST_F(Simulated, AFlushWithoutAFencePromisesNothing) {
  at_[0] = 1;
  mine_.flush(at_, 8);
  EXPECT_EQ(possible(&at_[0], &at_[8]), (pairs{{0, 0}, {1, 0}}));
}

TEST_F(Simulated, WhatWasFlushedAndFencedStays) {
  at_[0] = 1;
  mine_.persist(at_, 8);
  at_[0] = 2;
  EXPECT_EQ(possible(&at_[0], &at_[8]), (pairs{{1, 0}, {2, 0}}));
}

TEST_F(Simulated, AFlushCoversOnlyWhatWasStoredBefore) {
  at_[0] = 1;
  mine_.flush(at_, 8);
  at_[0] = 2;
  mine_.fence();
  EXPECT_EQ(possible(&at_[0], &at_[8]), (pairs{{1, 0}, {2, 0}}));
}

TEST_F(Simulated, AnothersFenceIsNotMine) {
  at_[0] = 1;
  mine_.flush(at_, 8);
  other_.fence();
  EXPECT_EQ(possible(&at_[0], &at_[8]), (pairs{{0, 0}, {1, 0}}));
}

TEST_F(Simulated, AnyonesFlushAndFenceMakeALineDurable) {
  at_[0] = 1;
  other_.persist(at_, 8);
  EXPECT_EQ(possible(&at_[0], &at_[8]), (pairs{{1, 0}}));
}

TEST_F(Simulated, SeesAtomicOperations) {
  std::atomic_ref<word> a(at_[0]);
  word expected = 0;
  a.compare_exchange_strong(expected, 7);
  expected = 99;
  a.compare_exchange_strong(expected, 8);  // fails
  a.fetch_add(1);
  EXPECT_EQ(possible(&at_[0], &at_[8]), (pairs{{0, 0}, {7, 0}, {8, 0}}));
}

TEST_F(Simulated, AChoiceHoldsAndIsMadeOnlyWhenLooked) {
  at_[0] = 1;
  at_[8] = 2;
  const simulated_medium::image left = medium_.power_failure();
  EXPECT_EQ(left.open_lines(), 2u);
  unsigned asked = 0;
  medium_.restart_from(left, [&](unsigned n) {
    ++asked;
    return n - 1;
  });
  EXPECT_EQ(asked, 0u);
  const word first = *const_cast<volatile word*>(&at_[0]);
  EXPECT_EQ(*const_cast<volatile word*>(&at_[0]), first);
  EXPECT_EQ(asked, 1u);
  EXPECT_EQ(medium_.power_failure().open_lines(), 1u) << "the other line is still open";
}

/// What is stored over a line that is still open leaves it open below.
TEST_F(Simulated, AStoreOverAnOpenLineMayBeLostWithIt) {
  at_[0] = 1;
  medium_.restart_from(medium_.power_failure(), [](unsigned) { return 0u; });
  at_[0] = 9;
  EXPECT_EQ(possible(&at_[0], &at_[8]), (pairs{{0, 0}, {1, 0}, {9, 0}}));
}

TEST_F(Simulated, ADeadProcessLosesNothingThatWasStored) {
  at_[0] = 1;
  mine_.flush(at_, 8);
  medium_.restart_from(medium_.process_death(), nullptr);
  EXPECT_EQ(*const_cast<volatile word*>(&at_[0]), 1u);
  mine_.fence();  // what the dead one had flushed is nobody's any more
  EXPECT_EQ(possible(&at_[0], &at_[8]), (pairs{{0, 0}, {1, 0}}));
}

TEST_F(Simulated, EqualImagesHaveEqualHashes) {
  at_[0] = 1;
  const std::uint64_t one = medium_.power_failure().hash();
  at_[1] = 1;
  const std::uint64_t two = medium_.power_failure().hash();
  EXPECT_NE(one, two);
  medium_.restart_from({}, nullptr);
  EXPECT_EQ(at_[0], 0u);
  at_[0] = 1;
  EXPECT_EQ(medium_.power_failure().hash(), one);
}

TEST_F(Simulated, KnowsWhatIsDurable) {
  at_[0] = 1;
  at_[1] = 1;
  EXPECT_FALSE(medium_.is_durable(&at_[0], 8));
  EXPECT_TRUE(medium_.is_durable(&at_[2], 8)) << "nothing was stored there";
  mine_.persist(at_, 16);
  EXPECT_TRUE(medium_.is_durable(&at_[0], 16));
}

TEST_F(Simulated, TellsFlushesWithoutNeed) {
  std::vector<std::uintptr_t> lines;
  medium_.on_unneeded_flush([&](std::uintptr_t line) { lines.push_back(line); });
  at_[0] = 1;
  mine_.flush(at_, 8);
  EXPECT_TRUE(lines.empty());
  mine_.fence();
  mine_.flush(at_, 8);
  mine_.flush(&at_[8], 8);
  EXPECT_EQ(lines, (std::vector{reinterpret_cast<std::uintptr_t>(&at_[0]), reinterpret_cast<std::uintptr_t>(&at_[8])}));
}

}  // namespace
}  // namespace ppmm::test
