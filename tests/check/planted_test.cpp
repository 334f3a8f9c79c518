/// Mistakes on purpose: each is found, with its lines.
#include <ppmm/pmem/instrument.hpp>
#include <ppmm/sched/image.hpp>

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

/// A load of it may not be left out.
void use(std::uint64_t x) { asm volatile("" : : "r"(x)); }

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

// ---- 1 and 2 in blocks of the heap ---------------------------------------------------------------------------------

/// A block that an earlier capsule has filled with its indices.
template <class Then>
step<std::uint64_t> with_block(context& cx, std::uint64_t n, Then then) {
  return cx
      .call([n](context& c) -> step<ppmm::array<std::uint64_t>> {
        const auto a = c.alloc<std::uint64_t>(n);
        const auto to = c.write(a);
        std::iota(to.begin(), to.end(), 0u);
        return a;
      })
      .then([then](context& c, ppmm::array<std::uint64_t> a) {
        c.commit_next();
        return c.call([a, then](context& d) { return then(d, a); }).then([](context&, std::uint64_t x) -> step<std::uint64_t> { return x; });
      });
}
constexpr std::uint64_t in_a_block = 8, in_an_extent = 20'000;

step<std::uint64_t> increments_in_block(context& cx, std::uint64_t n) {
  return with_block(cx, n, [](context& c, ppmm::array<std::uint64_t> a) -> step<std::uint64_t> {
    const auto s = c.write(a);
    set(s[5], value_of(s[5]) + 1);
    return s[5];
  });
}
TEST_F(Planted, ABlockIsOverwritten) {
  EXPECT_EQ(run(task<increments_in_block>(in_a_block)), 6u);
  expect(mistake::overwrites_what_it_read, increment_store, increment_read);
  EXPECT_EQ(first().offset, 40u);
  EXPECT_NE(first().target.find("byte 40 of the block of 64 bytes at 0x"), std::string::npos) << all_text();
  EXPECT_NE(first().target.find(", chunk "), std::string::npos) << all_text();
}

