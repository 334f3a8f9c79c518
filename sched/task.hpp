/// A task: something that can be run from its bytes alone, in this process or in one started after a crash.
#pragma once

#include <ppmm/sched/step.hpp>

#include <concepts>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ppmm {

class context;

namespace detail {

/// A tuple that is trivially copyable when its members are (std::tuple is not).
template <std::size_t I, class T>
struct pack_leaf {
  [[no_unique_address]] T value;
};
template <class Indices, class... T>
struct pack_base;
template <std::size_t... I, class... T>
struct pack_base<std::index_sequence<I...>, T...> : pack_leaf<I, T>... {};
template <class... T>
struct pack : pack_base<std::index_sequence_for<T...>, T...> {};

template <std::size_t I, class T>
constexpr const T& get(const pack_leaf<I, T>& leaf) {
  return leaf.value;
}

template <class F, class... T>
constexpr decltype(auto) apply(F&& f, const pack<T...>& p) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) -> decltype(auto) {
    return std::forward<F>(f)(get<I>(p)...);
  }(std::index_sequence_for<T...>{});
}

template <class F>
struct signature;
template <class R, class... P>
struct signature<R (*)(context&, P...)> {
  using result = R;
  static constexpr std::size_t arity = sizeof...(P);
  template <std::size_t I>
  using parameter = std::remove_cvref_t<std::tuple_element_t<I, std::tuple<P...>>>;
};

/// A function with its first arguments bound; what is left of the parameters are the results of a fork or call.
template <auto F, class... A>
struct bound {
  [[no_unique_address]] pack<A...> arguments;

  template <class... Results>
    requires(sizeof...(A) + sizeof...(Results) == signature<decltype(F)>::arity)
  auto operator()(context& cx, Results... results) const {
    return apply([&](const A&... a) { return F(cx, a..., results...); }, arguments);
  }
};

#if !__has_builtin(__builtin_clear_padding)
/// Of compilers that cannot tell where padding is (clang before 20): what lies between the arguments. Padding in an
/// argument stays what it is.
template <auto F, class... A>
void clear_padding(bound<F, A...>* task) {
  std::array<std::byte, sizeof *task> clean{};
  const auto keep = [&]<class T>(const T& argument) {
    const auto at = reinterpret_cast<const std::byte*>(&argument) - reinterpret_cast<const std::byte*>(task);
    if (!std::is_empty_v<T>) std::memcpy(clean.data() + at, &argument, sizeof argument);
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) { (keep(get<I>(task->arguments)), ...); }(std::index_sequence_for<A...>{});
  std::memcpy(static_cast<void*>(task), clean.data(), sizeof *task);
}
#endif

}  // namespace detail

/// `task<f>(a, b)`: the call `f(cx, a, b)`, to be made by whoever gets there. The arguments are converted to the
/// parameters' types now. A parameter may be a const reference, good until `f` returns: what is larger than two words is then
/// copied once less at each call, which a small task feels (docs/performance.md, "Arguments"). As a continuation,
/// `then(task<k>(captures…))` calls `k(cx, captures…, results…)`.
template <auto F, class... A>
constexpr auto task(const A&... a) {
  using sig = detail::signature<decltype(F)>;
  static_assert(sizeof...(A) <= sig::arity, "more arguments than the function has parameters");
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    static_assert((durable_value<typename sig::template parameter<I>> && ...),
                  "a task's arguments must be durable values: trivially copyable, views instead of pointers");
    return detail::bound<F, typename sig::template parameter<I>...>{
        {{{static_cast<typename sig::template parameter<I>>(a)}...}}};
  }(std::index_sequence_for<A...>{});
}

/// A task type: a durable value that can be called with a context and gives a step. Not noexcept: the runtime begins a
/// task again, as a capsule of its own, by an exception that passes through it.
template <class T>
concept task_like = durable_value<T> && !std::is_nothrow_invocable_v<const T&, context&> && requires(const T& t, context& cx) {
  typename detail::step_result<std::invoke_result_t<const T&, context&>>::type;
};

template <class T>
using task_result = typename detail::step_result<std::invoke_result_t<const T&, context&>>::type;

}  // namespace ppmm
