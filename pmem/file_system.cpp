/// What a file is on, and whether a sync of it can be relied on when the power fails.
#include <ppmm/pmem/file.hpp>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <array>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace ppmm::detail {
namespace {

namespace fs = std::filesystem;

constexpr unsigned deepest = 8;  // loop devices on files on loop devices …

/// A mount as /proc/self/mountinfo has it.
struct mount {
  std::vector<std::string> options;

  bool has(std::string_view option) const {
    for (const auto& o : options)
      if (o == option) return true;
    return false;
  }
  /// What stands behind `name=`; empty if nothing does.
  std::string value(std::string_view name) const {
    for (const auto& o : options)
      if (o.size() > name.size() && o.starts_with(name) && o[name.size()] == '=') return o.substr(name.size() + 1);
    return {};
  }
};

/// mountinfo writes white space as \040.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool octal = text[i] == '\\' && i + 3 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '3';
    plain += octal ? static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8)) : text[i];
    if (octal) i += 3;
  }
  return plain;
}

/// The options of the mount that the file is reached by, and of its file system. None before Linux 5.8.
mount mount_of(int fd, const fs::path& root) {
  mount found;
  struct statx status;
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0 || (status.stx_mask & STATX_MNT_ID) == 0) return found;
  const std::string number = fmt::format("{}", status.stx_mnt_id);
  std::ifstream mounts(root / "proc/self/mountinfo");
  // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string id, parent, at, inside, where, options, word;
    if (!(words >> id >> parent >> at >> inside >> where >> options) || id != number) continue;
    while (words >> word && word != "-") {
    }
    std::string type, source, super;
    words >> type >> source >> super;
    for (const std::string& list : {options, super}) {
      std::istringstream parts(list);
      for (std::string part; std::getline(parts, part, ',');) found.options.push_back(unescaped(part));
    }
    break;
  }
  return found;
}

std::string first_line(const fs::path& file) {
  std::string line;
  std::ifstream in(file);
  std::getline(in, line);
  return line;
}

/// What a system call found, and what is above it.
class looker {
 public:
  explicit looker(fs::path root) : root_(std::move(root)) {}

  file_system file(int fd, unsigned depth) const {
    struct statfs status;
    struct stat st;
    if (::fstatfs(fd, &status) != 0 || ::fstat(fd, &st) != 0) return {"an unknown file system"};
    if (S_ISCHR(st.st_mode)) return dax_device(st.st_rdev);  // not the file system that its node is on
    const auto type = static_cast<std::uint32_t>(status.f_type);
    file_system is = named(type);
    if (is.memory || !is.unkept.empty()) return is;
    const mount how = mount_of(fd, root_);
    if (how.has("volatile") && type == OVERLAYFS_SUPER_MAGIC) {
      is.unkept = "it is mounted `volatile`, so syncs do nothing";
    } else if (type == OVERLAYFS_SUPER_MAGIC) {
      below_overlay(is, how.value("upperdir"), depth);
    } else if (how.has("nostrictsync")) {
      is.unkept = "it is mounted `nostrictsync`, so the server does not sync";
    } else {
      const fs::path device = block_device(st.st_dev);
      if (how.has("nobarrier") || how.value("barrier") == "0" || how.value("fsync_mode") == "nobarrier") {
        if (has_a_volatile_cache(device))
          is.unkept = "it is mounted without barriers, so the disk's cache is not flushed";
      }
      if (is.unkept.empty()) below_device(is, device, depth);
    }
    return is;
  }

 private:
  /// Persistent is what libnvdimm has a region for, which alone has a persistence domain (Documentation/ABI/testing/
  /// sysfs-bus-nvdimm): others are high-bandwidth memory, volatile memory on CXL, memory set apart (dax_hmem).
  file_system dax_device(dev_t number) const {
    std::error_code none;
    const fs::path device = fs::canonical(root_ / "sys/dev/char" / fmt::format("{}:{}", major(number), minor(number)), none);
    if (!none)
      for (fs::path at = device; at.has_relative_path(); at = at.parent_path())
        if (fs::exists(at / "persistence_domain", none)) return {"device DAX"};
    return {"device DAX of volatile memory", true};
  }