step<std::uint64_t> stores_behind_the_view(context& cx, std::uint64_t n, std::uint64_t at) {
  return with_block(cx, n, [at](context& c, ppmm::array<std::uint64_t> a) -> step<std::uint64_t> {
    const auto s = c.write(out<std::uint64_t>(a.address(), at));
    set(s[at - 1], 1);
    raw_set(s.data() + at);
    return 0u;
  });
}
TEST_F(Planted, ABlockWithoutAView) {
  run(task<stores_behind_the_view>(in_a_block, std::uint64_t{7}));
  expect(mistake::bypasses_views, raw_store);
  EXPECT_EQ(first().offset, 56u);
  EXPECT_NE(first().target.find("the block of 64 bytes"), std::string::npos) << all_text();
}
/// Not in its first chunk.
TEST_F(Planted, AnExtentWithoutAView) {
  run(task<stores_behind_the_view>(in_an_extent, std::uint64_t{10'000}));
  expect(mistake::bypasses_views, raw_store);
  EXPECT_EQ(first().offset, 80'000u);
  EXPECT_NE(first().target.find("the block of 3 chunks"), std::string::npos) << all_text();
}

/// A view of the last block of a superblock says nothing about the block before it.
LINE(two_blocks_line);
void clear_both(std::byte* p, std::size_t n) { std::memset(p, 0, n); }
step<void> two_blocks(context& cx) {
  const auto a = cx.alloc<std::byte>(64), b = cx.alloc<std::byte>(64);
  std::byte* const low = std::min(a.address(), b.address());
  if (std::max(a.address(), b.address()) != low + 64) throw std::logic_error("they are not neighbours");
  cx.write(out<std::byte>(low, 64));
  clear_both(low, 128);
  return {};
}
TEST_F(Planted, ANeighbourWithoutAView) {
  run(task<two_blocks>());
  expect(mistake::bypasses_views, two_blocks_line);
  EXPECT_EQ(first().offset, 0u);
}

LINE(store_node_line);
void store_node(has_pointer& to, const void* p) { to.p = p; }
step<void> keeps_pointer_in_block(context& cx) {
  const auto a = cx.alloc<has_pointer>(4);
  const auto to = cx.write(a);
  store_node(to[1], &to[0]);
  store_node(to[2], &to);
  cx.free(cx.alloc<has_pointer>());  // one that comes and goes
  return {};
}
TEST_F(Planted, AnAddressInABlock) {
  run(task<keeps_pointer_in_block>());
  expect(mistake::holds_volatile_address, store_node_line);
  EXPECT_EQ(first().offset, offsetof(has_pointer, p));
}

// ---- updates in place ----------------------------------------------------------------------------------------------

step<std::uint64_t> updates(context& cx, std::uint64_t n) {
  return with_block(cx, n, [](context& c, ppmm::array<std::uint64_t> a) -> step<std::uint64_t> {
    const std::uint64_t before = c.read(a)[3];  // restored, so a repetition reads it again
    const auto s = c.update(inout<std::uint64_t>(a.address() + 2, 3));
    for (std::uint64_t& x : s) set(x, value_of(x) + 1);
    for (std::uint64_t& x : s) set(x, value_of(x) * 2);
    return s[1] + before;
  });
}
TEST_F(Planted, AnUpdateMayOverwriteWhatItRead) {
  EXPECT_EQ(run(task<updates>(in_a_block)), 11u);
  EXPECT_TRUE(found().empty()) << all_text();
  EXPECT_EQ(run(task<updates>(in_an_extent)), 11u);
  EXPECT_TRUE(found().empty()) << all_text();
}

step<std::uint64_t> updates_beyond(context& cx, std::uint64_t n) {
  return with_block(cx, n, [](context& c, ppmm::array<std::uint64_t> a) -> step<std::uint64_t> {
    c.write(out<std::uint64_t>(a.address(), 3));
    const auto s = c.update(inout<std::uint64_t>(a.address() + 2, 3));
    raw_set(s.data() + 3);  // open in no view
    set(*(s.data() - 1), value_of(*(s.data() - 1)) + 1);  // open, but not saved
    return 0u;
  });
}
TEST_F(Planted, BeyondWhatAnUpdateSaved) {
  run(task<updates_beyond>(in_a_block));
  ASSERT_EQ(found().size(), 2u) << all_text();
  EXPECT_EQ(found()[0].what, mistake::bypasses_views);
  EXPECT_EQ(found()[0].offset, 40u);
  EXPECT_EQ(found()[0].at.line, raw_store);
  EXPECT_EQ(found()[1].what, mistake::overwrites_what_it_read);
  EXPECT_EQ(found()[1].offset, 8u);
  EXPECT_EQ(found()[1].at.line, increment_store);
}

/// Opened too late: what it saves is changed already.
step<std::uint64_t> updates_too_late(context& cx, std::uint64_t n) {
  return with_block(cx, n, [](context& c, ppmm::array<std::uint64_t> a) -> step<std::uint64_t> {
    raw_set(a.address() + 1);
    return c.update(a)[1];
  });
}
TEST_F(Planted, AStoreBeforeTheUpdateWasOpened) {
  run(task<updates_too_late>(in_a_block));
  expect(mistake::bypasses_views, raw_store);
  EXPECT_EQ(first().offset, 8u);
}

// ---- shared cells --------------------------------------------------------------------------------------------------

step<std::uint64_t> uses_cells(context& cx, int how) {
  return with_block(cx, in_a_block, [how](context& c, ppmm::array<std::uint64_t> a) -> step<std::uint64_t> {
    const shared<std::uint64_t> cell(a.address() + 4);
    c.cam(cell, std::uint64_t{4}, std::uint64_t{10});
    const std::uint64_t now = c.load(cell);
    if (how == 1) raw_set(cell.address());
    if (how == 2) raw_set(&c.write(a)[4]);
    return now;
  });
}
TEST_F(Planted, CellsAreTheRuntimes) {
  EXPECT_EQ(run(task<uses_cells>(0)), 10u);
  EXPECT_TRUE(found().empty()) << all_text();
}
TEST_F(Planted, APlainStoreToACell) {
  run(task<uses_cells>(1));
  ASSERT_EQ(found().size(), 2u) << all_text();
  EXPECT_EQ(found()[0].what, mistake::bypasses_views);
  EXPECT_EQ(found()[0].at.line, raw_store);
  EXPECT_EQ(found()[0].offset, 32u);
  EXPECT_EQ(found()[1].what, mistake::overwrites_what_it_read);
}
TEST_F(Planted, AStoreThroughAViewToACellThatTheCapsuleUsed) {
  run(task<uses_cells>(2));
  expect(mistake::overwrites_what_it_read, raw_store);
  EXPECT_EQ(first().read_at.file, __FILE__) << all_text();
}

struct cell16 {
  std::uint64_t number;
  const void* p;
};
step<int> publishes_pointer(context& cx, int line) {
  const auto a = cx.alloc<cell16>();
  cx.write(a)[0] = cell16{};
  return cx.call([](context&) -> step<int> { return 0; }).then([a, line](context& c, int) -> step<int> {
    int local = line;
    LINE(cam_line);
    c.cam(shared<cell16>(a.address()), cell16{}, cell16{1, &local});
    return cam_line;
  });
}
TEST_F(Planted, AnAddressInACell) {
  const int line = run(task<publishes_pointer>(0));
  ASSERT_EQ(found().size(), 1u) << all_text();
  EXPECT_EQ(first().what, mistake::holds_volatile_address);
  EXPECT_EQ(first().at.line, line);
  EXPECT_EQ(first().offset, offsetof(cell16, p));
}

// ---- the runtime's own ---------------------------------------------------------------------------------------------

/// Where the heap keeps things: its control, a chunk's entry, a superblock's bits.
TEST_F(Planted, TheHeapsStructuresAreNotTheUsers) {
  const detail::image img(the_pool(), region_bytes);
  const struct {
    void* at;
    const char* says;
  } places[] = {
      {&img.heap().control->roots[detail::max_roots - 1].versions[1], "roots"},
      {&img.heap().ranges[0].table[img.heap().ranges[0].last - 1].unused, "chunk table"},
      {&img.worker(3).redo, "worker's or an exposure slot"},
  };
  for (const auto& p : places) {
    run(task<no_view>(out<std::uint64_t>(static_cast<std::uint64_t*>(p.at) - 2, 8)));
    expect(mistake::bypasses_views, raw_store);
    EXPECT_NE(first().target.find(p.says), std::string::npos) << all_text();
  }
}
step<void> stores_to_bits(context& cx) {
  const auto a = cx.alloc<std::uint64_t>(2);
  const auto chunk = reinterpret_cast<std::uintptr_t>(a.address()) / detail::chunk_bytes * detail::chunk_bytes;
  raw_set(&reinterpret_cast<detail::block_bits*>(chunk)[60].unused);
  return {};
}
TEST_F(Planted, BitsAreNotTheUsers) {
  run(task<stores_to_bits>());
  expect(mistake::bypasses_views, raw_store);
  EXPECT_NE(first().target.find("bits"), std::string::npos) << all_text();
}

step<void> sets_root(context& cx) {
  const auto a = cx.alloc<std::uint64_t>(2);
  std::ranges::fill(cx.write(a), 1u);
  cx.set_root("mine", a);
  return {};
}
TEST_F(Planted, SettingARootIsNoMistake) {
  run(task<sets_root>());
  EXPECT_TRUE(found().empty()) << all_text();
}
step<void> sets_root_elsewhere(context& cx) {
  std::uint64_t local = 1;
  cx.set_root("mine", ptr<std::uint64_t>(&local));
  return {};
}
TEST_F(Planted, ARootElsewhere) {
  run(task<sets_root_elsewhere>());
  ASSERT_EQ(found().size(), 1u) << all_text();
  EXPECT_EQ(first().what, mistake::holds_volatile_address);
}

// ---- 4: reads what it has not written ------------------------------------------------------------------------------

struct with_padding {
  std::uint8_t a;
  std::uint64_t b;
};
step<std::uint64_t> fresh(context& cx, std::uint64_t n, bool read_it) {
  const auto a = cx.alloc<std::uint64_t>(n);
  const auto s = cx.write(a);
  set(s[0], 3);
  const std::uint64_t sum = value_of(s[0]);
  const auto p = cx.alloc<with_padding>(2);
  const auto pads = cx.write(p);
  pads[0].a = 1;
  pads[0].b = 2;
  pads[1] = pads[0];
  use(pads[1].b);
  if (read_it) use(value_of(s[n - 1]));
  set(s[n - 1], 4);
  return sum + value_of(s[n - 1]);
}
TEST_F(Planted, AFreshBlockMayBeReadWhereItWasWritten) {
  for (const std::uint64_t n : {in_a_block, in_an_extent}) {
    EXPECT_EQ(run(task<fresh>(n, false)), 7u);
    EXPECT_TRUE(found().empty()) << all_text();
  }
}
TEST_F(Planted, AFreshBlockIsReadWhereItWasNot) {
  for (const std::uint64_t n : {in_a_block, in_an_extent}) {
    run(task<fresh>(n, true));
    expect(mistake::reads_what_it_has_not_written, increment_read);
    EXPECT_EQ(first().offset, (n - 1) * 8);
  }
}

/// Allocated again in the same capsule, it has no contents any more.
step<std::uint64_t> fresh_again(context& cx, bool read_it) {
  const auto a = cx.alloc<std::uint64_t>(8);
  set(cx.write(a)[2], 3);
  cx.free(a);
  const auto b = cx.alloc<std::uint64_t>(8);
  if (a.address() != b.address()) throw std::logic_error("it is another block");
  if (read_it)
    use(value_of(cx.read(b)[2]));
  else
    raw_set(b.address() + 2);  // the view is gone as well
  return 0u;
}
TEST_F(Planted, AFreshBlockThatWasAnother) {
  run(task<fresh_again>(true));
  expect(mistake::reads_what_it_has_not_written, increment_read);
  run(task<fresh_again>(false));
  expect(mistake::bypasses_views, raw_store);
}

// ---- 5: views outside turns ----------------------------------------------------------------------------------------

enum class when { before_for_reading, before_for_writing, after_for_reading, after_for_writing, in_a_turn, in_another_task };
int view_line = 0, turn_line = 0;
template <when W>
step<void> makes_turns(context& cx, out<std::uint64_t> v, std::uint64_t from) {
  const auto here = [v](std::uint64_t i) { return task<makes_turns<W>>(v, i); };
  LINE(before);
  if (W == when::before_for_reading || W == when::before_for_writing) W == when::before_for_reading ? void(cx.read(v.as_in())) : void(cx.write(v));
  for (std::uint64_t i = from; i < v.size(); ++i) {
    const auto body = [&] {
      if (W == when::in_a_turn) cx.write(v.sub(i, 1))[0] = i;
    };
    LINE(turn);
    if (!cx.turn(here(i), body)) return step<void>::detached();
    turn_line = turn;
  }
  LINE(after);
  if (W == when::after_for_reading || W == when::after_for_writing) W == when::after_for_reading ? void(cx.read(v.as_in())) : void(cx.write(v));
  view_line = W == when::before_for_reading || W == when::before_for_writing ? before : after;
  return {};
}
/// A view of a task that calls a loop as a step is its own: no repetition begins at this task once a turn is made.
step<void> opens_then_loops(context& cx, out<std::uint64_t> v) {
  use(cx.read(v.as_in())[0]);
  return makes_turns<when::in_another_task>(cx, v, 0);
}
TEST_F(Planted, AViewBeforeTurns) {
  run(task<makes_turns<when::before_for_reading>>(array<std::uint64_t>(8), std::uint64_t{0}));
  expect(mistake::opens_outside_turns, view_line, turn_line);
  run(task<makes_turns<when::before_for_writing>>(array<std::uint64_t>(8), std::uint64_t{0}));
  expect(mistake::opens_outside_turns, view_line, turn_line);
}
TEST_F(Planted, AViewAfterTurns) {
  run(task<makes_turns<when::after_for_writing>>(array<std::uint64_t>(8), std::uint64_t{0}));
  expect(mistake::opens_outside_turns, view_line, turn_line);
}
TEST_F(Planted, ViewsInTurnsAndOfOtherTasksAreNoMistake) {
  for (const bool every_task : {false, true}) {
    run_options how = long_capsules();
    how.commit_every_task = every_task;
    run(task<makes_turns<when::in_a_turn>>(array<std::uint64_t>(8), std::uint64_t{0}), how);
    EXPECT_TRUE(found().empty()) << all_text();
    run(task<opens_then_loops>(array<std::uint64_t>(8)), how);
    EXPECT_TRUE(found().empty()) << all_text();
    run(task<makes_turns<when::after_for_reading>>(array<std::uint64_t>(8), std::uint64_t{0}), how);
    EXPECT_TRUE(found().empty()) << all_text();
  }
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
