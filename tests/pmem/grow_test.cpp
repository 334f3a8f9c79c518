/// What growing a pool promises: the old size or the new one, whatever happens on the way, and all that was in it as it was.
#include "pmem_test.hpp"

#include <ppmm/pmem/inspect.hpp>
#include <ppmm/pmem/sanitizers.hpp>

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include <tuple>
#include <vector>

namespace ppmm::test {
namespace {

constexpr std::size_t mebi = std::size_t{1} << 20;

class Grow : public testing::Test {
 protected:
  Grow() {
    pool p = pool::create(file, small);
    first = p.segments().size();
    std::memset(p.segments()[0].data(), 0xab, 4096);
    p.put_job(job("unfinished"));
  }
  /// The pool opens with that many bytes, and has what it had; what is new is zero, and can be used.
  void expect_size(std::size_t size) {
    const pool p = pool::open(file);
    ASSERT_EQ(p.size(), size);
    EXPECT_EQ(std::to_integer<int>(p.segments()[0][4095]), 0xab);
    EXPECT_EQ(p.jobs().size(), 1u);
    std::size_t end = 0;
    for (const auto s : p.segments()) {
      EXPECT_GE(static_cast<std::size_t>(s.data() - p.base()), end);
      end = static_cast<std::size_t>(s.data() - p.base()) + s.size();
      EXPECT_TRUE(p.contains(s.data(), s.size()));
    }
    EXPECT_LE(end, size);
    for (const auto s : p.segments().subspan(first)) {
      EXPECT_TRUE(std::ranges::all_of(s, [](std::byte b) { return b == std::byte{0}; }));
      s.back() = std::byte{0};
    }
    const pool_report r = inspect(file);
    EXPECT_TRUE(r.ok());
    EXPECT_EQ(r.facts->size(), size);
    EXPECT_EQ(r.facts->growths(), p.segments().size() - first);
  }
  layout::control_root root() const { return *forgery(file).root; }
  void store(const layout::control_root& r) const { overwrite(file, forgery(file).root_at, &r, sizeof r); }

