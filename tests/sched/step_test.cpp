/// What compiles and what does not.
#include <gtest/gtest.h>
#include <ppmm/ppmm.hpp>

#include <memory>
#include <string>

namespace ppmm {
namespace {

static_assert(durable_value<int>);
static_assert(durable_value<in<double>>);
static_assert(!durable_value<int*>, "a raw pointer is of this process only");
static_assert(!durable_value<int&>);
static_assert(!durable_value<std::string>);
static_assert(!durable_value<std::unique_ptr<int>>);

step<long> f(context&, int n, long m) { return n + m; }
static_assert(task_like<decltype(task<f>(1, 2))>);
static_assert(!task_like<decltype(task<f>(1))>, "an argument is missing: not a task, but a continuation");
static_assert(std::is_trivially_copyable_v<decltype(task<f>(1, 2))>);
static_assert(!task_like<int (*)(int)>);
static_assert(std::is_trivially_copyable_v<step<long>> && sizeof(step<long>) == 16, "a step is returned in registers");

step<long> careless(context&) noexcept { return 1; }
static_assert(!task_like<decltype([](context& cx) noexcept -> step<long> { return careless(cx); })>, "a fault could not pass through it");

TEST(Step, DetachedAndValue) {
  const step<long> value = 3;
  EXPECT_FALSE(value.is_detached());
  EXPECT_EQ(value.value(), 3);
  EXPECT_TRUE(step<long>::detached().is_detached());
  EXPECT_TRUE(step<void>::detached().is_detached());
  EXPECT_FALSE(step<void>().is_detached());
}

TEST(Task, ArgumentsAreConvertedToTheParametersTypes) {
  const auto t = task<f>(short{1}, 2);
  EXPECT_EQ(detail::get<0>(t.arguments), 1);
  static_assert(std::is_same_v<decltype(detail::get<1>(t.arguments)), const long&>);
}

TEST(View, PartsOfAView) {
  long data[10];
  const out<long> v(data, 10);
  EXPECT_EQ(v.sub(2, 3).address(), data + 2);
  EXPECT_EQ(v.drop(4).size(), 6u);
  EXPECT_EQ(v.first(4).as_in().size_bytes(), 32u);
}

}  // namespace
}  // namespace ppmm
