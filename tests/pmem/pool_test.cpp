/// What a pool promises: it opens as it was created, at its address; it survives its process; an error changes nothing.
#include "pmem_test.hpp"

#include <fcntl.h>
#include <libpmemobj.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <span>
#include <vector>

namespace ppmm::test {

class Pool : public testing::Test {
 protected:
  scratch_folder folder{memory()};
  fs::path file = folder / "a.pool";

  void create(const pool_options& options = small) { pool::create(file, options); }
};

// --- Creation ---------------------------------------------------------------------------------------------------

TEST_F(Pool, IsCreatedWithMostOfItInZeroSegments) {
  const pool p = pool::create(file, {.sparse = true});
  EXPECT_EQ(p.size(), pool_options{}.size);
  EXPECT_EQ(p.file(), file);
  EXPECT_EQ(p.max_workers(), 64u);
  EXPECT_EQ(reinterpret_cast<std::uint64_t>(p.base()), pool::default_address);
  ASSERT_FALSE(p.segments().empty());
  const std::string bytes = content(file);  // not the mapping: it would take memory for each page that is read
  std::size_t usable = 0;
  for (const std::span<std::byte> s : p.segments()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(s.data()) % 4096, 0u);
    EXPECT_EQ(s.size() % 4096, 0u);
    EXPECT_TRUE(p.contains(s.data(), s.size()));
    const auto offset = static_cast<std::size_t>(s.data() - p.base());
    EXPECT_EQ(bytes.find_first_not_of('\0', offset) < offset + s.size(), false);
    usable += s.size();
  }
  EXPECT_GE(usable, p.size() / 100 * 93);
  EXPECT_TRUE(p.jobs().empty());
}

TEST_F(Pool, OfTheSmallestSizeHasRoom) {
  const pool p = pool::create(file, small);
  EXPECT_GE(p.segments()[0].size(), pool::min_size * 7 / 10);
}

TEST_F(Pool, KnowsWhatItContains) {
  const pool p = pool::create(file, small);
  EXPECT_TRUE(p.contains(p.base(), p.size()));
  EXPECT_TRUE(p.contains(p.base() + p.size() - 1));
  EXPECT_FALSE(p.contains(p.base() + p.size()));
  EXPECT_FALSE(p.contains(p.base() - 1));
  EXPECT_FALSE(p.contains(p.base() + 1, p.size()));
  EXPECT_FALSE(p.contains(p.base() + 1, SIZE_MAX));
}

TEST_F(Pool, SizeIsRoundedUpToAPage) {
  const pool p = pool::create(file, {.size = pool::min_size + 1});
  EXPECT_EQ(p.size(), pool::min_size + 4096);
  EXPECT_EQ(fs::file_size(file), p.size());
}

TEST_F(Pool, IsNotCreatedOverAFile) {
  std::ofstream(file) << "mine";
  expect_error<pool_exists>(file, "remove it", [&] { create(); });
  EXPECT_EQ(content(file), "mine");
  fs::remove(file);
  fs::create_symlink("nowhere", file);
  expect_error<pool_exists>(file, "", [&] { create(); });
}

TEST_F(Pool, RefusesOptionsOutOfRange) {
  expect_error<pool_too_small>(file, "16777216", [&] { create({.size = pool::min_size - 1}); });
  expect_error<pool_error>(file, "at most", [&] { create({.size = std::size_t{2} << 40, .sparse = true}); });
  expect_error<pool_error>(file, "1 to 4096 workers", [&] { create({.size = pool::min_size, .max_workers = 4097}); });
  expect_error<pool_error>(file, "found 0", [&] { create({.size = pool::min_size, .max_workers = 0}); });
  expect_error<pool_error>(file, "page address",
                           [&] { create({.size = pool::min_size, .address = 0x5500'0000'0001}); });
  expect_error<pool_error>(file, "page address", [&] { create({.size = pool::min_size, .address = 0x1000}); });
  expect_error<pool_error>(file, "page address",
                           [&] { create({.size = pool::min_size, .address = 0x7fff'ffff'f000}); });
  expect_error<pool_error>(file, "level", [&] { create({.size = pool::min_size, .level = durability(7)}); });
  expect_error<pool_error>(folder / "no" / "a.pool", "folder", [&] { pool::create(folder / "no" / "a.pool", small); });
  EXPECT_TRUE(folder.empty());
}

