/// Packing: the elements that are kept, close together, in their order.
#pragma once

#include <ppmm/algo/scan.hpp>
#include <ppmm/algo/views.hpp>
#include <ppmm/sched/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace ppmm {

namespace detail {

/// Where packed elements come from: `open(cx, lo, hi)` gives an object whose `keep(i)` and `value(i)` tell about
/// element lo + i.
template <class T, class Keep>
struct kept_of_view {
  using value_type = T;
  in<T> from;
  [[no_unique_address]] Keep keep;

  struct opened {
    const T* p;
    const Keep& k;
    bool keep(std::size_t i) const { return static_cast<bool>(k(p[i])); }
    T value(std::size_t i) const { return p[i]; }
  };
  opened open(context& cx, std::size_t lo, std::size_t hi) const {
    return {cx.read(from.sub(lo, hi - lo)).data(), keep};
  }
};
template <class T, class Flag>
struct kept_by_flag {
  using value_type = T;
  in<T> from;
  in<Flag> flags;

  struct opened {
    const T* p;
    const Flag* f;
    bool keep(std::size_t i) const { return static_cast<bool>(f[i]); }
    T value(std::size_t i) const { return p[i]; }
  };
  opened open(context& cx, std::size_t lo, std::size_t hi) const {
    return {cx.read(from.sub(lo, hi - lo)).data(), cx.read(flags.sub(lo, hi - lo)).data()};
  }
};
template <class Flag>
struct places_by_flag {
  using value_type = std::uint64_t;
  in<Flag> flags;

  struct opened {
    const Flag* f;
    std::size_t lo;
    bool keep(std::size_t i) const { return static_cast<bool>(f[i]); }
    std::uint64_t value(std::size_t i) const { return lo + i; }
  };
  opened open(context& cx, std::size_t lo, std::size_t hi) const {
    return {cx.read(flags.sub(lo, hi - lo)).data(), lo};
  }
};

/// How many of [lo, hi) are kept.
template <class Source>
struct count_kept {
  Source source;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi) const {
    const auto some = source.open(cx, lo, hi);
    std::size_t n = 0;
    for (std::size_t i = 0; i < hi - lo; ++i) n += std::size_t{some.keep(i)};
    return n;
  }
};

/// Writes those of [lo, hi) that are kept, `at` elements into `to`.
template <class Source>
struct write_kept {
  using T = typename Source::value_type;
  Source source;
  out<T> to;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi, std::size_t at) const {
    constexpr std::size_t some = std::max(std::size_t{8192} / sizeof(T), std::size_t{1});
    const auto from = source.open(cx, lo, hi);
    T kept[some];  // first to where there is room for all: so there need be no jumps, and what is written is known
    for (std::size_t i = 0; i < hi - lo; i += some) {
      const std::size_t end = std::min(i + some, hi - lo);
      std::size_t n = 0;
      for (std::size_t j = i; j < end; ++j) {
        kept[n] = from.value(j);
        n += std::size_t{from.keep(j)};
      }
      if (n > to.size() - at) need_size("filter", to.size(), at + n);
      std::copy_n(kept, n, cx.write(to.sub(at, n)).data());
      at += n;
    }
    return at;
  }
};

template <class Source>
auto pack_parts(const Source& source, const out<typename Source::value_type>& to) {
  return scan_parts<std::size_t, std::plus<>, count_kept<Source>, write_kept<Source>>{0, {}, {source}, {source, to}};
}

/// The task that writes the kept ones of n to the beginning of `to`, and gives their number.
template <class Source>
auto pack_into(const Source& source, std::size_t n, const out<typename Source::value_type>& to) {
  return scan_all(pack_parts(source, to), 0, n);
}

/// The task that gives the kept ones of n in an array that is just large enough: it counts before it writes.
template <class Source>
auto pack_array(const Source& source, std::size_t n) {
  using T = typename Source::value_type;
  return [source, n](context& cx) -> step<array<T>> {
    const std::size_t block = scan_block(n, 256);
    const array<std::size_t> counts = cx.alloc<std::size_t>(blocks_of(n, block));
    return cx.call(add_up_blocks(pack_parts(source, {}), 0, n, block, counts))
        .then([source, n, block, counts](context& c) -> step<array<T>> {
          const array<std::size_t> before = c.alloc<std::size_t>(counts.size());
          const std::size_t all = sum_before_blocks(c, pack_parts(source, {}), counts, before, 0);
          const array<T> to = c.alloc<T>(all);
          c.free(counts);
          using loop = scan_loop<decltype(pack_parts(source, {}))>;
          return c.call(loop{pack_parts(source, as_out(to)), 0, n, 0, before, block, 0, turn_length()})
              .then([to, before](context& d, std::size_t) -> step<array<T>> {
                d.free(before);
                return to;
              });
        });
  };
}

}  // namespace detail

/// The task that gives a new array with the elements x of `from` for which `keep(x)`, in their order; it is the
/// caller's to free. `keep` is called twice for each. (2n + kept)/B transfers.
template <readable From, durable_value Keep>
auto filter(const From& from, const Keep& keep) {
  return detail::pack_array(detail::kept_of_view<element<From>, Keep>{as_in(from), keep}, from.size());
}
template <readable From, durable_value Keep>
step<array<element<From>>> filter(context& cx, const From& from, const Keep& keep) {
  return filter(from, keep)(cx);
}

/// The task that writes the elements x of `from` for which `keep(x)` to the beginning of `to`, in their order, and
/// gives their number. `to` is apart from `from`; it must have room for all of them, what is behind them keeps its
/// contents. At most (2n + kept)/B transfers, (n + kept)/B where nothing is stolen.
template <readable From, writable To, durable_value Keep>
auto filter(const From& from, const To& to, const Keep& keep) {
  return detail::pack_into(detail::kept_of_view<element<From>, Keep>{as_in(from), keep}, from.size(), as_out(to));
}
template <readable From, writable To, durable_value Keep>
step<std::size_t> filter(context& cx, const From& from, const To& to, const Keep& keep) {
  return filter(from, to, keep)(cx);
}

/// The task that gives a new array with the elements of `from` whose flag is not zero; else as filter.
template <readable From, readable Flags>
auto pack(const From& from, const Flags& flags) {
  using source = detail::kept_by_flag<element<From>, element<Flags>>;
  return [from = as_in(from), flags = as_in(flags)](context& cx) -> step<array<element<From>>> {
    detail::need_size("pack", flags.size(), from.size());
    return detail::pack_array(source{from, flags}, from.size())(cx);
  };
}
template <readable From, readable Flags>
step<array<element<From>>> pack(context& cx, const From& from, const Flags& flags) {
  return pack(from, flags)(cx);
}

/// The task that gives a new array with the places whose flag is not zero, in ascending order; else as filter.
template <readable Flags>
auto pack_index(const Flags& flags) {
  return detail::pack_array(detail::places_by_flag<element<Flags>>{as_in(flags)}, flags.size());
}
template <readable Flags>
step<array<std::uint64_t>> pack_index(context& cx, const Flags& flags) {
  return pack_index(flags)(cx);
}

}  // namespace ppmm
