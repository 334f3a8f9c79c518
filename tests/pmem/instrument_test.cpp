/// In an instrumented build every kind of access to the observed range is told, in order, with its address and size.
#include <gtest/gtest.h>

#include <ppmm/pmem/instrument.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <ostream>
#include <thread>
#include <utility>
#include <vector>

namespace ppmm::detail {
namespace {

struct access {
  char kind;         // L or S
  std::size_t at;    // offset in the observed buffer
  std::size_t size;
  friend bool operator==(const access&, const access&) = default;
  friend std::ostream& operator<<(std::ostream& o, const access& a) { return o << a.kind << a.at << '+' << a.size; }
};
using accesses = std::vector<access>;

alignas(64) std::byte buffer[1024];
std::byte around[1024];  // not observed

/// Writes down what it is told; reads the buffer itself, which must not be told.
class notes : public access_observer {
 public:
  void about_to_load(const void* p, std::size_t n, const void* pc) override { add('L', p, n, pc); }
  void about_to_store(const void* p, std::size_t n, const void* pc) override { add('S', p, n, pc); }

  accesses seen;
  std::vector<const void*> where;
  std::vector<std::byte> first_bytes;  // of what is about to be accessed

 private:
  void add(char kind, const void* p, std::size_t n, const void* pc) {
    seen.push_back({kind, static_cast<std::size_t>(static_cast<const std::byte*>(p) - buffer), n});
    where.push_back(pc);
    first_bytes.push_back(*static_cast<const std::byte*>(p));
  }
};

/// Where the compiler cannot see through: what stands before has happened, what pointers point to is unknown.
template <class T>
T* unknown(T* p) {
  asm volatile("" : "+r"(p) : : "memory");
  return p;
}

template <class T>
T unknown_value(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

class Instrument : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ranges::fill(buffer, std::byte{0});
    observe_accesses(reinterpret_cast<std::uintptr_t>(buffer), sizeof buffer, &notes_);
  }
  void TearDown() override { observe_accesses(0, 0, nullptr); }

  template <class T>
  static T* at(std::size_t offset) {
    return unknown(reinterpret_cast<T*>(buffer + offset));
  }
  /// What was seen since the last call.
  accesses seen() {
    unknown(buffer);
    return std::exchange(notes_.seen, {});
  }