TEST_F(Pool, ThatFindsNoRoomLeavesNothing) {
  // A full file system, as far as the process can tell.
  child limited([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{pool::min_size / 2, pool::min_size / 2};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    expect_error<disk_full>(file, "Make room", [&] { create(); });
    expect_error<disk_full>(file, "Make room", [&] { create({.size = pool::min_size, .sparse = true}); });
    return testing::Test::HasFailure() ? 1 : 0;
  });
  EXPECT_EQ(limited.wait(), 0);
  EXPECT_TRUE(folder.empty());
}

TEST_F(Pool, OnAFullFileSystemLeavesNothing) {
  const fs::path mountpoint = folder / "full";
  fs::create_directory(mountpoint);
  if (::mount("none", mountpoint.c_str(), "tmpfs", 0, "size=20m") != 0) GTEST_SKIP() << "no right to mount a tmpfs";
  const fs::path there = mountpoint / "a.pool";
  expect_error<disk_full>(there, "Make room", [&] { pool::create(there, {.size = std::size_t{32} << 20}); });
  EXPECT_TRUE(fs::is_empty(mountpoint));
  EXPECT_NO_THROW(pool::create(there, small)) << "what it had taken was not given back";
  ASSERT_EQ(::mount("none", mountpoint.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  expect_refused<read_only_pool>(there, "permissions");
  expect_error<read_only_pool>(mountpoint / "b.pool", "permissions",
                               [&] { pool::create(mountpoint / "b.pool", small); });
  ::umount(mountpoint.c_str());
}

TEST_F(Pool, KilledWhileItIsCreatedIsWholeOrNotThere) {
  std::mt19937_64 random(seed());
  for (int i = 0; i < 40; ++i) {
    child creator([&] {
      pool::create(file, small);
      return 0;
    });
    // Creation takes some milliseconds: stop it anywhere in there.
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 8000);
    while (std::chrono::steady_clock::now() < end) {
    }
    creator.kill();
    if (fs::exists(file)) {
      EXPECT_NO_THROW(pool::open(file));
      fs::remove(file);
    }
    ASSERT_TRUE(folder.empty()) << "something was left behind";
  }
}

/// From here on this process has a kernel whose file systems know no files without a name.
bool forbid_unnamed_files() {
  constexpr std::uint32_t unnamed = O_TMPFILE & ~O_DIRECTORY;
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_openat, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, unnamed, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{std::size(program), program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(Pool, IsCreatedWhereEveryFileHasAName) {
  child creator([&] {
    if (!forbid_unnamed_files()) return 77;
    { const pool p = pool::create(file, small); }
    expect_error<pool_exists>(file, "", [&] { create(); });
    const fs::path other = folder / "b.pool";
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{pool::min_size / 2, pool::min_size / 2};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    expect_error<disk_full>(other, "Make room", [&] { pool::create(other, small); });
    return testing::Test::HasFailure() ? 1 : 0;
  });
  const int code = creator.wait();
  if (code == 77) GTEST_SKIP() << "no seccomp";
  EXPECT_EQ(code, 0);
  EXPECT_NO_THROW(pool::open(file));
  fs::remove(file);
  EXPECT_TRUE(folder.empty()) << "a temporary file was left behind";
}

TEST_F(Pool, Of16GiBSparseTakesNoSpace) {
  const pool_options big{.size = std::size_t{16} << 30, .sparse = true};
  { const pool p = pool::create(file, big); }
  struct stat status;
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_size, std::int64_t{16} << 30);
  EXPECT_LT(status.st_blocks * 512, 16 << 20);
  const pool p = pool::open(file);
  EXPECT_GE(p.segments()[0].size(), big.size / 100 * 99);
  p.segments()[0].back() = std::byte{1};
}

TEST_F(Pool, OfMoreThanOneZoneHasMoreSegments) {
  const pool_options big{.size = std::size_t{40} << 30, .sparse = true};
  { const pool p = pool::create(file, big); }
  const pool p = pool::open(file);
  EXPECT_EQ(p.segments().size(), 3u);
  std::size_t usable = 0;
  for (const std::span<std::byte> s : p.segments()) {
    usable += s.size();
    s.front() = s.back() = std::byte{1};
  }
  EXPECT_GE(usable, big.size / 100 * 99);
}

TEST_F(Pool, IsOpenedOrCreated) {
  {
    const pool p = pool::open_or_create(file, small);
    p.segments()[0][0] = std::byte{7};
  }
  const pool p = pool::open_or_create(file, {.size = std::size_t{32} << 20});
  EXPECT_EQ(p.size(), small.size);
  EXPECT_EQ(p.segments()[0][0], std::byte{7});
}

// --- Survival ---------------------------------------------------------------------------------------------------

TEST_F(Pool, OpensAsItWasCreatedAtItsAddress) {
  std::byte* base = nullptr;
  std::vector<std::span<std::byte>> segments;
  {
    const pool p = pool::create(file, {.size = pool::min_size, .address = 0x5510'0000'0000, .max_workers = 7});
    base = p.base();
    segments.assign(p.segments().begin(), p.segments().end());
    *reinterpret_cast<std::byte**>(segments[0].data()) = segments[0].data() + 100;
    segments[0].back() = std::byte{42};
  }
  for (int i = 0; i < 3; ++i) {
    const pool p = pool::open(file);
    EXPECT_EQ(p.base(), base);
    EXPECT_EQ(reinterpret_cast<std::uint64_t>(base), 0x5510'0000'0000u);
    EXPECT_EQ(p.max_workers(), 7u);
    ASSERT_EQ(p.segments().size(), segments.size());
    EXPECT_EQ(p.segments()[0].data(), segments[0].data());
    EXPECT_EQ(p.segments()[0].size(), segments[0].size());
    EXPECT_EQ(*reinterpret_cast<std::byte**>(p.segments()[0].data()), segments[0].data() + 100);
    EXPECT_EQ(p.segments()[0].back(), std::byte{42});
  }
}

TEST_F(Pool, SurvivesTheEndOfItsProcess) {
  create();
  child owner([&] {
    pool p = pool::open(file);
    std::ranges::fill(p.segments()[0], std::byte{3});
    p.put_job(job("one"));
    ::_exit(5);  // nothing is closed
    return 0;
  });
  EXPECT_EQ(owner.wait(), 5);
  const pool p = pool::open(file);
  EXPECT_TRUE(std::ranges::all_of(p.segments()[0], [](std::byte b) { return b == std::byte{3}; }));
  EXPECT_TRUE(p.find_job("one"));
}

TEST_F(Pool, SurvivesKillAndIsHeldUntilThen) {
  create();
  const signal_pipe ready;
  child owner([&] {
    pool p = pool::open(file);
    p.put_job(job("one"));
    std::byte* at = p.segments()[0].data();
    *at = std::byte{9};
    ready.send();
    for (;;) ::pause();
    return 0;
  });
  ready.await();
  expect_refused<pool_in_use>(file, "process " + std::to_string(owner.pid()));
  owner.kill();
  const pool p = pool::open(file);
  EXPECT_EQ(p.segments()[0][0], std::byte{9});
  EXPECT_TRUE(p.find_job("one"));
}

TEST_F(Pool, IsHeldAgainstItsOwnProcess) {
  const pool p = pool::create(file, small);
  expect_refused<pool_in_use>(file, "process " + std::to_string(::getpid()));
}

/// Once by libpmem2, and once more by libpmemobj when that has opened it.
int times_mapped(const fs::path& file) {
  int times = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) times += line.ends_with(file.string());
  return times;
}

TEST_F(Pool, IsHeldBeforeLibpmemobjOpensItAndAfter) {
  create();
  pool p = pool::open(file);
  for (const int times : {1, 2}) {
    EXPECT_EQ(times_mapped(file), times);
    expect_refused<pool_in_use>(file, "process " + std::to_string(::getpid()));
    EXPECT_EQ(pmemobj_open(file.c_str(), layout::pool_layout_name), nullptr) << "other programs of libpmemobj are not kept out";
    EXPECT_EQ(p.jobs().size(), static_cast<std::size_t>(times - 1));
    p.put_job(job("one"));
  }
}

TEST_F(Pool, IsHeldByOneAtEachMoment) {
  create();
  const auto opens_often = [&] {
    int opened = 0;
    while (opened < 100) {
      try {
        pool p = pool::open(file);
        auto& holder = reinterpret_cast<volatile pid_t&>(p.segments()[0][0]);
        if (holder != 0) return 1;
        holder = ::getpid();
        p.put_job(job("one"));  // libpmemobj opens it
        if (holder != ::getpid()) return 2;
        holder = 0;
        ++opened;
      } catch (const pool_in_use&) {
      }
    }
    return 0;
  };
  child a(opens_often), b(opens_often), c(opens_often);
  for (child* one : {&a, &b, &c}) EXPECT_EQ(one->wait(), 0);
}

TEST_F(Pool, IsFreeWhenItIsClosed) {
  create();
  { pool p = pool::open(file); }
  pool p = pool::open(file);
  pool q = std::move(p);
  EXPECT_EQ(q.file(), file);
  q = pool::create(folder / "b.pool", small);
  EXPECT_NO_THROW(pool::open(file)) << "assigning over a pool does not close it";
}

TEST_F(Pool, TwoAreOpenAtOnce) {
  const fs::path other = folder / "b.pool";
  for (const std::size_t size : {pool::min_size, std::size_t{1} << 30}) {
    {
      const pool a = pool::create(file, {.size = size, .sparse = true});
      const pool b = pool::create(other, {.size = size, .sparse = true});
      EXPECT_NE(a.base(), b.base());
      a.segments()[0][0] = std::byte{1};
      b.segments()[0][0] = std::byte{2};
    }
    for (const bool a_first : {true, false}) {
      const pool p = pool::open(a_first ? file : other);
      const pool q = pool::open(a_first ? other : file);
      EXPECT_EQ(p.segments()[0][0], a_first ? std::byte{1} : std::byte{2});
      EXPECT_EQ(q.segments()[0][0], a_first ? std::byte{2} : std::byte{1});
    }
    fs::remove(file);
    fs::remove(other);
  }
}

TEST_F(Pool, GivesItsAddressSpaceBack) {
  create();
  { pool p = pool::open(file); }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) EXPECT_FALSE(line.starts_with("5500")) << line;
}

