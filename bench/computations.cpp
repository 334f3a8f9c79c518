#include "computations.hpp"

#include "kernels.hpp"

namespace bench {
namespace {
constexpr int fib_n = 32, queens_n = 12;  // 10 to 50 ms
}

const char* name_of(computation c) {
  switch (c) {
    case computation::fib:
      return "fib";
    case computation::queens:
      return "queens";
    case computation::sum:
      return "sum (reduce)";
    case computation::scale:
      return "scale (for_each, fills)";
    default:
      return "sort";
  }
}

const char* serial_name_of(computation c) {
  switch (c) {
    case computation::fib:
    case computation::queens:
      return "serial calls";
    case computation::sort:
      return "std::stable_sort";
    default:
      return "a serial loop";
  }
}

data_bench::data_bench(ppmm::durability level) : workbench(level, std::size_t{256} << 20) {
  auto* first = reinterpret_cast<std::uint64_t*>(ppmm::region_of(pool(), region_bytes).data());
  from_ = {first, count};
  to_ = {first + count, count};
  scatter(from_);
  scatter(to_);
}

double data_bench::run(computation c, ppmm::run_options options) {
  options.region = region_bytes;
  const ppmm::out<std::uint64_t> from(from_.data(), count), to(to_.data(), count);
  switch (c) {
    case computation::fib:
      return compute(ppmm::task<fib>(fib_n), options).ns;
    case computation::queens:
      return compute(ppmm::task<queens>(queens_n), options).ns;
    case computation::sum:
      return compute(ppmm::task<sum>(from.as_in()), options).ns;
    case computation::scale:
      return compute(ppmm::task<scale>(from.as_in(), to), options).ns;
    default:
      scatter(from_);
      return compute(ppmm::task<sort>(from, to), options).ns;
  }
}

double data_bench::run_serial(computation c) {
  if (c == computation::sort) scatter(from_);
  return time_ns(1, [&] {
    switch (c) {
      case computation::fib:
        keep(fib_calls(fib_n));
        break;
      case computation::queens:
        keep(queens_calls(queens_n));
        break;
      case computation::sum:
        keep(sum_serial(from_));
        break;
      case computation::scale:
        scale_serial(from_, to_);
        break;
      default:
        sort_stable_std(from_);
        break;
    }
    asm volatile("" : : : "memory");
  });
}

}  // namespace bench
