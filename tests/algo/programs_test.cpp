/// Random programs of algorithms, on views that begin and end anywhere, one after the other on the same memory: what is
/// in all of it at the end is what the standard library makes of it. PPMM_SEED repeats a run.
#include <array>
#include <functional>
#include <numeric>
#include <string_view>

#include "algo_test.hpp"

namespace ppmm::test {
namespace {

using word = std::uint64_t;
using words = std::span<word>;

struct low_byte {
  std::uint8_t operator()(word w) const { return static_cast<std::uint8_t>(w); }
};
struct by_low_byte {
  bool operator()(word a, word b) const { return low_byte()(a) < low_byte()(b); }
};
/// Does not commute: a word is a function x -> ax + b, its halves are a and b.
struct compose {
  word operator()(word f, word g) const { return (f >> 32) * (g >> 32) << 32 | ((f * (g >> 32) + g) & 0xffff'ffff); }
};
constexpr word unchanged = word{1} << 32;

word digest(std::span<const word> s) {
  return std::accumulate(s.begin(), s.end(), word{s.size()}, [](word h, word w) { return h * 31 + w; });
}
constexpr auto take = [](context& cx, const ppmm::array<word>& a) -> step<word> {
  const word h = digest(cx.read(a));
  cx.free(a);
  return h;
};
constexpr auto nothing = [](context&) -> step<word> { return word{0}; };
constexpr auto as_word = [](context&, std::size_t n) -> step<word> { return word{n}; };

/// What is done with two views of the same size that are apart, and the same with the standard library.
struct instruction {
  const char* name;
  step<word> (*run)(context& cx, out<word> from, out<word> to);
  word (*model)(words from, words to);
};
constexpr instruction instructions[] = {
    {"tabulate",
     [](context& cx, out<word> from, out<word> to) {
       return cx.call(tabulate(to, [n = from.size()](std::size_t i) { return i * i * 0x9e37'79b9'7f4a'7c15u + n; }))
           .then(nothing);
     },
     [](words from, words to) {
       for (std::size_t i = 0; i < to.size(); ++i) to[i] = i * i * 0x9e37'79b9'7f4a'7c15u + from.size();
       return word{0};
     }},
    {"map",
     [](context& cx, out<word> from, out<word> to) {
       return cx.call(map(from, to, [](word w) { return w ^ w >> 7; })).then(nothing);
     },
     [](words from, words to) {
       std::ranges::transform(from, to.begin(), [](word w) { return w ^ w >> 7; });
       return word{0};
     }},
    {"reduce", [](context& cx, out<word> from, out<word>) { return ppmm::reduce(cx, from, unchanged, compose()); },
     [](words from, words) { return std::accumulate(from.begin(), from.end(), unchanged, compose()); }},
    {"extremes",
     [](context& cx, out<word> from, out<word> to) {
       return cx.fork(ppmm::min_element(from, by_low_byte()), ppmm::max_element(to, by_low_byte()))
           .then([](context&, std::size_t a, std::size_t b) -> step<word> { return a * 100'000 + b; });
     },
     [](words from, words to) {
       return static_cast<word>((std::ranges::min_element(from, by_low_byte()) - from.begin()) * 100'000 +
                                (std::ranges::max_element(to, by_low_byte()) - to.begin()));
     }},
    {"find_if",
     [](context& cx, out<word> from, out<word>) {
       return cx.call(ppmm::find_if(from, [](word w) { return w % 251 == 0; })).then(as_word);
     },
     [](words from, words) {
       return static_cast<word>(std::ranges::find_if(from, [](word w) { return w % 251 == 0; }) - from.begin());
     }},
    {"exclusive_scan",
     [](context& cx, out<word> from, out<word> to) { return ppmm::exclusive_scan(cx, from, to, unchanged, compose()); },
     [](words from, words to) {
       std::exclusive_scan(from.begin(), from.end(), to.begin(), unchanged, compose());
       return std::accumulate(from.begin(), from.end(), unchanged, compose());
     }},
    {"inclusive_scan",
     [](context& cx, out<word> from, out<word> to) {
       return ppmm::inclusive_scan(cx, from, to, word{0}, std::plus<>());
     },
     [](words from, words to) {
       std::inclusive_scan(from.begin(), from.end(), to.begin());
       return std::accumulate(from.begin(), from.end(), word{0});
     }},
    {"filter",
     [](context& cx, out<word> from, out<word> to) {
       return cx.call(filter(from, to, [](word w) { return w % 3 != 0; })).then(as_word);
     },
     [](words from, words to) {
       return static_cast<word>(std::ranges::copy_if(from, to.begin(), [](word w) { return w % 3 != 0; }).out -
                                to.begin());
     }},
    {"pack",
     [](context& cx, out<word> from, out<word> to) {
       return cx
           .fork([=](context& c) { return c.call(pack(from, to)).then(take); },
                 [=](context& c) { return c.call(pack_index(from)).then(take); })
           .then([](context&, word a, word b) -> step<word> { return a ^ b * 3; });
     },
     [](words from, words to) {
       std::vector<word> kept, places;
       for (std::size_t i = 0; i < from.size(); ++i) {
         if (to[i] != 0) kept.push_back(from[i]);
         if (from[i] != 0) places.push_back(i);
       }
       return digest(kept) ^ digest(places) * 3;
     }},
    {"sort",
     [](context& cx, out<word> from, out<word>) { return cx.call(ppmm::sort(from, by_low_byte())).then(nothing); },
     [](words from, words) {
       std::ranges::stable_sort(from, by_low_byte());
       return word{0};
     }},
    {"merge",
     [](context& cx, out<word> from, out<word> to) {
       const out<word> a = from.first(from.size() / 3), b = from.drop(from.size() / 3);
       return cx.fork(ppmm::sort(a, by_low_byte()), ppmm::sort(b, by_low_byte())).then([=](context& c) {
         return c.call(ppmm::merge(a, b, to, by_low_byte())).then(nothing);
       });
     },
     [](words from, words to) {
       const words a = from.first(from.size() / 3), b = from.subspan(from.size() / 3);
       std::ranges::stable_sort(a, by_low_byte());
       std::ranges::stable_sort(b, by_low_byte());
       std::ranges::merge(a, b, to.begin(), by_low_byte());
       return word{0};
     }},
    {"integer_sort",
     [](context& cx, out<word> from, out<word> to) {
       return cx.call(integer_sort(from, to, std::identity(), 20)).then([=](context& c) {
         return c.call(integer_sort(from, low_byte(), 8)).then(nothing);
       });
     },
     [](words from, words to) {
       std::ranges::copy(from, to.begin());
       std::ranges::stable_sort(to, {}, [](word w) { return w & 0xf'ffff; });
       std::ranges::stable_sort(from, by_low_byte());
       return word{0};
     }},
    {"histogram",
     [](context& cx, out<word> from, out<word> to) {
       return cx.call(histogram(from, to, [n = to.size()](word w) { return w % n; })).then(nothing);
     },
     [](words from, words to) {
       std::ranges::fill(to, 0);
       for (const word w : from) ++to[w % to.size()];
       return word{0};
     }},
    {"group_by",
     [](context& cx, out<word> from, out<word>) {
       return cx.call(group_by(from, low_byte(), 8)).then([](context& c, const groups<std::uint8_t>& g) -> step<word> {
         const word h = digest(c.read(g.offsets)) + c.read(g.keys).size();
         c.free(g.keys);
         c.free(g.offsets);
         return h;
       });
     },
     [](words from, words) {
       std::ranges::stable_sort(from, by_low_byte());
       std::vector<word> starts;
       for (std::size_t i = 0; i <= from.size(); ++i)
         if (i == 0 || i == from.size() || by_low_byte()(from[i - 1], from[i])) starts.push_back(i);
       if (from.empty()) starts = {0};
       return digest(starts) + starts.size() - 1;
     }},
};

struct line {
  std::uint32_t what, from, to, size;
};
struct program {
  std::array<line, 6> lines;
};

step<word> do_line(context& cx, out<word> memory, line l) {
  return instructions[l.what].run(cx, memory.sub(l.from, l.size), memory.sub(l.to, l.size));
}
step<word> do_all(context& cx, out<word> memory, program p, std::uint32_t at, word before) {
  if (at == p.lines.size()) return before;
  return cx.call(task<do_line>(memory, p.lines[at])).then([=](context& c, word value) {
    return c.tail(task<do_all>(memory, p, at + 1, before * 31 + value));
  });
}

/// Two views of the same size anywhere in `memory` words, apart; most are small, some empty.
line random_line(std::size_t memory, std::mt19937_64& random) {
  const auto below = [&](std::size_t n) { return static_cast<std::uint32_t>(random() % n); };
  const std::uint32_t size = below(std::size_t{2} << random() % 14);
  std::uint32_t a = below(memory - 2 * size), b = a + size + below(memory - 2 * size - a);
  if (random() % 2 == 0) std::swap(a, b);
  return {below(std::size(instructions)), a, b, size};
}

using Programs = Algorithm;
INSTANTIATE_TEST_SUITE_P(Ways, Programs, ::testing::ValuesIn(ways), name_of);

TEST_P(Programs, DoWhatTheStandardLibraryDoes) {
  std::mt19937_64 random(seed() ^ std::hash<std::string_view>()(GetParam().name));
  const auto memory = array<word>(70'000);
  std::ranges::generate(elements(memory), random);
  for (int round = 0; round < 60; ++round) {
    program p;
    std::string text;
    for (line& l : p.lines) {
      l = random_line(memory.size(), random);
      text += std::string(instructions[l.what].name) + " of " + std::to_string(l.size) + " at " +
              std::to_string(l.from) + " and " + std::to_string(l.to) + "; ";
    }
    SCOPED_TRACE("program " + std::to_string(round) + ": " + text);
    std::vector<word> expected(elements(memory).begin(), elements(memory).end());
    word value = 0;
    for (const line& l : p.lines)
      value = value * 31 + instructions[l.what].model(words(expected).subspan(l.from, l.size),
                                                      words(expected).subspan(l.to, l.size));
    ASSERT_EQ(run_clean(task<do_all>(memory, p, 0u, word{0})), value);
    ASSERT_TRUE(std::ranges::equal(elements(memory), expected));
  }
}

}  // namespace
}  // namespace ppmm::test