// --- Opening: every failure by its name -------------------------------------------------------------------------

TEST_F(Pool, ThatIsNotThereIsNotOpened) {
  expect_error<no_such_pool>(file, "Create it", [&] { pool::open(file); });
  expect_error<no_such_pool>(file, "", [&] { pool::open(file); });
  EXPECT_TRUE(folder.empty());
}

TEST_F(Pool, IsNoDirectoryFifoOrDevice) {
  fs::create_directory(file);
  expect_error<not_a_pool>(file, "no regular file", [&] { pool::open(file); });
  fs::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  expect_error<not_a_pool>(file, "no regular file", [&] { pool::open(file); });
  expect_error<not_a_pool>("/dev/null", "no regular file and no DAX device", [&] { pool::open("/dev/null"); });
}

TEST_F(Pool, IsNotMadeOfADeviceThatIsNoDaxDevice) {
  expect_error<not_a_pool>("/dev/null", "no DAX device", [&] { pool::create("/dev/null"); });
  expect_error<not_a_pool>("/dev/zero", "no DAX device", [&] { pool::create("/dev/zero", {.wipe_devices = true}); });
  const part_options device{"/dev/null"};
  expect_error<not_a_pool>("/dev/null", "no DAX device", [&] { pool::create(file, {.further_parts = {device}}); });
  EXPECT_TRUE(folder.empty());
}