  static file_system named(std::uint32_t type) {
    struct known {
      std::uint32_t type;
      file_system is;
    };
    static const std::array all{
        known{TMPFS_MAGIC, {"tmpfs", true}},
        known{RAMFS_MAGIC, {"ramfs", true}},
        known{HUGETLBFS_MAGIC, {"hugetlbfs", true}},
        known{EXT4_SUPER_MAGIC, {"ext4"}},
        known{XFS_SUPER_MAGIC, {"xfs"}},
        known{BTRFS_SUPER_MAGIC, {"btrfs"}},
        known{F2FS_SUPER_MAGIC, {"f2fs"}},
        known{OVERLAYFS_SUPER_MAGIC, {"overlay"}},
        known{NFS_SUPER_MAGIC, {"nfs"}},
        known{0xff534d42, {"cifs"}},
        known{0xfe534d42, {"smb2"}},
        known{0x2fc12fc1, {"zfs"}},
        // A FUSE server that has no fsync is answered for by the kernel: fc->no_fsync, and success (fs/fuse/file.c).
        known{0x65735546, {"fuse", false, "whether its server syncs cannot be seen"}},
        known{V9FS_MAGIC, {"9p", false, "whether its server syncs cannot be seen"}},
    };
    for (const known& k : all)
      if (k.type == type) return k.is;
    return {fmt::format("file system {:#x}", type)};
  }

  /// The folder in /sys of the disk, or of the partition, with that number; empty for file systems without one.
  fs::path block_device(dev_t device) const {
    std::error_code none;
    const fs::path found =
        fs::canonical(root_ / "sys/dev/block" / fmt::format("{}:{}", major(device), minor(device)), none);
    return none ? fs::path() : found;
  }

  /// A disk that says it has none needs no flush, so barriers left out lose nothing.
  static bool has_a_volatile_cache(const fs::path& device) {
    const fs::path disk = fs::exists(device / "partition") ? device.parent_path() : device;
    return first_line(disk / "queue/write_cache") != "write through";
  }

  /// What is written to an overlay goes to its upper folder.
  void below_overlay(file_system& is, const std::string& upper, unsigned depth) const {
    // The path is that of who mounted it: in a container it may be another folder of that name, or none.
    if (upper.empty() || depth == deepest) return;
    const descriptor fd(::open(upper.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (fd) stands_on(is, file(fd.get(), depth + 1), upper);
  }

  void below_device(file_system& is, const fs::path& device, unsigned depth) const {
    if (device.empty() || depth == deepest) return;
    const std::string name = device.filename();
    if (name.starts_with("zram") || name.starts_with("ram")) {
      stands_on(is, {name, true}, name);
      return;
    }
    if (const std::string backing = first_line(device / "loop/backing_file"); !backing.empty()) {
      const descriptor fd(::open(backing.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
      struct stat st;
      if (fd && ::fstat(fd.get(), &st) == 0 && S_ISREG(st.st_mode)) stands_on(is, file(fd.get(), depth + 1), backing);
    }
    std::error_code none;
    for (const auto& slave : fs::directory_iterator(device / "slaves", none)) {
      const fs::path below = fs::canonical(slave.path(), none);
      if (!none) below_device(is, below, depth + 1);
    }
  }

  static void stands_on(file_system& is, const file_system& below, const std::string& where) {
    if (below.memory) {
      is.name += fmt::format(" on {}", below.name);
      is.memory = true;
    } else if (!below.unkept.empty() && is.unkept.empty()) {
      is.unkept = fmt::format("it stands on {} ({}): {}", where, below.name, below.unkept);
    }
  }

  const fs::path root_;
};

}  // namespace

file_system file_system_of(int fd, const fs::path& root) { return looker(root).file(fd, 0); }

}  // namespace ppmm::detail
