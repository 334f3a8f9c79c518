/// What is told of the device under a pool, on trees that look like sysfs; and which levels a medium is refused.
#include <ppmm/pmem/device.hpp>
#include <ppmm/pmem/mapping.hpp>

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <cstddef>
#include <vector>

#include "pmem_test.hpp"

namespace ppmm::test {
namespace {

/// A file on the disk, and a /sys and a /proc in which its device looks as a test wants.
class made_up_machine {
 public:
  explicit made_up_machine(const fs::path& in, std::size_t bytes = 1 << 20) : folder_(in) {
    fd = detail::descriptor(::open((folder_ / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const std::string content(bytes, 'x');
    EXPECT_EQ(::write(fd.get(), content.data(), bytes), static_cast<ssize_t>(bytes));
    EXPECT_EQ(::fsync(fd.get()), 0);  // so that it has its blocks
    struct stat st;
    ::fstat(fd.get(), &st);
    number_ = std::to_string(major(st.st_dev)) + ":" + std::to_string(minor(st.st_dev));
  }

  void put(const std::string& name, const std::string& text) const {
    const fs::path at = root() / name;
    fs::create_directories(at.parent_path());
    std::ofstream(at) << text;
  }
  /// The file's device stands in this folder of sysfs.
  void device_is(const std::string& folder) const {
    const fs::path link = sysfs() / "dev/block" / number_;
    fs::create_directories(link.parent_path());
    fs::create_directories(sysfs() / folder);
    fs::remove(link);
    fs::create_directory_symlink(sysfs() / folder, link);
  }
  /// The file's mount has these options, the file system's last.
  void mounted(const std::string& options) const {
    struct statx st;
    ASSERT_EQ(::statx(fd.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &st), 0);
    put("proc/self/mountinfo",
        "1 0 0:1 / /elsewhere rw - ext4 /dev/x rw,nobarrier\n" + std::to_string(st.stx_mnt_id) + " 1 " + number_ +
            " / / rw,relatime shared:1 - ext4 /dev/vda " + options + "\n");
  }
  /// Where the byte at that offset of the file is on the device.
  std::optional<std::uint64_t> on_device(std::uint64_t offset) const {
    alignas(fiemap) std::byte room[sizeof(fiemap) + sizeof(fiemap_extent)]{};
    auto* const map = reinterpret_cast<fiemap*>(room);
    map->fm_start = offset;
    map->fm_length = 1;
    map->fm_extent_count = 1;
    if (::ioctl(fd.get(), FS_IOC_FIEMAP, map) != 0 || map->fm_mapped_extents == 0) return std::nullopt;
    return map->fm_extents[0].fe_physical + (offset - map->fm_extents[0].fe_logical);
  }

  fs::path root() const { return folder_ / "root"; }
  fs::path sysfs() const { return root() / "sys"; }
  device_facts facts() const { return detail::facts_of(fd, sysfs()); }
  detail::file_system file_system() const { return detail::file_system_of(fd.get(), root()); }

 private:
  scratch_folder folder_;
  std::string number_;

 public:
  detail::descriptor fd;
};

class Device : public testing::Test {
 protected:
  void SetUp() override {
    if (on_memory(disk())) GTEST_SKIP() << disk() << " is memory; set TEST_TMPDIR to a folder on a disk";
    here.emplace(disk());
    struct statfs status;
    ASSERT_EQ(::fstatfs(here->fd.get(), &status), 0);
    if (status.f_type != EXT4_SUPER_MAGIC && status.f_type != XFS_SUPER_MAGIC) GTEST_SKIP() << "neither ext4 nor xfs";
  }
  std::optional<made_up_machine> here;

  static constexpr const char* pmem = "devices/nd/ndbus0/region3/namespace3.0/block/pmem3";
  void on_pmem() const {
    here->device_is(pmem);
    here->put("sys/devices/nd/ndbus0/region3/numa_node", "1\n");
  }
  void expect_refused(const std::string& why) const {
    const detail::file_system where = here->file_system();
    EXPECT_FALSE(where.keeps_power());
    try {
      detail::check_level(durability::power, where, "a.pool");
      ADD_FAILURE() << "expected durability_refused: " << why;
    } catch (const durability_refused& e) {
      EXPECT_NE(std::string(e.what()).find(why), std::string::npos) << e.what();
    }
    EXPECT_NO_THROW(detail::check_level(durability::process, where, "a.pool"));
    EXPECT_NO_THROW(detail::check_level(durability::emulated, where, "a.pool"));
  }
  void expect_kept() const {
    const detail::file_system where = here->file_system();
    EXPECT_TRUE(where.keeps_power()) << where.name << " " << where.unkept;
    EXPECT_NO_THROW(detail::check_level(durability::power, where, "a.pool"));
  }
};

}  // namespace

TEST_F(Device, ThatTellsNothingIsNotGuessedAt) {
  const device_facts f = here->facts();  // there is no sysfs at all
  EXPECT_FALSE(f.device);
  EXPECT_FALSE(f.numa_node);
  EXPECT_FALSE(f.persistence_domain);
  EXPECT_FALSE(f.unsafe_shutdowns);
  EXPECT_FALSE(f.bad_blocks);
  for (const std::string& why : {f.device.why_not(), f.numa_node.why_not(), f.persistence_domain.why_not(),
                                 f.unsafe_shutdowns.why_not(), f.bad_blocks.why_not()})
    EXPECT_FALSE(why.empty());
  EXPECT_EQ(f.warning(), "");
  EXPECT_FALSE(detail::numa_node_of(here->fd, here->sysfs()));
}

TEST_F(Device, OnADiskHasNoNodeEvenIfTheControllerHas) {
  here->device_is("devices/pci0000:00/0000:00:02.0/virtio1/block/vdz");
  here->put("sys/devices/pci0000:00/0000:00:02.0/numa_node", "1\n");
  const device_facts f = here->facts();
  ASSERT_TRUE(f.device);
  EXPECT_EQ(*f.device, "vdz");
  EXPECT_FALSE(f.numa_node);
  EXPECT_FALSE(f.unsafe_shutdowns);
}

TEST_F(Device, ThatIsPersistentMemoryTellsAll) {
  on_pmem();
  here->put("sys/devices/nd/ndbus0/region3/persistence_domain", "cpu_cache\n");
  here->put("sys/devices/nd/ndbus0/region3/mapping0", "nmem0,0,268435456,0\n");
  here->put("sys/devices/nd/ndbus0/region3/mapping1", "nmem5,0,268435456,1\n");
  here->put("sys/devices/nd/ndbus0/nmem0/nfit/dirty_shutdown", "2\n");
  here->put("sys/devices/nd/ndbus0/nmem5/cxl/dirty_shutdown", "3\n");
  here->put("sys/devices/nd/ndbus0/nmem7/nfit/dirty_shutdown", "100\n");  // of another region
  here->put("sys/" + std::string(pmem) + "/badblocks", "");
  const device_facts f = here->facts();
  EXPECT_EQ(*f.device, "pmem3");
  EXPECT_EQ(*f.numa_node, 1u);
  EXPECT_EQ(*f.persistence_domain, "cpu_cache");
  EXPECT_EQ(*f.unsafe_shutdowns, 5u);
  EXPECT_TRUE(f.bad_blocks->empty());
  EXPECT_EQ(detail::numa_node_of(here->fd, here->sysfs()), 1u);
  EXPECT_NE(f.in_words().find("pmem3, node 1"), std::string::npos) << f.in_words();
  EXPECT_NE(f.warning().find("5 unsafe shutdowns"), std::string::npos) << f.warning();
}

TEST_F(Device, ThatIsALoopOverAFileWithHolesWarnsOfIt) {
  const std::string below = (here->root() / "with a blank.img").string();
  here->put("with a blank.img", "");
  ASSERT_EQ(::truncate(below.c_str(), 1 << 20), 0);
  here->device_is("devices/virtual/block/loop7");
  EXPECT_EQ(here->facts().warning(), "");  // not set up by a file, or an old kernel
  here->put("sys/devices/virtual/block/loop7/loop/backing_file", below + "\n");
  EXPECT_EQ(here->facts().sparse_below, below);
  EXPECT_NE(here->facts().warning().find("loop7 stands on " + below + ", which has holes"), std::string::npos) << here->facts().warning();
  here->device_is("devices/virtual/block/loop7/loop7p1");
  EXPECT_EQ(here->facts().sparse_below, below) << "a partition";

  here->put("with a blank.img", std::string(1 << 20, 'x'));
  EXPECT_EQ(here->facts().warning(), "");
  here->put("sys/devices/virtual/block/loop7/loop/backing_file", "/no/such/file/here\n");  // another mount namespace's
  EXPECT_EQ(here->facts().warning(), "");
}

TEST_F(Device, WhoseRegionHasNoNodeTellsNone) {
  on_pmem();
  here->put("sys/devices/nd/ndbus0/region3/numa_node", "-1\n");
  here->put("sys/devices/nd/ndbus0/region3/persistence_domain", "\n");
  const device_facts f = here->facts();
  EXPECT_FALSE(f.numa_node);
  EXPECT_FALSE(f.persistence_domain);
  EXPECT_EQ(f.warning(), "");
}

TEST_F(Device, WithBadSectorsInTheFileTellsWhereInTheFile) {
  on_pmem();
  const auto first = here->on_device(8192), second = here->on_device(512 << 10);
  if (!first || !second) GTEST_SKIP() << "the file system does not tell where the file is";
  const auto line = [](std::uint64_t at, std::uint64_t sectors) {
    return std::to_string(at / 512) + " " + std::to_string(sectors) + "\n";
  };
  const std::string list = "sys/" + std::string(pmem) + "/badblocks";
  here->put(list, line(*second, 1) + line(*first, 2) + line(*first + 1024, 8));
  const std::vector<bad_range> expected = {{8192, 1024 + 4096}, {512 << 10, 512}};
  EXPECT_EQ(*here->facts().bad_blocks, expected) << "in order, and those that touch as one";
  EXPECT_EQ(detail::known_bad_blocks(here->fd, here->sysfs()), expected);
  const std::string warning = here->facts().warning();
  EXPECT_NE(warning.find("2 bad ranges in this file, 5632 bytes, the first at offset 0x2000"), std::string::npos) << warning;

  // In a partition the list is the whole disk's.
  const std::string partition = std::string(pmem) + "/pmem3p1";
  here->device_is(partition);
  here->put("sys/" + partition + "/partition", "1\n");
  here->put("sys/" + partition + "/start", "2048\n");
  EXPECT_NE(*here->facts().bad_blocks, expected) << "these sectors are before the partition's";
  here->put(list, line(*first + 2048 * 512, 2));
  EXPECT_EQ(*here->facts().bad_blocks, (std::vector<bad_range>{{8192, 1024}}));
}

TEST_F(Device, WithBadSectorsElsewhereHasAGoodFile) {
  on_pmem();
  here->put("sys/" + std::string(pmem) + "/badblocks", "0 1\n");
  const device_facts f = here->facts();
  ASSERT_TRUE(f.bad_blocks);
  EXPECT_TRUE(f.bad_blocks->empty());
  EXPECT_EQ(f.warning(), "");
}

TEST_F(Device, BadAmongWhatOpeningNeedsRefusesThePool) {
  layout::control_root root{};
  root.file_size = 64 << 20;
  root.segment_count = 1;
  root.segments[0] = {4 << 20, 60 << 20};
  const auto refused = [&root](std::vector<bad_range> bad, bool by_libpmemobj = false) {
    try {
      detail::check_bad_blocks(bad, root, "a.pool", by_libpmemobj);
    } catch (const medium_error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(refused({}), "");
  EXPECT_EQ(refused({{4 << 20, 512}, {(64 << 20) - 512, 512}}), "") << "inside the segment it is only told";
  EXPECT_EQ(refused({{64 << 20, 512}}), "") << "behind the pool";
  EXPECT_NE(refused({{8 << 20, 512}, {4096, 512}}).find("512 bad bytes at offset 0x1000"), std::string::npos);
  EXPECT_NE(refused({{(4 << 20) - 512, 1024}}), "") << "half in the segment";
  const std::string why = refused({{8 << 20, 512}, {9 << 20, 512}}, true);
  EXPECT_NE(why.find("2 bad ranges in the pool's data, 1024 bytes, the first at offset 0x800000"), std::string::npos) << why;
  EXPECT_EQ(refused({{64 << 20, 512}}, true), "");
}

// --- Levels -----------------------------------------------------------------------------------------------------

TEST_F(Device, ThatIsADiskKeepsWhatIsSynced) {
  here->device_is("devices/virtio1/block/vdz");
  here->put("sys/devices/virtio1/block/vdz/queue/write_cache", "write back\n");
  here->mounted("rw,errors=continue");
  expect_kept();
}

TEST_F(Device, WhoseCacheIsNeverFlushedIsRefusedPower) {
  here->device_is("devices/virtio1/block/vdz");
  here->put("sys/devices/virtio1/block/vdz/queue/write_cache", "write back\n");
  for (const char* options : {"rw,nobarrier", "rw,barrier=0", "rw,fsync_mode=nobarrier"}) {
    here->mounted(options);
    expect_refused("without barriers");
  }
  here->mounted("rw,nostrictsync");
  expect_refused("nostrictsync");
}

TEST_F(Device, WithoutACacheNeedsNoBarriers) {
  here->device_is("devices/virtio1/block/vdz");
  here->put("sys/devices/virtio1/block/vdz/queue/write_cache", "write through\n");
  here->mounted("rw,nobarrier");
  expect_kept();
}

TEST_F(Device, ThatIsMemoryInDisguiseIsRefusedPower) {
  for (const char* name : {"zram0", "ram1"}) {
    here->device_is("devices/virtual/block/" + std::string(name));
    EXPECT_TRUE(here->file_system().memory);
    expect_refused(name);
  }
  // A loop device's file on tmpfs; and a mapped device over it.
  const scratch_folder in_memory(memory());
  std::ofstream(in_memory / "disk.img") << "x";
  here->device_is("devices/virtual/block/loop9");
  here->put("sys/devices/virtual/block/loop9/loop/backing_file", (in_memory / "disk.img").string() + "\n");
  expect_refused("on tmpfs, which is memory");
  here->device_is("devices/virtual/block/dm-0");
  fs::create_directories(here->sysfs() / "devices/virtual/block/dm-0/slaves");
  fs::create_directory_symlink(here->sysfs() / "devices/virtual/block/loop9",
                               here->sysfs() / "devices/virtual/block/dm-0/slaves/loop9");
  expect_refused("on tmpfs, which is memory");
  here->put("sys/devices/virtual/block/loop9/loop/backing_file", (here->root().parent_path() / "file").string() + "\n");
  expect_kept();
}

TEST_F(Device, EnvironmentThatTurnsFlushesOffIsRefusedPower) {
  ::setenv("PMEM_NO_FLUSH", "1", 1);
  EXPECT_THROW(detail::check_level(durability::power, {"ext4"}, "a.pool"), durability_refused);
  EXPECT_NO_THROW(detail::check_level(durability::process, {"ext4"}, "a.pool"));
  ::unsetenv("PMEM_NO_FLUSH");
  EXPECT_NO_THROW(detail::check_level(durability::power, {"ext4"}, "a.pool"));
}

/// /dev/null stands for the device: what is read of a character device is its number.
TEST(FileSystem, ADaxDeviceKeepsPowerWhereLibnvdimmHasARegionForIt) {
  const scratch_folder folder(memory());
  const fs::path root = folder / "root";
  const detail::descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  struct stat st;
  ASSERT_EQ(::fstat(null.get(), &st), 0);
  const fs::path sys = root / "sys", device = sys / "devices/ndbus0/region0/dax0.0/dax0.0";
  fs::create_directories(device);
  fs::create_directories(sys / "dev/char");
  fs::create_directory_symlink(device, sys / "dev/char" / (std::to_string(major(st.st_rdev)) + ":" + std::to_string(minor(st.st_rdev))));
  detail::file_system is = detail::file_system_of(null.get(), root);
  EXPECT_TRUE(is.memory) << "no persistence domain is told: " << is.name;
  std::ofstream(sys / "devices/ndbus0/region0/persistence_domain") << "memory_controller";
  is = detail::file_system_of(null.get(), root);
  EXPECT_TRUE(is.keeps_power()) << is.name;
  EXPECT_EQ(is.name, "device DAX");
}

TEST(FileSystem, WhoseServerCannotBeSeenIsRefusedPower) {
  const detail::file_system fuse{"fuse", false, "whether its server syncs cannot be seen"};
  EXPECT_THROW(detail::check_level(durability::power, fuse, "a.pool"), durability_refused);
  EXPECT_NO_THROW(detail::check_level(durability::emulated, fuse, "a.pool"));
}

TEST(DeviceInMemory, HasNoDeviceAndIsNotDax) {
  const scratch_folder folder(memory());
  pool::create(folder / "a.pool", small);
  const detail::descriptor fd = detail::open_pool_file(folder / "a.pool", detail::access::read);
  const device_facts f = detail::facts_of(fd);
  EXPECT_EQ(f.file_system, "tmpfs");
  EXPECT_FALSE(f.device);
  ASSERT_TRUE(f.map_sync);
  EXPECT_FALSE(*f.map_sync);
  EXPECT_FALSE(f.dax && *f.dax);
}

}  // namespace ppmm::test