TEST_F(Pool, IsNoOtherFile) {
  std::ofstream(file).close();
  expect_refused<not_a_pool>(file, "0 bytes");
  std::ofstream(file) << "PMEM";
  expect_refused<not_a_pool>(file, "4 bytes");
  std::ofstream(file) << std::string(1 << 20, 'x');
  expect_refused<not_a_pool>(file, "begins with PMEMOBJ");
  fs::resize_file(file, 0);
  fs::resize_file(file, pool::min_size);
  expect_refused<not_a_pool>(file, "begins with PMEMOBJ");
}

TEST_F(Pool, IsNoOtherProgramsPool) {
  PMEMobjpool* other = pmemobj_create(file.c_str(), "queue", pool::min_size, 0600);
  ASSERT_NE(other, nullptr) << pmemobj_errormsg();
  pmemobj_close(other);
  expect_refused<not_a_pool>(file, "layout \"queue\"");
}

TEST_F(Pool, WithoutControlRootIsRefused) {
  PMEMobjpool* bare = pmemobj_create(file.c_str(), layout::pool_layout_name, pool::min_size, 0600);
  ASSERT_NE(bare, nullptr) << pmemobj_errormsg();
  pmemobj_close(bare);
  expect_refused<corrupt_pool>(file, "control root");
}

