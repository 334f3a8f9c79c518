#include "line.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace ppmm::tools {
namespace {

std::uint64_t seed() {
  const char* given = std::getenv("PPMM_SEED");
  const std::uint64_t s = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  ::testing::Test::RecordProperty("seed", std::to_string(s));
  std::printf("PPMM_SEED=%llu\n", static_cast<unsigned long long>(s));
  return s;
}

/// Lines in one text, and their table.
struct lines {
  explicit lines(const std::vector<std::string>& all) : strings(all) {
    for (const auto& s : all) text += s + '\n';
    std::size_t at = 0;
    for (const auto& s : all) {
      table.emplace_back(std::span<const char>(text), at, s.size());
      at += s.size() + 1;
    }
  }
  bool before(std::size_t i, std::size_t j) const { return comes_before(table[i], table[j], text); }

  std::vector<std::string> strings;
  std::string text;
  std::vector<line> table;
};

void expect_bytewise(const lines& l) {
  for (std::size_t i = 0; i < l.table.size(); ++i)
    for (std::size_t j = 0; j < l.table.size(); ++j)
      ASSERT_EQ(l.before(i, j), l.strings[i] < l.strings[j])  // char_traits<char> compares as unsigned char
          << ::testing::PrintToString(l.strings[i]) << " and " << ::testing::PrintToString(l.strings[j]);
}

TEST(Line, OrderOfRunsAndEnds) {
  using namespace std::string_literals;
  std::vector<std::string> all{"",  "\0"s, "\0\0"s, "\0\1"s, "\1\0"s, "\xff", "\xff\xff", "\xff\xfe",
                               "a", "aa",  "aaa",   "aab",   "ab",    "a\0"s, "a\0b"s};
  for (const std::size_t run : {1u, 2u, 5u, 6u, 7u, 8u, 126u, 127u, 128u, 129u, 255u, 256u, 300u})
    for (const char* end : {"", " ", "!", "\t", "\xff", "a", "abcdef", "abcdefg", "abcdefgh"})
      for (const char c : {' ', '-', '\xff', '\0'}) all.push_back(std::string(run, c) + end);
  expect_bytewise(lines(all));
}

TEST(Line, OrderOfRandomLines) {
  std::mt19937_64 random(seed());
  for (const int alphabet : {1, 2, 3, 256}) {
    std::vector<std::string> all(300);
    for (auto& s : all) {
      s.resize(random() % 20);
      for (char& c : s) {
        c = static_cast<char>(alphabet == 256 ? random() % 256 : random() % static_cast<unsigned>(alphabet));
        if (c == '\n') c = 'n';
      }
    }
    expect_bytewise(lines(all));
  }
}

TEST(Line, LongerThanTheLengthField) {
  const std::string base(line::max_short - 1, 'x');
  expect_bytewise(lines({base, base + "x", base + "xx", base + "xy", base + "xxy", base + "y", "x", "y"}));
}

TEST(Line, LengthPastTheLengthField) {
  const lines l({std::string(line::max_short + 5, 'x'), std::string(line::max_short, 'y'),
                 std::string(line::max_short - 1, 'z')});
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(length_of(l.table[i], l.text), l.strings[i].size());
}

}  // namespace
}  // namespace ppmm::tools
