/// Mistakes on purpose: each is found, with its lines.
#include <ppmm/pmem/instrument.hpp>

#include "check_test.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>

namespace ppmm::test {
namespace {

using detail::finding;
using detail::mistake;

class Planted : public Checked {
 protected:
  /// The first finding; an empty one if there is none.
  static const finding& first() {
    static const finding none{};
    return found().empty() ? none : found()[0];
  }
  /// Exactly one finding, there.
  void expect(mistake what, int line, int read_line = 0) {
    ASSERT_EQ(found().size(), 1u) << all_text();
    const finding& f = first();
    EXPECT_EQ(f.what, what) << all_text();
    EXPECT_EQ(f.at.line, line) << all_text();
    EXPECT_EQ(f.at.file, __FILE__) << all_text();
    if (read_line == 0) return;
    EXPECT_EQ(f.read_at.line, read_line) << all_text();
    EXPECT_EQ(f.read_at.file, __FILE__) << all_text();
  }
};

#define LINE(name) constexpr int name = __LINE__ + 1

// ---- 1: a capsule overwrites what it has read ----------------------------------------------------------------------

LINE(increment_read);
std::uint64_t value_of(const std::uint64_t& x) { return x; }
LINE(increment_store);
void set(std::uint64_t& x, std::uint64_t value) { x = value; }

/// A view for writing is not one for reading.
step<void> increment(context& cx, out<std::uint64_t> counter) {
  const auto c = cx.write(counter);
  const std::uint64_t old = value_of(c[0]);
  set(c[0], old + 1);
  return {};
}
TEST_F(Planted, ATaskIncrementsInPlace) {
  run(task<increment>(array<std::uint64_t>(1)));
  expect(mistake::overwrites_what_it_read, increment_store, increment_read);
  EXPECT_EQ(first().offset, 0u);
  EXPECT_EQ(first().times, 1u);
}

/// Nor is a pointer from elsewhere. Two tasks, one capsule.
LINE(peek_read);
step<std::uint64_t> peek(context&, out<std::uint64_t> v) { return v.address()[3]; }
step<void> peek_then_write(context& cx, out<std::uint64_t> v) {
  return cx.call(task<peek>(v)).then([v](context& c, std::uint64_t x) -> step<void> {
    const auto to = c.write(v);
    set(to[3], x + 1);
    return {};
  });
}
TEST_F(Planted, TwoTasksOfOneCapsule) {
  run(task<peek_then_write>(array<std::uint64_t>(8)));
  expect(mistake::overwrites_what_it_read, increment_store, peek_read);
  EXPECT_EQ(first().offset, 24u);
}
TEST_F(Planted, TwoTasksOfTwoCapsulesAreNoMistake) {
  run_options how = long_capsules();
  how.commit_every_task = true;
  run(task<peek_then_write>(array<std::uint64_t>(8)), how);
  EXPECT_TRUE(found().empty()) << all_text();
}

/// The places are the user's, not those of the standard library.
LINE(reverse_line);
void turn_round(std::span<std::uint16_t> s) { std::reverse(s.begin(), s.end()); }
step<void> reverse_in_place(context& cx, out<std::uint16_t> v) {
  turn_round(cx.write(v));
  return {};
}
TEST_F(Planted, AlgorithmsOfTheStandardLibrary) {
  run(task<reverse_in_place>(array<std::uint16_t>(100)));
  ASSERT_FALSE(found().empty());
  for (const finding& f : found()) {
    EXPECT_EQ(f.what, mistake::overwrites_what_it_read);
    EXPECT_EQ(f.at.line, reverse_line) << all_text();
    EXPECT_EQ(f.read_at.line, reverse_line) << all_text();
  }
}

LINE(sort_line);
void sort_it(std::span<std::uint64_t> s) { std::sort(s.begin(), s.end(), std::greater<>()); }
step<void> sort_in_place(context& cx, out<std::uint64_t> v) {
  sort_it(cx.write(v));
  return {};
}
TEST_F(Planted, FunctionsOfTheStandardLibrary) {
  const auto v = array<std::uint64_t>(1'000);
  std::iota(v.address(), v.address() + v.size(), 0u);
  run(task<sort_in_place>(v));
  expect(mistake::overwrites_what_it_read, sort_line, sort_line);
}

LINE(move_line);
void move_up(std::byte* to, std::size_t n) { std::memmove(to + 1, to, n); }
step<void> move_bytes(context& cx, out<std::byte> v) {
  const auto to = cx.write(v);
  move_up(to.data(), to.size() - 1);
  return {};
}
TEST_F(Planted, OverlappingMove) {
  run(task<move_bytes>(array<std::byte>(1000)));
  expect(mistake::overwrites_what_it_read, move_line, move_line);
  EXPECT_EQ(first().offset, 1u);
}

/// Neighbours in one word are bytes of their own.
LINE(byte_read);
unsigned first_of(const std::uint8_t* p) { return p[0]; }
LINE(other_byte_read);
unsigned second_of(const std::uint8_t* p) { return p[1]; }
LINE(byte_store);
void set_second(std::uint8_t* p, unsigned x) { p[1] = static_cast<std::uint8_t>(x); }
template <bool second>
step<void> bytes_of_a_word(context& cx, out<std::uint8_t> v) {
  std::uint8_t* p = cx.write(v).data();
  unsigned x = second ? second_of(p) : 0;
  x += first_of(p);
  set_second(p, x);
  return {};
}
TEST_F(Planted, BytesOfAWord) {
  run(task<bytes_of_a_word<false>>(array<std::uint8_t>(8)));
  EXPECT_TRUE(found().empty()) << all_text();
  run(task<bytes_of_a_word<true>>(array<std::uint8_t>(8)));
  expect(mistake::overwrites_what_it_read, byte_store, other_byte_read);
  EXPECT_NE(byte_read, other_byte_read);
}

/// What the capsule stored itself may be loaded and stored again.
step<std::uint64_t> own_output(context& cx, out<std::uint64_t> v) {
  const auto s = cx.write(v);
  std::iota(s.begin(), s.end(), 0u);
  std::reverse(s.begin(), s.end());
  std::stable_sort(s.begin(), s.end());
  return s.back();
}
TEST_F(Planted, OwnOutputIsNoInput) {
  EXPECT_EQ(run(task<own_output>(array<std::uint64_t>(500))), 499u);
  EXPECT_TRUE(found().empty()) << all_text();
}

/// A mistake that is made often is told of once.
step<void> increment_many(context& cx, out<std::uint64_t> v) {
  const auto s = cx.write(v);
  for (std::uint64_t& x : s) set(x, value_of(x) + 1);
  return {};
}
TEST_F(Planted, ToldOfOnce) {
  run(task<increment_many>(array<std::uint64_t>(5'000)));
  expect(mistake::overwrites_what_it_read, increment_store, increment_read);
  EXPECT_EQ(first().times, 5'000u);
}

// ---- 2: a store bypasses the views ---------------------------------------------------------------------------------

LINE(raw_store);
void raw_set(std::uint64_t* p) { *p = 5; }
step<void> no_view(context&, out<std::uint64_t> v) {
  raw_set(v.address() + 2);
  return {};
}
TEST_F(Planted, NoViewAtAll) {
  run(task<no_view>(array<std::uint64_t>(8)));
  expect(mistake::bypasses_views, raw_store);
  EXPECT_EQ(first().offset, 16u);
}

step<void> beyond_the_view(context& cx, out<std::uint64_t> v) {
  raw_set(&cx.write(v.first(4))[0]);
  raw_set(&cx.write(v.first(4))[0] + 4);
  return {};
}
TEST_F(Planted, BeyondTheView) {
  run(task<beyond_the_view>(array<std::uint64_t>(8)));
  expect(mistake::bypasses_views, raw_store);
  EXPECT_EQ(first().offset, 32u);
}

LINE(clear_line);
void clear(std::uint64_t* p, std::size_t n) { std::memset(p, 0, n * sizeof *p); }
step<void> over_the_edge(context& cx, out<std::uint64_t> v) {
  const auto a = cx.write(v.first(4)), b = cx.write(v.sub(4, 4));
  clear(a.data(), a.size() + b.size());
  clear(a.data(), a.size() + b.size() + 1);
  return {};
}
TEST_F(Planted, OverTheEdgeOfTwoViews) {
  run(task<over_the_edge>(array<std::uint64_t>(16)));
  expect(mistake::bypasses_views, clear_line);
  EXPECT_EQ(first().offset, 64u);
}

/// A span is good until its task ends: after a commit the runtime does not flush it.
step<void> keeps_a_span(context& cx, out<std::uint64_t> v) {
  std::span<std::uint64_t> kept;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto body = [&] {
      if (i == 0) kept = cx.write(v);
      raw_set(&kept[i]);
    };
    if (!cx.turn(task<keeps_a_span>(v), body)) return step<void>::detached();
  }
  return {};
}
TEST_F(Planted, ASpanFromBeforeTheCommit) {
  run(task<keeps_a_span>(array<std::uint64_t>(8)));
  EXPECT_TRUE(found().empty()) << "one capsule: " << all_text();
  run_options how = long_capsules();
  how.commit_every_task = true;
  run(task<keeps_a_span>(array<std::uint64_t>(8)), how);
  expect(mistake::bypasses_views, raw_store);
  EXPECT_EQ(first().offset, 8u);
}

/// A right child runs where it stands: in the frame.
struct changes_itself {
  std::uint64_t x;
  step<std::uint64_t> operator()(context&) const {
    raw_set(const_cast<std::uint64_t*>(&x));
    return x;
  }
};
step<std::uint64_t> zero(context&) { return 0u; }
step<std::uint64_t> changes_its_frame(context& cx) {
  return cx.fork(task<zero>(), changes_itself{7})
      .then([](context&, std::uint64_t a, std::uint64_t b) -> step<std::uint64_t> { return a + b; });
}
TEST_F(Planted, AFrameIsNotTheUsers) {
  EXPECT_EQ(run(task<changes_its_frame>()), 5u);
  expect(mistake::bypasses_views, raw_store);
  EXPECT_NE(first().target.find("frames"), std::string::npos);
}

// ---- 3: addresses of volatile memory -------------------------------------------------------------------------------

struct has_pointer {
  std::uint32_t number;
  const void* p;
};
step<int> take(context&, has_pointer h) { return static_cast<int>(h.number); }

step<int> gives_pointer_to_child(context& cx, int) {
  const int local = 1;
  LINE(line);
  return cx.call(task<take>(has_pointer{1, &local})).then([](context&, int x) -> step<int> { return x + line; });
}
TEST_F(Planted, AnArgument) {
  const int line = run(task<gives_pointer_to_child>(0)) - 1;
  ASSERT_GE(found().size(), 1u);
  const finding& f = first();
  EXPECT_EQ(f.what, mistake::holds_volatile_address);
  EXPECT_EQ(f.at.line, line) << all_text();
  EXPECT_EQ(f.at.file, __FILE__);
  EXPECT_EQ(f.offset, offsetof(has_pointer, p));
  EXPECT_NE(f.type.find("has_pointer"), std::string::npos) << f.type;
}

step<int> captures_by_reference(context& cx, int) {
  int local = 1;
  LINE(line);
  return cx.call(task<take>(has_pointer{2, nullptr})).then([&local](context&, int) -> step<int> {
    return line + 0 * local;
  });
}
TEST_F(Planted, ACapture) {
  const int line = run(task<captures_by_reference>(0));
  expect(mistake::holds_volatile_address, line);
  EXPECT_EQ(first().offset, 0u);
  EXPECT_NE(first().type.find("captures_by_reference"), std::string::npos) << first().type;
}

int global_number = 3;
const auto on_heap = std::make_unique<int>(5);
step<std::uintptr_t> gives_address(context&, int what) {
  const std::uintptr_t address = std::bit_cast<std::uintptr_t>(what == 0 ? &global_number : on_heap.get());
  LINE(line);
  if (what < 2) return address;
  return static_cast<std::uintptr_t>(line);
}
TEST_F(Planted, AResult) {
  const int line = static_cast<int>(run(task<gives_address>(2)));
  EXPECT_TRUE(found().empty()) << all_text();
  for (const int what : {0, 1}) {
    run(task<gives_address>(what));
    expect(mistake::holds_volatile_address, line);
  }
  EXPECT_NE(first().points_to.find("heap"), std::string::npos) << all_text();
}

LINE(store_pointer_line);
void store_pointer(has_pointer& to, const void* p) { to.p = p; }
step<void> writes_pointer(context& cx, out<has_pointer> v) {
  const auto to = cx.write(v);
  for (has_pointer& h : to) h.number = 1;
  store_pointer(to[2], &to);
  store_pointer(to[3], &to[1]);  // of the pool: means the same after a restart
  return {};
}
TEST_F(Planted, BulkData) {
  run(task<writes_pointer>(array<has_pointer>(4)));
  expect(mistake::holds_volatile_address, store_pointer_line);
  EXPECT_EQ(first().offset, offsetof(has_pointer, p));
  EXPECT_NE(first().type.find("has_pointer"), std::string::npos);
}

TEST_F(Planted, TheRootTask) {
  run(task<take>(has_pointer{1, this}));
  ASSERT_EQ(found().size(), 1u) << all_text();
  EXPECT_EQ(first().what, mistake::holds_volatile_address);
  EXPECT_EQ(first().offset, offsetof(has_pointer, p));
  EXPECT_EQ(first().at.text(), detail::source_place().text()) << "no task made it";
}

/// Padding is no part of a value; nor do numbers that are too short for an address make one.
struct alignas(16) padded {
  std::uint64_t x;
};
padded with_address_in_padding() {
  alignas(padded) std::byte bytes[sizeof(padded)] = {};
  const void* p = bytes;
  std::memcpy(bytes + 8, &p, sizeof p);
  return std::bit_cast<padded>(bytes);
}
struct two_halves {
  std::uint32_t a, b;
};
step<padded> pads(context& cx, out<padded> v, out<two_halves> w) {
  std::memcpy(cx.write(v).data(), &static_cast<const padded&>(with_address_in_padding()), sizeof(padded));
  cx.write(w)[0] = std::bit_cast<two_halves>(&v);
  padded p = with_address_in_padding();
  asm volatile("" : "+m"(p));
  return p;
}
TEST_F(Planted, PaddingAndHalvesAreNoAddresses) {
  run(task<pads>(array<padded>(1), array<two_halves>(1, 4096)));
  EXPECT_TRUE(found().empty()) << all_text();
}

// ---- what becomes of it --------------------------------------------------------------------------------------------

TEST_F(Planted, RunFailsIfAskedTo) {
  ::setenv("PPMM_CHECK_IDEMPOTENCE", "fail", 1);
  try {
    run(task<increment>(array<std::uint64_t>(1)));
    FAIL() << "nothing was thrown";
  } catch (const not_idempotent& e) {
    EXPECT_NE(std::string(e.what()).find("planted_test.cpp:" + std::to_string(increment_store)), std::string::npos)
        << e.what();
  }
  EXPECT_EQ(the_pool().find_job("job 1")->state, layout::job_state::finished);
  EXPECT_EQ(run(task<own_output>(array<std::uint64_t>(5))), 4u);
}

TEST_F(Planted, OffUnlessAskedFor) {
  run(task<increment>(array<std::uint64_t>(1)));
  EXPECT_EQ(found().size(), 1u);
  ::setenv("PPMM_CHECK_IDEMPOTENCE", "0", 1);
  ::testing::internal::CaptureStderr();
  run(task<increment>(array<std::uint64_t>(1)));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  ::setenv("PPMM_CHECK_IDEMPOTENCE", "maybe", 1);
  EXPECT_THROW(run(task<increment>(array<std::uint64_t>(1))), no_check);
}

TEST_F(Planted, OneObserverAtATime) {
  struct nobody : detail::access_observer {
    void about_to_load(const void*, std::size_t, const void*) override {}
    void about_to_store(const void*, std::size_t, const void*) override {}
  } other;
  std::byte range[64];
  detail::observe_accesses(reinterpret_cast<std::uintptr_t>(range), sizeof range, &other);
  ::testing::internal::CaptureStderr();
  run(task<increment>(array<std::uint64_t>(1)));
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("not made"), std::string::npos);
  EXPECT_TRUE(detail::accesses_are_observed()) << "the other one's observation was ended";
  detail::observe_accesses(0, 0, nullptr);
  EXPECT_FALSE(detail::accesses_are_observed());
  run(task<increment>(array<std::uint64_t>(1)));
  expect(mistake::overwrites_what_it_read, increment_store, increment_read);
}

TEST_F(Planted, TheReportIsOnStderr) {
  ::testing::internal::CaptureStderr();
  run(task<increment>(array<std::uint64_t>(1)));
  const std::string report = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(report.find("1 found"), std::string::npos) << report;
  EXPECT_NE(report.find("planted_test.cpp:" + std::to_string(increment_store)), std::string::npos) << report;
  EXPECT_NE(report.find("planted_test.cpp:" + std::to_string(increment_read)), std::string::npos) << report;
}

}  // namespace
}  // namespace ppmm::test