TEST_F(Pool, OfAnotherVersionIsRefused) {
  create();
  forgery f(file);
  f.root->version = 2;  // what there was before there were parts
  f.store();
  expect_refused<wrong_version>(file, "expected format version 3, found 2");
  f.root->version = 3;
  f.header.major = 5;
  f.store();
  expect_refused<wrong_version>(file, "version 6 of libpmemobj's format, found 5");
  f.header.major = 6;
  f.header.incompat |= 8;
  f.store();
  expect_refused<wrong_version>(file, "features");
}

TEST_F(Pool, PartOfAPoolSetIsRefused) {
  create();
  forgery f(file);
  f.header.next_part[3] ^= 1;
  f.store();
  expect_refused<not_a_pool>(file, "pool set");
}

TEST_F(Pool, ThatWasCutIsRefused) {
  for (const std::uint64_t size : {pool::min_size - 4096, std::size_t{0x400000}, std::size_t{0x10000},
                                   std::size_t{5000}, std::size_t{4096}, std::size_t{100}}) {
    create();
    fs::resize_file(file, size);
    expect_refused<truncated_pool>(file, "Restore");
    fs::remove(file);
  }
}

TEST_F(Pool, ThatGrewIsRefused) {
  create();
  fs::resize_file(file, pool::min_size + 4096);
  expect_refused<corrupt_pool>(file, std::to_string(pool::min_size + 4096));
}

TEST_F(Pool, SmallerThanItsFixedPartsIsRefused) {
  create();
  forgery f(file);
  f.root->file_size = 1 << 20;
  f.store();
  expect_refused<pool_too_small>(file, "1048576");
}

TEST_F(Pool, WithABrokenChecksumIsRefused) {
  create();
  const forgery whole(file);
  const auto refused_after = [&](const char* what, const auto& change) {
    forgery f(file);
    change(f);
    f.store_as_is();
    expect_refused<corrupt_pool>(file, what);
    whole.store_as_is();
  };
  refused_after("pool header", [](forgery& f) { f.header.created ^= 1; });
  refused_after("pool descriptor", [](forgery& f) { f.descriptor.unused[7] ^= 1; });
  refused_after("heap header", [](forgery& f) { f.heap.reserved[9] ^= 1; });
  refused_after("control root", [](forgery& f) { f.root->max_workers ^= 1; });
  refused_after("control root", [](forgery& f) { f.root->segments[63].size ^= 1; });
  refused_after("control root", [](forgery& f) { f.root->checksum ^= 1; });
  refused_after("control root", [](forgery& f) { f.root->magic ^= 1; });
  EXPECT_NO_THROW(pool::open(file));
}

TEST_F(Pool, WithASegmentOutOfRangeIsRefused) {
  create();
  const layout::segment_entry good = forgery(file).root->segments[0];
  const auto refused_with = [&](std::uint32_t count, std::uint64_t offset, std::uint64_t size) {
    forgery f(file);
    f.root->segment_count = count;
    f.root->segments[0] = {offset, size};
    f.store();
    expect_refused<corrupt_pool>(file, "segment");
  };
  refused_with(0, good.offset, good.size);
  refused_with(65, good.offset, good.size);
  refused_with(1u << 31, good.offset, good.size);
  refused_with(2, good.offset, good.size);  // the second is empty
  refused_with(1, good.offset, 0);
  refused_with(1, good.offset, good.size + (1 << 20));
  refused_with(1, good.offset, ~std::uint64_t{4095});
  refused_with(1, ~std::uint64_t{4095}, 8192);
  refused_with(1, pool::min_size, 4096);
  refused_with(1, good.offset + 8, 4096);
  refused_with(1, good.offset, 4097);
  refused_with(1, 0, 4096);                                             // the header
  refused_with(1, format::heap_offset, good.size);                      // the heap's tables
  refused_with(1, (forgery(file).root_at + 8192) / 4096 * 4096, 4096);  // the control root
}

