/// Every algorithm beside the standard library's, on inputs of all kinds and sizes, in all ways of running; and the
/// heap is clean afterwards.
#include "algo_test.hpp"

#include <ppmm/algo/multiply_tile.hpp>

#include <functional>
#include <map>
#include <numeric>

namespace ppmm::test {
namespace {

struct key_of {
  std::uint32_t operator()(const entry& e) const { return e.key; }
};

/// An operation that does not commute: the composition of x -> ax + b.
struct affine {
  std::uint32_t a = 1, b = 0;
  friend bool operator==(const affine&, const affine&) = default;
};
struct compose {
  affine operator()(const affine& f, const affine& g) const { return {g.a * f.a, g.a * f.b + g.b}; }
};

class Algorithms : public Algorithm {
 protected:
  /// Calls `test(data)` with inputs of all kinds and sizes, the entries numbered.
  template <class Test>
  void on_all_inputs(Test test) {
    std::mt19937_64 random(seed());
    const auto memory = array<entry>(std::ranges::max(sizes));
    for (const std::size_t n : sizes)
      for (const input& in : std::span(inputs).first(n < 65 ? 1 + n : std::size(inputs))) {
        SCOPED_TRACE(std::string(in.name) + ", " + std::to_string(n));
        const out<entry> data = memory.first(n);
        for (std::size_t i = 0; i < n; ++i) elements(data)[i] = {in.key(i, n, random), static_cast<std::uint32_t>(i)};
        test(data);
        if (HasFatalFailure()) return;
      }
  }
  /// Room that nothing of an earlier input is left in.
  template <class T>
  static out<T> fresh(const out<T>& room, std::size_t n) {
    std::ranges::fill(elements(room), T{});
    return room.first(n);
  }
  template <class T>
  static std::vector<T> copy(const out<T>& v) {
    return {elements(v).begin(), elements(v).end()};
  }
  /// The task that copies a new array to `to`, frees it, and gives its size.
  template <class T>
  static auto take_over(const ppmm::array<T>& a, const out<T>& to) {
    return [a, to](context& cx) {
      return cx.call(map(a, to.first(a.size()), std::identity())).then([a](context& c) -> step<std::size_t> {
        c.free(a);
        return a.size();
      });
    };
  }