  scratch_folder folder{memory()};
  fs::path file = folder / "a.pool";
  std::size_t first = 0;
};

TEST_F(Grow, AddsSegmentsAndKeepsTheRest) {
  std::size_t size = pool::min_size;
  for (const std::size_t more : {mebi, 5 * mebi, 17 * mebi}) {
    size += more;
    EXPECT_EQ(pool::grow(file, size), size);
    expect_size(size);
    EXPECT_EQ(fs::file_size(file), size);
  }
  EXPECT_EQ(pool::open(file).segments().size(), first + 3);
  EXPECT_EQ(pool::open(file).segments().back().size(), 17 * mebi);
  EXPECT_EQ(pool::grow(file, size), size) << "what it has already";
  EXPECT_EQ(pool::grow(file, size - 1), size);
  EXPECT_EQ(pool::grow(file, size + mebi + 1, true), size + mebi + 4096);
  expect_size(size + mebi + 4096);
}

TEST_F(Grow, RefusesWhatCannotBe) {
  const auto refused = [&](std::size_t size, const char* text) {
    const std::string before = content(file);
    expect_error<pool_error>(file, text, [&] { pool::grow(file, size); });
    EXPECT_TRUE(content(file) == before);
  };
  refused(pool::min_size - 4096, "never shrinks");
  refused(pool::min_size + mebi - 4096, "at least 17825792 bytes");
  refused(pool::max_size + 1, "at most");
  refused(~std::size_t{0}, "at most");
  const pool open = pool::open(file);
  expect_error<pool_in_use>(file, "held by", [&] { pool::grow(file, 32 * mebi); });
}

TEST_F(Grow, RefusesAnAddressThatIsTaken) {
  void* at = reinterpret_cast<void*>(root().base_address + 24 * mebi);
  void* other = ::mmap(at, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  ASSERT_EQ(other, at);
  expect_error<address_taken>(file, "another pool", [&] { pool::grow(file, 32 * mebi); });
  ::munmap(other, 4096);
  pool::grow(file, 32 * mebi);
  expect_size(32 * mebi);
}

TEST_F(Grow, SaysWhenItHasGrownTooOften) {
  std::size_t size = pool::min_size;
  for (std::size_t i = first; i < layout::max_segments; ++i) pool::grow(file, size += mebi, true);
  expect_error<pool_error>(file, "no room for one more", [&] { pool::grow(file, size + mebi); });
  expect_size(size);
}

TEST_F(Grow, WithoutRoomLeavesThePoolAsItIs) {
  // The largest file that this process may make.
  child limited([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit most{24 * mebi, 24 * mebi};
    ::setrlimit(RLIMIT_FSIZE, &most);
    try {
      pool::grow(file, 32 * mebi);
    } catch (const disk_full&) {
      return 42;
    }
    return 1;
  });
  EXPECT_EQ(limited.wait(), 42);
  expect_size(pool::min_size);
  EXPECT_EQ(fs::file_size(file), pool::min_size);
  pool::grow(file, 32 * mebi);
  expect_size(32 * mebi);
}

// ---- what a crash leaves

/// Every order of the stores that is left when the machine stops: words of the announcement, the file's length, the count.
TEST_F(Grow, EachHalfwayStateIsTheOldSizeOrTheNew) {
  const layout::control_root before = root();
  pool::grow(file, 32 * mebi);
  const layout::control_root after = root();
  const layout::extension_entry e = after.extensions[0];
  EXPECT_EQ(e.offset, pool::min_size);
  EXPECT_EQ(e.size, 16 * mebi);
  for (const std::size_t length : {pool::min_size, pool::min_size + 4096, 20 * mebi + 1234, 32 * mebi}) {
    for (int words = 0; words < 16; ++words) {
      layout::control_root r = before;
      if ((words & 1) != 0) r.extensions[0].offset = e.offset;
      if ((words & 2) != 0) r.extensions[0].size = e.size;
      if ((words & 4) != 0) r.extensions[0].round = e.round;
      if ((words & 8) != 0) r.extensions[0].checksum = e.checksum;
      fs::resize_file(file, length);
      store(r);
      if (length > pool::min_size && words != 15) {  // nobody has announced it: not ours
        expect_refused<corrupt_pool>(file, "expected 16777216 bytes");
        continue;
      }
      expect_size(pool::min_size);
      // What stands behind is not believed, and goes at the next growth.
      if (length > pool::min_size) {
        const char garbage = 'x';
        overwrite(file, length - 1, &garbage, 1);
      }
      pool::grow(file, 17 * mebi);
      expect_size(17 * mebi);
      fs::resize_file(file, pool::min_size);
    }
    fs::resize_file(file, length);
    store(after);
    if (length < 32 * mebi)
      expect_refused<truncated_pool>(file, "expected 33554432 bytes");
    else
      expect_size(32 * mebi);
    fs::resize_file(file, pool::min_size);
    store(before);
  }
}

TEST_F(Grow, ForgedGrowthsAreRefused) {
  pool::grow(file, 20 * mebi);
  pool::grow(file, 32 * mebi);
  const layout::control_root good = root();
  const auto refused = [&](const std::function<void(layout::control_root&)>& change, bool fitting, const char* text = "growth") {
    layout::control_root r = good;
    change(r);
    if (fitting)
      for (auto& e : r.extensions)
        if (e.size != 0) e.checksum = detail::checksum_of(e);
    store(r);
    expect_refused<corrupt_pool>(file, text);
    EXPECT_FALSE(inspect(file).ok());
    store(good);
  };
  using root_t = layout::control_root;
  refused([](root_t& r) { r.extensions[0].size ^= 4096; }, false);
  refused([](root_t& r) { r.extensions[1].checksum ^= 1; }, false);
  refused([](root_t& r) { r.extension_count = 2; }, false, "a number of growths");
  refused([](root_t& r) { r.extension_count = std::uint64_t{3} << 32 | 3; }, false);
  refused([](root_t& r) { r.extension_count = std::uint64_t{65} << 32 | 65; }, false, "a number of growths");
  refused([](root_t& r) { r.extension_count = ~std::uint64_t{0}; }, false, "a number of growths");
  refused([](root_t& r) { std::swap(r.extensions[0], r.extensions[1]); }, true);
  refused([](root_t& r) { r.extensions[1].offset -= 4096; }, true);
  refused([](root_t& r) { r.extensions[0].round = 0; }, true);
  refused([](root_t& r) { r.extensions[1].round = r.extensions[0].round; }, true);
  refused([](root_t& r) { r.extensions[1].size += 1; }, true);
  refused([](root_t& r) { r.extensions[1].size = 4096; }, true);
  refused([](root_t& r) { r.extensions[1].size = ~std::uint64_t{4095}; }, true);
  refused([](root_t& r) { r.extensions[1].size = pool::max_size; }, true);
  layout::control_root r = good;  // one that was swapped for a smaller: the file is longer than was announced
  r.extension_count = std::uint64_t{1} << 32 | 1;
  r.extensions[1].size -= 4096;
  r.extensions[1].checksum = detail::checksum_of(r.extensions[1]);
  store(r);
  expect_refused<corrupt_pool>(file, "expected 20971520 bytes");
  store(good);
  expect_size(32 * mebi);
}

/// Killed at each of its system calls, entered or left, and at instructions between them.
class GrowKilled : public Grow {
 protected:
  /// Lets a child grow the pool, and kills it after `calls` stops at system calls and then `instructions` instructions. The
  /// calls count from the first that changes the file's length. True: it had come to its end before.
  bool grow_until(std::size_t size, int calls, int instructions) {
    child grower([&] {
      if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 7;
      ::raise(SIGSTOP);
      pool::grow(file, size);
      return 42;
    });
    int status = 0;
    ::waitpid(grower.pid(), &status, 0);
    const auto go_on = [&](bool to_a_call) {
      ::ptrace(to_a_call ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, grower.pid(), nullptr, nullptr);
      ::waitpid(grower.pid(), &status, 0);
      if (!WIFSTOPPED(status)) throw std::runtime_error("a traced child has ended with status " + std::to_string(status));
    };
    const auto now_calls = [&] {
      user_regs_struct registers{};
      ::ptrace(PTRACE_GETREGS, grower.pid(), nullptr, &registers);
      return registers.orig_rax;
    };
    while (go_on(true), now_calls() != SYS_ftruncate) {
    }
    for (int i = 0; i < calls + instructions; ++i) {
      if (now_calls() == SYS_exit_group) return true;
      go_on(i < calls);
    }
    grower.kill();
    return false;
  }
};

TEST_F(GrowKilled, AtAnySystemCallIsTheOldSizeOrTheNew) {
#if PPMM_THREAD_SANITIZER
  GTEST_SKIP() << "ThreadSanitizer makes more system calls at the end of a process than there are segments; nothing here has threads";
#endif
  std::mt19937_64 random(seed());
  std::size_t size = pool::min_size;
  int calls = 0, grown = 0, announced = 0;
  int since_it_was_larger = 0;  // stops; after 40 of them what is left is the end of the process, which under a sanitizer is long
  for (bool ended = false; !ended && since_it_was_larger < 40; ++calls)
    for (const bool exactly : {false, true}) {
      const std::size_t next = size + mebi + 4096 * (static_cast<std::size_t>(calls) % 3);
      ended = grow_until(next, calls, exactly ? 0 : static_cast<int>(random() % 200));
      const pool_report r = inspect(file);
      ASSERT_TRUE(r.ok()) << "killed at stop " << calls << ": " << r.failed[0].message;
      ASSERT_TRUE(r.facts->size() == size || r.facts->size() == next);
      grown += r.facts->size() == next ? 1 : 0;
      since_it_was_larger = r.facts->size() == next ? since_it_was_larger + 1 : 0;
      announced += r.file_size > r.facts->size() ? 1 : 0;
      size = r.facts->size();
      expect_size(size);
    }
  EXPECT_GT(calls, 10);
  EXPECT_GT(grown, 1);
  EXPECT_GT(announced, 1) << "no kill fell between the longer file and the new size";
}

/// At level `power` as well, where the file is on a disk.
TEST(GrowOnDisk, KeepsWhatItHas) {
  scratch_folder folder{disk()};
  if (on_memory(folder.path())) GTEST_SKIP() << "no disk here";
  const fs::path file = folder / "a.pool";
  { const pool p = pool::create(file, small); }
  EXPECT_EQ(pool::grow(file, 24 * mebi), 24 * mebi);
  EXPECT_EQ(pool::open(file).size(), 24 * mebi);
}

}  // namespace
}  // namespace ppmm::test