TEST_F(Pool, WithARootThatLiesIsRefused) {
  create();
  const auto refused_after = [&](const char* what, const auto& change) {
    forgery f(file);
    const forgery whole(file);
    change(f);
    f.store();
    expect_refused<corrupt_pool>(file, what);
    whole.store_as_is();
  };
  refused_after("worker", [](forgery& f) { f.root->max_workers = 0; });
  refused_after("worker", [](forgery& f) { f.root->max_workers = 1u << 30; });
  refused_after("durability", [](forgery& f) { f.root->durability = 3; });
  refused_after("address", [](forgery& f) { f.root->base_address = 0; });
  refused_after("address", [](forgery& f) { f.root->base_address = 0x5500'0000'0001; });
  refused_after("address", [](forgery& f) { f.root->base_address = 0x7fff'ffff'f000; });
  refused_after("address", [](forgery& f) { f.root->base_address = ~std::uint64_t{4095}; });
  refused_after("control root", [](forgery& f) { f.descriptor.root_offset = 0; });
  refused_after("control root", [](forgery& f) { f.descriptor.root_offset = ~std::uint64_t{15}; });
  refused_after("control root", [](forgery& f) { f.descriptor.root_offset = pool::min_size - 64; });
  refused_after("control root", [](forgery& f) { f.descriptor.root_size = 8; });
  refused_after("root object", [](forgery& f) { f.descriptor.root_size = 4096; });
  // libpmemobj would make it bigger: by its allocator, whose tables nobody has checked.
  refused_after("root object", [](forgery& f) { f.descriptor.root_size = sizeof(layout::control_root); });
  refused_after("control root", [](forgery& f) { f.descriptor.root_size = ~std::uint64_t{0}; });
  refused_after("lanes", [](forgery& f) { f.descriptor.lane_count = 1u << 30; });
  refused_after("lanes", [](forgery& f) { f.descriptor.lanes_offset = 1u << 30; });
  refused_after("heap", [](forgery& f) { f.descriptor.heap_offset = 4096; });
  refused_after("heap", [](forgery& f) { f.descriptor.heap_size = ~std::uint64_t{4095}; });
  refused_after("run id", [](forgery& f) { f.descriptor.run_id = 3; });
  refused_after("conversion", [](forgery& f) { f.descriptor.conversion_flags = 1; });
}

TEST_F(Pool, WhoseAddressIsTakenIsRefused) {
  create();
  void* const there = reinterpret_cast<void*>(pool::default_address + 8192);
  ASSERT_NE(::mmap(there, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), MAP_FAILED);
  expect_refused<address_taken>(file, "0x550000000000");
  const fs::path other = folder / "b.pool";
  expect_error<address_taken>(other, "0x550000000000",
                              [&] { pool::create(other, {.size = pool::min_size, .address = pool::default_address}); });
  EXPECT_FALSE(fs::exists(other));
  ::munmap(there, 4096);
  EXPECT_NO_THROW(pool::open(file));
}

TEST_F(Pool, ThatMayNotBeWrittenIsRefused) {
  create();
  fs::permissions(file, fs::perms(0444));
  const fs::path locked = folder / "locked";
  fs::create_directory(locked);
  fs::permissions(locked, fs::perms(0555));
  child stranger([&] {
    // Root may write anything.
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return 77;
    expect_refused<read_only_pool>(file, "permissions");
    expect_error<read_only_pool>(locked / "a.pool", "permissions", [&] { pool::create(locked / "a.pool", small); });
    return testing::Test::HasFailure() ? 1 : 0;
  });
  EXPECT_EQ(stranger.wait(), 0);
}

// --- Durability -------------------------------------------------------------------------------------------------

TEST_F(Pool, InMemoryIsProcessByDefaultAndNeverPower) {
  {
    const pool p = pool::create(file, small);
    EXPECT_EQ(p.medium().level, durability::process);
    EXPECT_NE(p.describe_medium().find("process"), std::string::npos);
    EXPECT_NE(p.describe_medium().find("tmpfs"), std::string::npos);
  }
  expect_refused<durability_refused>(file, "tmpfs", {.level = durability::power});
  const fs::path other = folder / "b.pool";
  expect_error<durability_refused>(other, "tmpfs",
                                   [&] { pool::create(other, {.size = pool::min_size, .level = durability::power}); });
  EXPECT_FALSE(fs::exists(other));
  const environment forced("PMEM2_FORCE_GRANULARITY", "BYTE");
  expect_refused<durability_refused>(file, "tmpfs", {.level = durability::power});
}