  notes notes_;
};

// Not inlined: each is what a user's function does.
template <class T>
[[gnu::noinline]] void store_one(T* p, T value) { *p = value; }
template <class T>
[[gnu::noinline]] T load_one(const T* p) { return *p; }
template <class T>
[[gnu::noinline]] void assign(T* a, const T* b) { *a = *b; }

TEST_F(Instrument, SaysThatItIs) { EXPECT_TRUE(accesses_are_instrumented()); }

template <class T>
void plain(notes& n) {
  T* p = unknown(reinterpret_cast<T*>(buffer + 64));
  store_one(p, T(7));
  EXPECT_EQ(load_one(p), T(7));
  *p += T(1);
  EXPECT_EQ(std::exchange(n.seen, {}), (accesses{{'S', 64, sizeof(T)}, {'L', 64, sizeof(T)}, {'L', 64, sizeof(T)}, {'S', 64, sizeof(T)}}));
}
TEST_F(Instrument, PlainAccesses) {
  plain<std::uint8_t>(notes_);
  plain<std::uint16_t>(notes_);
  plain<std::uint32_t>(notes_);
  plain<std::uint64_t>(notes_);
  plain<float>(notes_);
  plain<double>(notes_);
  plain<long double>(notes_);
}

TEST_F(Instrument, Volatiles) {
  volatile std::uint32_t* p = at<volatile std::uint32_t>(8);
  *p = 3;
  const std::uint32_t got = *p;
  EXPECT_EQ(got, 3u);
  EXPECT_EQ(seen(), (accesses{{'S', 8, 4}, {'L', 8, 4}}));
}

struct [[gnu::packed]] odd {
  char c;
  std::uint16_t two;
  std::uint32_t four;
  std::uint64_t eight;
};
TEST_F(Instrument, UnalignedAccesses) {
  odd* p = at<odd>(0);
  p->two = 2;
  p->four = 4;
  p->eight = 8;
  EXPECT_EQ(p->two + p->four + p->eight, 14u);
  const accesses all = seen();
  const accesses stores{{'S', 1, 2}, {'S', 3, 4}, {'S', 7, 8}};
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(accesses(all.begin(), all.begin() + 3), stores);
  for (const access& a : stores) EXPECT_EQ(std::count(all.begin() + 3, all.end(), access{'L', a.at, a.size}), 1) << a;
}

template <std::size_t n>
struct block {
  std::uint64_t words[n / 8];
};
template <std::size_t n>
void copies(notes& notes) {
  using b = block<n>;
  b* to = unknown(reinterpret_cast<b*>(buffer));
  b* from = unknown(reinterpret_cast<b*>(buffer + 512));
  assign(to, from);
  // One statement: the compiler announces its store first.
  EXPECT_EQ(std::exchange(notes.seen, {}), (accesses{{'S', 0, n}, {'L', 512, n}}));
  std::memcpy(to, from, sizeof(b));
  EXPECT_EQ(std::exchange(notes.seen, {}), (accesses{{'L', 512, n}, {'S', 0, n}}));
  std::memmove(unknown(to), from, sizeof(b));
  EXPECT_EQ(std::exchange(notes.seen, {}), (accesses{{'L', 512, n}, {'S', 0, n}}));
  std::memset(to, 1, sizeof(b));
  EXPECT_EQ(std::exchange(notes.seen, {}), (accesses{{'S', 0, n}}));
  EXPECT_EQ(buffer[n - 1], std::byte{1});
  EXPECT_NE(std::memcmp(to, from, sizeof(b)), 0);
  EXPECT_EQ(std::exchange(notes.seen, {}), (accesses{{'L', n - 1, 1}, {'L', 0, n}, {'L', 512, n}}));
  *unknown(to) = b{};
  EXPECT_EQ(std::exchange(notes.seen, {}), (accesses{{'S', 0, n}}));
}
TEST_F(Instrument, CopiesOfConstantSize) {
  copies<8>(notes_);
  copies<16>(notes_);
  copies<24>(notes_);
  copies<48>(notes_);
  copies<200>(notes_);
}

TEST_F(Instrument, CopiesOfVariableSize) {
  for (const std::size_t n : {1u, 3u, 24u, 100u, 400u}) {
    std::memcpy(at<char>(0), at<char>(500), unknown_value(n));
    std::memset(at<char>(8), 0, unknown_value(n));
    EXPECT_EQ(seen(), (accesses{{'L', 500, n}, {'S', 0, n}, {'S', 8, n}}));
  }
}

TEST_F(Instrument, StandardAlgorithms) {
  std::copy_n(at<std::uint64_t>(0), 3, at<std::uint64_t>(256));
  EXPECT_EQ(seen(), (accesses{{'L', 0, 24}, {'S', 256, 24}}));
  std::copy(at<char>(0), at<char>(33), at<char>(256));
  EXPECT_EQ(seen(), (accesses{{'L', 0, 33}, {'S', 256, 33}}));
  std::fill_n(at<char>(5), 11, 'x');
  EXPECT_EQ(seen(), (accesses{{'S', 5, 11}}));
  EXPECT_EQ(std::accumulate(at<std::uint16_t>(32), at<std::uint16_t>(36), 0), 0);
  EXPECT_EQ(seen(), (accesses{{'L', 32, 2}, {'L', 34, 2}}));
  EXPECT_TRUE(std::equal(at<char>(100), at<char>(110), at<char>(200)));
  EXPECT_EQ(seen(), (accesses{{'L', 100, 10}, {'L', 200, 10}}));
}

TEST_F(Instrument, LoopsOverBytes) {
  char* p = at<char>(0);
  const std::size_t n = unknown_value<std::size_t>(40);
  for (std::size_t i = 0; i < n; ++i) p[i] = 0;  // which the compiler would like to make a memset
  accesses expected;
  for (std::size_t i = 0; i < 40; ++i) expected.push_back({'S', i, 1});
  EXPECT_EQ(seen(), expected);
}

struct fields {
  std::uint32_t a : 3, b : 13, c : 16;
};
TEST_F(Instrument, BitFields) {
  fields* p = at<fields>(16);
  p->b = 5;
  const accesses store = seen();
  ASSERT_FALSE(store.empty());
  EXPECT_EQ(store.back(), (access{'S', 16, 4}));
  EXPECT_EQ(p->b, 5u);
  const accesses load = seen();
  ASSERT_FALSE(load.empty());
  for (const access& a : load) EXPECT_TRUE(a.kind == 'L' && a.at >= 16 && a.at + a.size <= 20) << a;
}

struct pair_of_words {
  std::uint64_t a, b;
};
[[gnu::noinline]] pair_of_words make_pair_of_words(std::uint64_t x) { return {x, x + 1}; }
TEST_F(Instrument, SmallClassesFromFunctions) {
  *at<pair_of_words>(32) = make_pair_of_words(unknown_value<std::uint64_t>(3));
  const accesses all = seen();
  std::size_t bytes = 0;
  for (const access& a : all) bytes += a.kind == 'S' && a.at >= 32 && a.at + a.size <= 48 ? a.size : 0;
  EXPECT_EQ(bytes, 16u) << ::testing::PrintToString(all);
}

template <class T>
void atomics(notes& n) {
  auto& word = *unknown(reinterpret_cast<std::atomic<T>*>(buffer + 128));
  const accesses load{{'L', 128, sizeof(T)}}, store{{'S', 128, sizeof(T)}}, both{load[0], store[0]};
  const auto seen = [&] { return std::exchange(n.seen, {}); };

  word.store(1, std::memory_order_relaxed);
  EXPECT_EQ(seen(), store);
  EXPECT_EQ(word.load(std::memory_order_acquire), T(1));
  EXPECT_EQ(seen(), load);
  EXPECT_EQ(word.exchange(6), T(1));
  EXPECT_EQ(seen(), both);
  EXPECT_EQ(word.fetch_add(3), T(6));
  EXPECT_EQ(word.fetch_sub(1), T(9));
  EXPECT_EQ(word.fetch_or(1), T(8));
  EXPECT_EQ(word.fetch_and(13), T(9));
  EXPECT_EQ(word.fetch_xor(1), T(9));
  EXPECT_EQ(++word, T(9));
  EXPECT_EQ((word.fetch_or(2) & 2), 0);  // which the compiler would like to make a bts
  EXPECT_EQ(__atomic_fetch_nand(reinterpret_cast<T*>(&word), T(11), __ATOMIC_SEQ_CST), T(11));
  EXPECT_EQ(seen().size(), 16u);

  word.store(5);
  seen();
  T expected = 4;
  EXPECT_FALSE(word.compare_exchange_strong(expected, 7, std::memory_order_acq_rel));
  EXPECT_EQ(expected, T(5));
  EXPECT_EQ(seen(), load) << "a failing compare-exchange stores nothing";
  EXPECT_TRUE(word.compare_exchange_strong(expected, 7, std::memory_order_acq_rel));
  EXPECT_EQ(seen(), both);
  expected = 7;
  while (!word.compare_exchange_weak(expected, 8)) {}
  EXPECT_EQ(seen(), both);
  EXPECT_EQ(word.load(), T(8));
  seen();
  EXPECT_EQ(__sync_val_compare_and_swap(reinterpret_cast<T*>(&word), T(8), T(9)), T(8));
  EXPECT_EQ(seen(), both);
  EXPECT_EQ(__sync_val_compare_and_swap(reinterpret_cast<T*>(&word), T(8), T(9)), T(9));
  EXPECT_EQ(seen(), load);
}
TEST_F(Instrument, Atomics) {
  atomics<std::uint8_t>(notes_);
  atomics<std::uint16_t>(notes_);
  atomics<std::uint32_t>(notes_);
  atomics<std::uint64_t>(notes_);
}

/// Every store that happens was announced, whoever interferes.
TEST_F(Instrument, AtomicsOfManyThreadsAreReallyAtomic) {
  class counting : public access_observer {
   public:
    void about_to_load(const void*, std::size_t, const void*) override { ++loads; }
    void about_to_store(const void*, std::size_t, const void*) override { ++stores; }
    std::atomic<std::uint64_t> loads{0}, stores{0};
  } counts;
  observe_accesses(reinterpret_cast<std::uintptr_t>(buffer), sizeof buffer, &counts);
  auto& word = *at<std::atomic<std::uint64_t>>(0);
  constexpr std::uint64_t turns = 20'000;
  {
    const auto work = [&] {
      for (std::uint64_t i = 0; i < turns; ++i) {
        word.fetch_add(1);
        std::uint64_t v = word.load();
        while (!word.compare_exchange_weak(v, v + 1)) {}
      }
    };
    std::jthread a(work), b(work);
  }
  EXPECT_EQ(word.load(), 4 * turns);
  EXPECT_GE(counts.stores.load(), 4 * turns);
  EXPECT_GE(counts.loads.load(), 6 * turns);
}

TEST_F(Instrument, AStoreIsToldBeforeItIsMade) {
  auto* plain_word = at<std::uint8_t>(0);
  auto& atomic_word = *at<std::atomic<std::uint8_t>>(1);
  *plain_word = 1;
  *unknown(plain_word) = 2;
  atomic_word.store(3);
  atomic_word.exchange(4);
  std::memset(at<char>(2), 5, unknown_value<std::size_t>(9));
  seen();
  EXPECT_EQ(notes_.first_bytes, (std::vector{std::byte{0}, std::byte{1}, std::byte{0}, std::byte{3}, std::byte{3}, std::byte{0}}));
}

TEST_F(Instrument, TellsWhere) {
  store_one(at<std::uint32_t>(0), 1u);
  store_one(at<std::uint32_t>(0), 2u);
  *at<std::uint32_t>(0) = 3;
  seen();
  const auto distance = [](const void* pc, auto* function) {
    return static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(pc) - reinterpret_cast<std::uintptr_t>(function));
  };
  ASSERT_EQ(notes_.where.size(), 3u);
  EXPECT_EQ(notes_.where[0], notes_.where[1]);
  EXPECT_NE(notes_.where[0], notes_.where[2]);
  EXPECT_GT(distance(notes_.where[0], &store_one<std::uint32_t>), 0);
  EXPECT_LT(distance(notes_.where[0], &store_one<std::uint32_t>), 100);
}

