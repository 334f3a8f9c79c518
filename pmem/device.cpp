#include <ppmm/pmem/device.hpp>

#include <fcntl.h>
#include <libpmem2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <fstream>
#include <memory>

namespace ppmm {
namespace detail {
namespace {

namespace fs = std::filesystem;

using source = std::unique_ptr<pmem2_source, decltype([](pmem2_source* s) { pmem2_source_delete(&s); })>;

/// The first word of a file in sysfs; empty if there is none.
std::string word_in(const fs::path& file) {
  std::string word;
  std::ifstream(file) >> word;
  return word;
}

std::optional<long long> number_in(const fs::path& file) {
  long long number = 0;
  if (!(std::ifstream(file) >> number)) return std::nullopt;
  return number;
}

/// Where a file's device is, in sysfs and for libpmem2.
struct place {
  fs::path device;  // folder of the device that the file is on (a file) or is (a DAX device); empty if it has none
  fs::path memory;  // folder of what holds its persistent memory: libnvdimm's `regionN`, or the DAX device; empty: none
  source libpmem2;  // null without persistent memory: libpmem2 would look at every device to find nothing
  bool is_device = false;
};

fs::path memory_of(const fs::path& device) {
  for (fs::path at = device; at.has_relative_path(); at = at.parent_path()) {
    const std::string name = at.filename();
    if (name.starts_with("region") && fs::exists(at / "numa_node")) return at;
  }
  return device.filename().string().starts_with("dax") ? device : fs::path();
}

place place_of(const descriptor& fd, const fs::path& sysfs) {
  place at;
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return at;
  at.is_device = S_ISCHR(status.st_mode);
  const dev_t device = at.is_device ? status.st_rdev : status.st_dev;
  const char* const kind = at.is_device ? "char" : "block";
  std::error_code none;
  const fs::path found = fs::canonical(sysfs / "dev" / kind / fmt::format("{}:{}", major(device), minor(device)), none);
  if (none) return at;
  at.device = found;
  at.memory = memory_of(found);
  pmem2_source* raw = nullptr;
  if (!at.memory.empty() && pmem2_source_from_fd(&raw, fd.get()) == 0) at.libpmem2.reset(raw);
  return at;
}

constexpr const char* no_pmem = "it is on no persistent memory";

told<unsigned> numa_node_at(const place& at) {
  if (at.memory.empty()) return told<unsigned>::not_told(no_pmem);
  int node = -1;
  if (at.libpmem2 && pmem2_source_numa_node(at.libpmem2.get(), &node) == 0 && node >= 0) {
    return static_cast<unsigned>(node);
  }
  const auto said = number_in(at.memory / "numa_node");
  if (!said || *said < 0) return told<unsigned>::not_told("neither libpmem2 nor sysfs knows a node");
  return static_cast<unsigned>(*said);
}

told<std::string> persistence_domain_at(const place& at) {
  if (at.memory.empty()) return told<std::string>::not_told(no_pmem);
  const std::string said = word_in(at.memory / "persistence_domain");
  if (said.empty()) return told<std::string>::not_told(fmt::format("{} does not say", at.memory.filename().string()));
  return said;
}

/// What the memory devices of the region say, together: libpmem2 asks NFIT's; sysfs has it also for CXL's from
/// Linux 6.15 on (Documentation/ABI/testing/sysfs-bus-nvdimm, sysfs-bus-cxl: `nmemX/cxl/dirty_shutdown`).
told<std::uint64_t> unsafe_shutdowns_at(const place& at) {
  if (at.memory.empty()) return told<std::uint64_t>::not_told(no_pmem);
  std::uint64_t count = 0;
  if (at.libpmem2 && pmem2_source_device_usc(at.libpmem2.get(), &count) == 0) return count;
  bool any = false;
  for (unsigned i = 0;; ++i) {
    const std::string mapping = word_in(at.memory / fmt::format("mapping{}", i));  // nmem0,0,1073741824,0
    if (mapping.empty()) break;
    const fs::path dimm = at.memory.parent_path() / mapping.substr(0, mapping.find(','));
    for (const char* kind : {"nfit", "cxl"}) {
      const auto said = number_in(dimm / kind / "dirty_shutdown");
      if (!said || *said < 0) continue;
      count += static_cast<std::uint64_t>(*said);
      any = true;
    }
  }
  if (any) return count;
  return told<std::uint64_t>::not_told("neither libpmem2 nor sysfs counts them for this device");
}

/// Linux' loop driver tells nobody of a write to the file below that was cut short (drivers/block/loop.c, lo_complete_rq:
/// only reads go on), which happens where there is no room for a hole's blocks.
std::string sparse_below(const place& at) {
  for (const fs::path& device : {at.device, at.device.parent_path()}) {  // the device, or that of a partition
    std::string below;
    struct stat status;
    if (!std::getline(std::ifstream(device / "loop" / "backing_file"), below) || ::stat(below.c_str(), &status) != 0) continue;
    return S_ISREG(status.st_mode) && status.st_blocks * 512 < status.st_size ? below : "";
  }
  return "";
}

told<bool> dax_of(const descriptor& fd, const place& at) {
  if (at.is_device) return true;
  struct statx status;
  if (::statx(fd.get(), "", AT_EMPTY_PATH, STATX_TYPE, &status) != 0) {
    return told<bool>::not_told(fmt::format("statx: {}", os_message(errno)));
  }
  if ((status.stx_attributes_mask & STATX_ATTR_DAX) == 0)
    return told<bool>::not_told("the kernel does not say (Linux 5.8 does)");
  return (status.stx_attributes & STATX_ATTR_DAX) != 0;
}

/// By trying: a page is mapped, not touched.
told<bool> map_sync_of(const descriptor& fd, const place& at) {
  if (at.is_device) return told<bool>::not_told("a DAX device has no metadata to sync");
  constexpr std::size_t page = 4096;
  void* const mapped = ::mmap(nullptr, page, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd.get(), 0);
  if (mapped != MAP_FAILED) {
    ::munmap(mapped, page);
    return true;
  }
  if (errno == EOPNOTSUPP) return false;
  return told<bool>::not_told(fmt::format("mmap: {}", os_message(errno)));
}

told<std::string> name_of(const place& at, const file_system& where) {
  if (!at.device.empty()) return at.device.filename().string();
  return told<std::string>::not_told(where.memory ? fmt::format("{} has none", where.name)
                                                  : "sysfs has no device of its number");
}

}  // namespace

device_facts facts_of(const descriptor& fd, const fs::path& sysfs) {
  const place at = place_of(fd, sysfs);
  const file_system where = file_system_of(fd.get());
  return {.device = name_of(at, where),
          .file_system = at.is_device ? "devdax" : where.name,
          .dax = dax_of(fd, at),
          .map_sync = map_sync_of(fd, at),
          .numa_node = numa_node_at(at),
          .persistence_domain = persistence_domain_at(at),
          .unsafe_shutdowns = unsafe_shutdowns_at(at),
          .bad_blocks = bad_blocks_of(fd.get(), at.libpmem2.get(), at.device),
          .sparse_below = sparse_below(at)};
}

std::optional<unsigned> numa_node_of(const descriptor& fd, const fs::path& sysfs) {
  const told<unsigned> node = numa_node_at(place_of(fd, sysfs));
  return node ? std::optional(*node) : std::nullopt;
}

std::vector<bad_range> known_bad_blocks(const descriptor& fd, const fs::path& sysfs) {
  const place at = place_of(fd, sysfs);
  const auto found = bad_blocks_of(fd.get(), at.libpmem2.get(), at.device);
  return found ? *found : std::vector<bad_range>();
}

}  // namespace detail

std::string device_facts::in_words() const {
  std::string words = device ? *device : "no device";
  if (numa_node) words += fmt::format(", node {}", *numa_node);
  if (map_sync && *map_sync) words += ", MAP_SYNC";
  if (persistence_domain) words += fmt::format(", {}", *persistence_domain);
  return words;
}

std::string device_facts::warning() const {
  std::vector<std::string> wrong;
  const std::string name = device ? *device : file_system;
  if (bad_blocks && !bad_blocks->empty()) {
    std::uint64_t bytes = 0;
    for (const bad_range& b : *bad_blocks) bytes += b.size;
    wrong.push_back(fmt::format(
        "{} has {} bad range{} in this file, {} bytes, the first at offset {:#x}: who reads there is killed by SIGBUS. "
        "Make a new pool on good memory (`ndctl clear-errors` gives zeros in place of what was lost)",
        name, bad_blocks->size(), bad_blocks->size() == 1 ? "" : "s", bytes, bad_blocks->front().offset));
  }
  if (unsafe_shutdowns && *unsafe_shutdowns > 0) {
    wrong.push_back(fmt::format(
        "{} counts {} unsafe shutdown{}: writes may have been lost then. A job that ran through one should be begun "
        "anew",
        name, *unsafe_shutdowns, *unsafe_shutdowns == 1 ? "" : "s"));
  }
  if (!sparse_below.empty()) {
    wrong.push_back(fmt::format(
        "{} stands on {}, which has holes: when the disk below it is full, Linux may lose writes there without an error. "
        "Give it all its blocks (fallocate --length $(stat -c %s FILE) FILE), or keep room below it",
        name, sparse_below));
  }
  return fmt::format("{}", fmt::join(wrong, "; "));
}

}  // namespace ppmm