  static constexpr std::size_t sizes[] = {0, 1, 2, 65, 4097, 33'000};
};
INSTANTIATE_TEST_SUITE_P(Ways, Algorithms, ::testing::ValuesIn(ways), name_of);

TEST_P(Algorithms, TabulateAndMap) {
  const auto a = array<std::uint64_t>(100'000), b = array<std::uint64_t>(100'000);
  for (const std::size_t n : {0u, 1u, 63u, 100'000u}) {
    const auto from = fresh(a, n), to = fresh(b, n);
    run_clean([from, to](context& cx) {
      return cx.call(tabulate(from, [](std::size_t i) { return 3 * i; })).then([from, to](context& c) {
        return map(c, from, to, [](std::uint64_t x) { return x + 1; });
      });
    });
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(elements(to)[i], 3 * i + 1);
  }
}

TEST_P(Algorithms, ReduceAndExtremes) {
  on_all_inputs([&](const out<entry>& data) {
    const auto all = elements(data);
    const auto add = [](std::uint64_t sum, const auto& x) {
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(x)>, entry>)
        return sum + x.key;
      else
        return sum + x;
    };
    EXPECT_EQ(run_clean(ppmm::reduce(data, std::uint64_t{0}, add)),
              std::accumulate(all.begin(), all.end(), std::uint64_t{0}, add));
    EXPECT_EQ(run_clean(ppmm::min_element(data, by_key())),
              static_cast<std::size_t>(std::ranges::min_element(all, by_key()) - all.begin()));
    EXPECT_EQ(run_clean(ppmm::max_element(data, by_key())),
              static_cast<std::size_t>(std::ranges::max_element(all, by_key()) - all.begin()));
  });
}

TEST_P(Algorithms, ExtremesOfNumbers) {
  const auto keys = array<std::int32_t>(std::ranges::max(sizes));
  on_all_inputs([&](const out<entry>& data) {
    const auto numbers = fresh(keys, data.size());
    std::ranges::transform(elements(data), elements(numbers).begin(),
                           [](const entry& e) { return static_cast<std::int32_t>(e.key); });
    const auto all = elements(numbers);
    const extremes found = run_clean(ppmm::minmax_element(numbers));
    EXPECT_EQ(found.least, static_cast<std::size_t>(std::ranges::min_element(all) - all.begin()));
    EXPECT_EQ(found.greatest, static_cast<std::size_t>(std::ranges::max_element(all) - all.begin()));
  });
}

TEST_P(Algorithms, FindIf) {
  std::mt19937_64 random(seed());
  const auto numbers = array<std::uint32_t>(300'000);
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{64}, std::size_t{1000}, numbers.size()})
    for (int round = 0; round < 5; ++round) {
      const auto v = fresh(numbers, n);
      const std::size_t at = round == 0 ? n : random() % (n + 1);
      for (std::size_t i = at; i < n; i += 1 + random() % 3000) elements(v)[i] = 1;
      EXPECT_EQ(run_clean(ppmm::find_if(v, [](std::uint32_t x) { return x == 1; })), at);
    }
}

TEST_P(Algorithms, Scans) {
  const auto functions = array<affine>(std::ranges::max(sizes)), room = array<affine>(functions.size());
  on_all_inputs([&](const out<entry>& data) {
    const auto from = fresh(functions, data.size());
    std::ranges::transform(elements(data), elements(from).begin(), [](const entry& e) {
      return affine{2 * e.key + 1, e.place};
    });
    std::vector<affine> expected(data.size());
    std::inclusive_scan(elements(from).begin(), elements(from).end(), expected.begin(), compose());
    const affine all = expected.empty() ? affine{} : expected.back();

    const auto to = fresh(room, data.size());
    EXPECT_EQ(run_clean(ppmm::inclusive_scan(from, to, affine{}, compose())), all);
    ASSERT_EQ(copy(to), expected);

    std::exclusive_scan(elements(from).begin(), elements(from).end(), expected.begin(), affine{}, compose());
    EXPECT_EQ(run_clean([from, to](context& cx) { return ppmm::exclusive_scan(cx, from, to, affine{}, compose()); }),
              all);
    ASSERT_EQ(copy(to), expected);
  });
}

/// Large enough that thieves take something, and what they have added up is used.
TEST_P(Algorithms, ScanOfMany) {
  const auto from = array<std::uint64_t>(1'000'000), to = array<std::uint64_t>(from.size());
  std::mt19937_64 random(seed());
  std::ranges::generate(elements(from), random);
  std::vector<std::uint64_t> expected(from.size());
  std::inclusive_scan(elements(from).begin(), elements(from).end(), expected.begin());
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(run_clean(ppmm::inclusive_scan(from, fresh(to, to.size()), std::uint64_t{0}, std::plus<>())),
              expected.back());
    ASSERT_EQ(copy(to), expected);
  }
}

TEST_P(Algorithms, Filters) {
  const auto room = array<entry>(std::ranges::max(sizes));
  const auto places = array<std::uint64_t>(room.size());
  const auto flag_room = array<std::uint8_t>(room.size());
  on_all_inputs([&](const out<entry>& data) {
    const auto keep = [](const entry& e) { return (e.key / 2) % 3 != 1; };
    std::vector<entry> expected;
    std::ranges::copy_if(elements(data), std::back_inserter(expected), keep);
    const auto to = fresh(room, data.size());

    EXPECT_EQ(run_clean(filter(data, to, keep)), expected.size());
    ASSERT_EQ(copy(to.first(expected.size())), expected);
    for (const entry& e : elements(to.drop(expected.size()))) ASSERT_EQ(e, entry{});

    fresh(room, 0);
    const auto kept = run_clean([=](context& cx) {
      return cx.call(filter(data, keep)).then([=](context& c, const ppmm::array<entry>& a) {
        return take_over(a, to)(c);
      });
    });
    EXPECT_EQ(kept, expected.size());
    ASSERT_EQ(copy(to.first(expected.size())), expected);

    const auto flags = fresh(flag_room, data.size());
    const auto all_places = fresh(places, data.size());
    fresh(room, 0);
    const auto packed = run_clean([=](context& cx) {
      return cx.call(map(data, flags, keep)).then([=](context& c) {
        return c.fork(pack(data, flags), pack_index(flags))
            .then([=](context& d, const ppmm::array<entry>& a, const ppmm::array<std::uint64_t>& i) {
              return d.fork(take_over(a, to), take_over(i, all_places))
                  .then([](context&, std::size_t m, std::size_t n) -> step<std::size_t> {
                    return m == n ? n : ~std::size_t{0};
                  });
            });
      });
    });
    EXPECT_EQ(packed, expected.size());
    ASSERT_EQ(copy(to.first(expected.size())), expected);
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(elements(all_places)[i], expected[i].place);
  });
}

TEST_P(Algorithms, Merge) {
  const auto room = array<entry>(2 * std::ranges::max(sizes)), right_room = array<entry>(std::ranges::max(sizes));
  std::mt19937_64 random(seed());
  on_all_inputs([&](const out<entry>& data) {
    const auto right = fresh(right_room, data.size() - data.size() / 3);
    for (entry& e : elements(right))
      e = {static_cast<std::uint32_t>(random() % 2 == 0 ? random() % 10 : random()), ~0u};
    std::ranges::stable_sort(elements(data), by_key());
    std::ranges::stable_sort(elements(right), by_key());
    std::vector<entry> expected;
    std::ranges::merge(elements(data), elements(right), std::back_inserter(expected), by_key());
    const auto to = fresh(room, expected.size());
    run_clean(ppmm::merge(data, right, to, by_key()));
    ASSERT_EQ(copy(to), expected);
  });
}

TEST_P(Algorithms, SortsWithRoomFromTheHeap) {
  on_all_inputs([&](const out<entry>& data) {
    std::vector<entry> expected = copy(data);
    std::ranges::stable_sort(expected, by_key());
    run_clean(ppmm::sort(data, by_key()));
    ASSERT_EQ(copy(data), expected);
  });
}

TEST_P(Algorithms, IntegerSort) {
  const auto room = array<entry>(std::ranges::max(sizes));
  for (const unsigned bits : {0u, 1u, 8u, 13u, 20u, 32u})
    on_all_inputs([&](const out<entry>& data) {
      if (bits != 32 && data.size() < 4000) return;  // the small ones once
      const auto low = [bits](const entry& e) { return bits == 32 ? e.key : e.key & ((1u << bits) - 1); };
      std::vector<entry> expected = copy(data);
      std::ranges::stable_sort(expected, {}, low);
      const auto to = fresh(room, data.size());
      run_clean(integer_sort(data, to, key_of(), bits));
      ASSERT_EQ(copy(to), expected);
      run_clean(integer_sort(data, key_of(), bits));
      ASSERT_EQ(copy(data), expected);
    });
}

/// Many blocks, so that thieves take some.
TEST_P(Algorithms, IntegerSortOfMany) {
  std::mt19937_64 random(seed());
  const auto data = array<entry>(400'000), to = array<entry>(data.size());
  for (std::uint32_t i = 0; entry & e : elements(data))
    e = {static_cast<std::uint32_t>(random() % (std::size_t{1} << (i % 12))), i++};
  std::vector<entry> expected = copy(data);
  std::ranges::stable_sort(expected, by_key());
  run_clean(integer_sort(data, to, key_of(), 11));
  ASSERT_EQ(copy(to), expected);
}

TEST_P(Algorithms, Histogram) {
  const auto room = array<std::uint64_t>(100'000);
  for (const std::size_t buckets : {1u, 7u, 256u, 5000u, 100'000u})
    on_all_inputs([&](const out<entry>& data) {
      if (buckets != 256 && data.size() != 65 && data.size() != 33'000) return;
      const auto bucket = [buckets](const entry& e) { return e.key % buckets; };
      std::vector<std::uint64_t> expected(buckets);
      for (const entry& e : elements(data)) ++expected[bucket(e)];
      const auto to = fresh(room, buckets);
      const auto found = run_clean([=](context& cx) {
        return cx.call(histogram(data, buckets, bucket)).then([=](context& c, const ppmm::array<std::uint64_t>& a) {
          return take_over(a, to)(c);
        });
      });
      EXPECT_EQ(found, buckets);
      ASSERT_EQ(copy(to), expected);
    });
}

TEST_P(Algorithms, HistogramRefusesABucketThatIsNotThere) {
  const auto data = array<std::uint32_t>(1000);
  elements(data)[777] = 10;
  EXPECT_THROW(run_clean(histogram(data, array<std::uint64_t>(10), std::identity())), job_failed);
}

TEST_P(Algorithms, GroupBy) {
  const auto key_room = array<std::uint32_t>(std::ranges::max(sizes));
  const auto offset_room = array<std::uint64_t>(key_room.size() + 1);
  on_all_inputs([&](const out<entry>& data) {
    for (entry& e : elements(data)) e.key %= 5000;
    const auto given = copy(data);
    std::map<std::uint32_t, std::vector<entry>> expected;
    for (const entry& e : given) expected[e.key].push_back(e);
    const auto keys = key_room;
    const auto offsets = offset_room;
    const auto take = [=](context& c, const groups<std::uint32_t>& g) {
      return c.fork(take_over(g.keys, keys), take_over(g.offsets, offsets))
          .then([](context&, std::size_t k, std::size_t o) -> step<std::size_t> {
            return o == k + 1 ? k : ~std::size_t{0};
          });
    };
    for (const bool by_bits : {true, false}) {
      std::ranges::copy(given, elements(data).begin());
      const std::size_t n =
          by_bits ? run_clean([=](context& cx) { return cx.call(group_by(data, key_of(), 13)).then(take); })
                  : run_clean([=](context& cx) { return cx.call(group_by(data, key_of())).then(take); });
      ASSERT_EQ(n, expected.size());
      std::size_t g = 0;
      for (const auto& [key, members] : expected) {
        ASSERT_EQ(elements(keys)[g], key);
        const std::size_t first = elements(offsets)[g], last = elements(offsets)[g + 1];
        ASSERT_EQ(copy(data.sub(first, last - first)), members);
        ++g;
      }
      EXPECT_EQ(elements(offsets)[g], data.size());
    }
  });
}

/// Tiles in the middle of larger matrices, of all shapes; with numbers that add up exactly.
TEST_P(Algorithms, Matmul) {
  fault_scale_ = 0.2;  // a turn goes through a thousand rows
  struct shape {
    std::size_t m, k, n;
  };
  constexpr std::size_t side = 160, inner = 2 * detail::inner_turn + 60;
  const auto left = array<double>(side * inner), right = array<double>(inner * side), product = array<double>(side * side);
  std::mt19937_64 random(seed());
  for (const auto& matrix : {left, right, product})
    for (double& x : elements(matrix)) x = static_cast<double>(random() % 100);
  for (const shape s : {shape{1, 1, 1}, shape{3, 5, 7}, shape{64, 64, 64}, shape{65, 33, 130}, shape{20, inner - 8, 9},
                        shape{0, 3, 5}, shape{3, 0, 5}, shape{150, 40, 150}}) {
    SCOPED_TRACE(std::to_string(s.m) + " x " + std::to_string(s.k) + " x " + std::to_string(s.n));
    const tile<in<double>> a = tile(left.as_in(), inner).sub(7, 3, s.m, s.k),
                           b = tile(right.as_in(), side).sub(1, 4, s.k, s.n);
    const auto before = copy(product);
    run_clean(matmul(a, b, tile(product, side).sub(2, 5, s.m, s.n)));
    for (std::size_t i = 0; i < side; ++i)
      for (std::size_t j = 0; j < side; ++j) {
        double expected = before[i * side + j];
        if (i >= 2 && i < 2 + s.m && j >= 5 && j < 5 + s.n) {
          expected = 0;
          for (std::size_t l = 0; l < s.k; ++l) expected += a.row(i - 2).address()[l] * b.row(l).address()[j - 5];
        }
        ASSERT_EQ(elements(product)[i * side + j], expected) << i << ", " << j;
      }
  }
  EXPECT_THROW(run_clean(matmul(tile(left.as_in(), 10), tile(right.as_in(), side), tile(product, side))), job_failed);
}

TEST_P(Algorithms, RefuseRoomOfAnotherSize) {
  const auto data = array<std::uint32_t>(100), to = array<std::uint32_t>(99);
  EXPECT_THROW(run_clean(map(data, to, std::identity())), job_failed);
  EXPECT_THROW(run_clean(ppmm::inclusive_scan(data, to, 0u, std::plus<>())), job_failed);
  EXPECT_THROW(run_clean(ppmm::merge(data, data, to)), job_failed);
  EXPECT_THROW(run_clean(integer_sort(data, std::identity(), 33)), job_failed);
  EXPECT_THROW(run_clean(filter(data, to, [](std::uint32_t) { return true; })), job_failed);
}

}  // namespace
}  // namespace ppmm::test