TEST_F(Pool, EmulatedFlushesByLine) {
  {
    const pool p = pool::create(file, {.size = pool::min_size, .level = durability::emulated});
    EXPECT_EQ(p.medium().level, durability::emulated);
    EXPECT_EQ(p.medium().grain, granularity::cache_line);
    EXPECT_EQ(
        p.describe_medium(),
        "emulated: flushes as on DAX (clwb + sfence, cache-line granularity forced) on tmpfs; survives kill -9 and "
        "crashes of the process, not a power failure");
    p.medium().flush(p.segments()[0].data(), 100);
    p.medium().drain();
    EXPECT_EQ(p.medium().base, reinterpret_cast<std::uintptr_t>(p.base()));
    EXPECT_EQ(p.medium().size, p.size());
  }
  EXPECT_EQ(pool::open(file).medium().level, durability::emulated) << "the level is stored";
  EXPECT_EQ(pool::open(file, {.level = durability::process}).medium().level, durability::process);
  EXPECT_EQ(pool::open(file).medium().level, durability::emulated) << "open() does not store a level";
}

TEST_F(Pool, LeavesTheEnvironmentAsItWas) {
  const environment forced("PMEM2_FORCE_GRANULARITY", "PAGE");
  { const pool p = pool::create(file, {.size = pool::min_size, .level = durability::emulated}); }
  EXPECT_STREQ(std::getenv("PMEM2_FORCE_GRANULARITY"), "PAGE");
  ::unsetenv("PMEM2_FORCE_GRANULARITY");
  { const pool p = pool::open(file); }
  EXPECT_EQ(std::getenv("PMEM2_FORCE_GRANULARITY"), nullptr);
}

class PoolOnDisk : public testing::Test {
 protected:
  void SetUp() override {
    if (on_memory(disk())) GTEST_SKIP() << disk() << " is memory; set TEST_TMPDIR to a folder on a disk";
  }
  scratch_folder folder{disk()};
  fs::path file = folder / "a.pool";
};

TEST_F(PoolOnDisk, IsPowerByDefault) {
  {
    const pool p = pool::create(file, small);
    EXPECT_EQ(p.medium().level, durability::power);
    EXPECT_NE(p.describe_medium().find("power: "), std::string::npos);
    EXPECT_NE(p.describe_medium().find("survives a power failure"), std::string::npos);
  }
  EXPECT_EQ(pool::open(file).medium().level, durability::power);
  EXPECT_EQ(pool::open(file, {.level = durability::process}).medium().level, durability::process);
}

TEST_F(PoolOnDisk, BelievesNoForcedGranularity) {
  { const pool p = pool::create(file, small); }
  const granularity found = pool::open(file).medium().grain;
  const environment forced("PMEM2_FORCE_GRANULARITY", "BYTE");
  EXPECT_EQ(pool::open(file).medium().grain, found);
  EXPECT_NE(found, granularity::byte);
}

TEST_F(PoolOnDisk, BelievesNoForcedPmem) {
  { const pool p = pool::create(file, small); }
  const environment forced("PMEM_IS_PMEM_FORCE", "1");
  expect_refused<durability_refused>(file, "PMEM_IS_PMEM_FORCE");
  expect_error<durability_refused>(folder / "b.pool", "", [&] { pool::create(folder / "b.pool", small); });
  EXPECT_NO_THROW(pool::open(file, {.level = durability::process}));
}

TEST_F(PoolOnDisk, CopiedToMemoryIsNoLongerPower) {
  { const pool p = pool::create(file, small); }
  const scratch_folder ram(memory());
  fs::copy_file(file, ram / "a.pool");
  expect_refused<durability_refused>(ram / "a.pool", "tmpfs");
  EXPECT_EQ(pool::open(ram / "a.pool", {.level = durability::process}).medium().level, durability::process);
}

}  // namespace ppmm::test