TEST_F(Instrument, OutsideTheRangeNothingIsTold) {
  std::byte* outside = unknown(around);
  outside[0] = std::byte{1};
  std::memcpy(outside, outside + 300, 200);
  std::memset(outside, 1, sizeof around);
  std::vector<int> v(100, 1);
  EXPECT_EQ(std::accumulate(v.begin(), v.end(), 0), 100);
  auto& word = *unknown(reinterpret_cast<std::atomic<std::uint64_t>*>(around + 8 - reinterpret_cast<std::uintptr_t>(around) % 8));
  word.fetch_add(1);
  EXPECT_EQ(seen(), accesses{});

  // The parts inside, of accesses that go over the edges.
  constexpr std::size_t half = sizeof buffer / 2;
  observe_accesses(reinterpret_cast<std::uintptr_t>(buffer) + half, 8, &notes_);
  std::memset(at<char>(0), 1, sizeof buffer);
  store_one(at<std::uint64_t>(half - 4), std::uint64_t{1});
  store_one(at<std::uint64_t>(half + 4), std::uint64_t{1});
  store_one(at<std::uint64_t>(half - 8), std::uint64_t{1});
  store_one(at<std::uint64_t>(half + 8), std::uint64_t{1});
  EXPECT_EQ(seen(), (accesses{{'S', half, 8}, {'S', half, 4}, {'S', half + 4, 4}}));

  observe_accesses(0, 0, nullptr);
  std::memset(at<char>(0), 1, sizeof buffer);
  store_one(at<std::uint64_t>(0), std::uint64_t{1});
  EXPECT_EQ(seen(), accesses{});
}

}  // namespace
}  // namespace ppmm::detail
