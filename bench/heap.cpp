/// heap [--quick]
///
/// Allocating and freeing objects of 48 bytes: PPMM's heap at level `emulated`, malloc, and libpmemobj, atomic and in
/// transactions, both flushing by cache line. Measured in turns in one run: a Markdown table of ns for one allocation and
/// its free, and of ratios.
#include "measure.hpp"
#include "obj_pool.hpp"
#include "workbench.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

using namespace bench;

struct object {
  std::uint64_t words[6];
};
constexpr std::size_t batch = 64;

/// An allocation, then its free; over and over in one capsule and the next.
ppmm::step<void> pairs(ppmm::context& cx, std::uint64_t n) {
  return ppmm::for_each(cx, 0, n, [](ppmm::context& c, std::size_t lo, std::size_t hi) {
    for (; lo < hi; ++lo) {
      const auto p = c.alloc<object>();
      keep(p);
      c.free(p);
    }
  });
}

/// The same by `with`, a buffer a frame, at the leaves of a tree of forks; and the frames alone.
template <bool with_buffer>
ppmm::step<std::uint64_t> leaves(ppmm::context& cx, std::uint64_t n) {
  if (n > 1)
    return cx.fork(ppmm::task<leaves<with_buffer>>(n / 2), ppmm::task<leaves<with_buffer>>(n - n / 2))
        .then([](ppmm::context&, std::uint64_t x, std::uint64_t y) -> ppmm::step<std::uint64_t> { return x + y; });
  if constexpr (with_buffer)
    return cx.with<object>(1, [](ppmm::context&, ppmm::array<object> a) -> ppmm::step<std::uint64_t> {
      keep(a);
      return 1u;
    });
  else
    return cx.call([](ppmm::context&) -> ppmm::step<std::uint64_t> { return 1u; }).then([](ppmm::context&, std::uint64_t v) -> ppmm::step<std::uint64_t> {
      keep(v);
      return v;
    });
}

/// 1,000 objects, committed; then all freed, committed.
struct thousand {
  std::array<ppmm::ptr<object>, 1000> all;
};
ppmm::step<int> make_and_free(ppmm::context& cx, std::uint64_t rounds);
ppmm::step<int> free_all(ppmm::context& cx, ppmm::ptr<thousand> t, std::uint64_t rounds) {
  for (const auto p : cx.read(t)[0].all) cx.free(p);
  cx.free(t);
  cx.commit_next();
  return cx.tail(ppmm::task<make_and_free>(rounds - 1));
}
ppmm::step<int> make_and_free(ppmm::context& cx, std::uint64_t rounds) {
  if (rounds == 0) return 0;
  const auto t = cx.alloc<thousand>();
  for (auto& p : cx.write(t)[0].all) p = cx.alloc<object>();
  cx.commit_next();
  return cx.tail(ppmm::task<free_all>(t, rounds));
}

/// A pool of libpmemobj's, with places for a thousand objects.
class obj_heap {
 public:
  obj_heap() : pool_(std::size_t{256} << 20), root_(pmemobj_root(pool_.get(), sizeof(PMEMoid) * 1000)) {
    if (OID_IS_NULL(root_)) obj_pool::fail();
  }

  void atomic(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
      if (pmemobj_alloc(pool_.get(), at(i), sizeof(object), 1, nullptr, nullptr) != 0) obj_pool::fail();
    for (std::size_t i = 0; i < n; ++i) pmemobj_free(at(i));
  }
  void in_transactions(std::size_t n) {
    for (std::size_t i = 0; i < n; i += batch) pool_.transaction([&] {
        for (std::size_t j = i; j < i + batch && j < n; ++j) *at(j) = pmemobj_tx_alloc(sizeof(object), 1);
      });
    for (std::size_t i = 0; i < n; i += batch) pool_.transaction([&] {
        for (std::size_t j = i; j < i + batch && j < n; ++j) pmemobj_tx_free(*at(j));
      });
  }

 private:
  PMEMoid* at(std::size_t i) { return static_cast<PMEMoid*>(pmemobj_direct(root_)) + i; }

  obj_pool pool_;
  PMEMoid root_;
};

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
  obj_pool::flush_lines_everywhere();
  workbench w(ppmm::durability::emulated);
  obj_heap obj;
  const std::uint64_t n = quick ? 100'000 : 1'000'000, rounds = n / 1000;
  std::vector<void*> pointers(1000);

  turns t;
  const auto malloc_pair = t.add([&] {
    return time_ns(1, [&] {
             for (std::uint64_t i = 0; i < n; ++i) {
               void* p = std::malloc(sizeof(object));
               keep(p);
               std::free(p);
             }
           }) / static_cast<double>(n);
  });
  const auto ours_pair = t.add([&] { return w.compute(ppmm::task<pairs>(n), workers(1)).ns / static_cast<double>(n); });
  const auto ours_with = t.add([&] { return w.compute(ppmm::task<leaves<true>>(n), workers(1)).ns / static_cast<double>(n); });
  const auto ours_frames = t.add([&] { return w.compute(ppmm::task<leaves<false>>(n), workers(1)).ns / static_cast<double>(n); });
  const auto malloc_many = t.add([&] {
    return time_ns(1, [&] {
             for (std::uint64_t r = 0; r < rounds; ++r) {
               for (void*& p : pointers) p = std::malloc(sizeof(object));
               keep(pointers[0]);
               for (void* p : pointers) std::free(p);
             }
           }) / static_cast<double>(n);
  });
  const auto ours_many = t.add([&] { return w.compute(ppmm::task<make_and_free>(rounds), workers(1)).ns / static_cast<double>(n); });
  const auto obj_rounds = rounds / 10 + 1;
  const auto obj_atomic = t.add([&] {
    return time_ns(1, [&] {
             for (std::uint64_t r = 0; r < obj_rounds; ++r) obj.atomic(1000);
           }) / static_cast<double>(1000 * obj_rounds);
  });
  const auto obj_tx = t.add([&] {
    return time_ns(1, [&] {
             for (std::uint64_t r = 0; r < obj_rounds; ++r) obj.in_transactions(1000);
           }) / static_cast<double>(1000 * obj_rounds);
  });
  t.take(quick ? 3 : 21);

  const auto row = [&](std::string_view what, std::size_t i, std::size_t beside) {
    fmt::print("| {} | {:.1f} ns | {:.2f} × |\n", what, t.median_of(i), t.ratio(i, beside));
  };
  fmt::print("| an allocation of 48 bytes and its free | time | beside PPMM's durable one |\n| --- | --- | --- |\n");
  row("PPMM, freed by the same task", ours_pair, ours_many);
  row("malloc, freed at once", malloc_pair, ours_many);
  row("PPMM, cx.with at the leaves of a tree of forks", ours_with, ours_many);
  row("the tree and its frames alone", ours_frames, ours_many);
  row("PPMM, 1000 allocated, committed, freed, committed", ours_many, ours_many);
  row("malloc, 1000 allocated, then freed", malloc_many, ours_many);
  row("libpmemobj, atomic, 1000 allocated, then freed", obj_atomic, ours_many);
  row("libpmemobj, in transactions of 64", obj_tx, ours_many);
  fmt::print("\nPPMM's pair beside malloc's: {:.2f} ×\n", t.ratio(ours_pair, malloc_pair));
}
