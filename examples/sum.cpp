/// Bulk data in the pool: fills an array in parallel, then adds it up. Views say what each task reads and writes; from
/// them the runtime knows what to flush.
///
///     sum            leaves sum.pool
///
/// After a kill, run it again: it goes on. The array is memory that the job has asked for (its region), at the same
/// place in each run. To begin anew, remove the file.
#include <ppmm/ppmm.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>

static ppmm::step<std::uint64_t> add_up(ppmm::context& cx, ppmm::in<std::uint64_t> numbers) {
  const auto sum = [numbers](ppmm::context& c, std::size_t lo, std::size_t hi) {
    std::uint64_t s = 0;
    for (const std::uint64_t n : c.read(numbers.sub(lo, hi - lo))) s += n;
    return s;
  };
  return ppmm::reduce(cx, 0, numbers.size(), std::uint64_t{0}, sum, std::plus<std::uint64_t>());
}

static ppmm::step<std::uint64_t> fill_and_add_up(ppmm::context& cx, ppmm::out<std::uint64_t> numbers) {
  const auto fill = [numbers](ppmm::context& c, std::size_t lo, std::size_t hi) {
    std::uint64_t next = lo;
    for (std::uint64_t& n : c.write(numbers.sub(lo, hi - lo))) n = next++;
  };
  return cx.call(ppmm::for_each(0, numbers.size(), fill)).then(ppmm::task<add_up>(numbers.as_in()));
}

int main() try {
  constexpr std::size_t count = 10'000'000;
  ppmm::run_options options;
  options.region = count * sizeof(std::uint64_t);
  ppmm::pool_options file;
  file.size = options.region + (std::size_t{64} << 20);
  ppmm::pool pool = ppmm::pool::open_or_create("sum.pool", file);
  const ppmm::out<std::uint64_t> numbers(reinterpret_cast<std::uint64_t*>(ppmm::region_of(pool, options.region).data()),
                                         count);

  const std::uint64_t sum = ppmm::run(pool, "sum", ppmm::task<fill_and_add_up>(numbers), options);
  std::printf("0 + 1 + ... + %zu = %llu\n", count - 1, static_cast<unsigned long long>(sum));
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
