#include "medium_file.hpp"

#include <ppmm/numa/topology.hpp>
#include <ppmm/pmem/pool.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <libpmem2.h>
#include <stdlib.h>  // mkostemp
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& where) {
  const fs::file_status s = fs::status(where);
  if (fs::is_directory(s)) return where;
  if (fs::is_regular_file(s)) return where.has_parent_path() ? where.parent_path() : fs::path(".");
  if (!fs::exists(s))
    throw error(fmt::format("there is no {}; name a folder on the medium, or a pool there", where.string()));
  throw error(
      fmt::format("{} is neither a folder nor a file; name a folder on the medium, or a pool there", where.string()));
}

/// Some file systems have no files without a name: there one has a name for a moment.
detail::descriptor nameless_file(const fs::path& folder) {
  detail::descriptor fd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)) return fd;
  std::string name = (folder / ".ppmm-profile-XXXXXX").string();
  fd = detail::descriptor(mkostemp(name.data(), O_CLOEXEC));
  if (fd) unlink(name.c_str());
  return fd;
}

}  // namespace

medium_file::medium_file(const fs::path& where, std::size_t bytes, std::optional<unsigned> node) : bytes_(bytes) {
  const fs::path folder = folder_of(where);
  fd_ = nameless_file(folder);
  if (!fd_)
    throw error(fmt::format("cannot make a file in {}: {}. It needs the right to write there", folder.string(),
                            detail::os_message(errno)));
  system_ = detail::file_system_of(fd_.get());
  if (const int failed = posix_fallocate(fd_.get(), 0, static_cast<off_t>(bytes)); failed != 0)
    throw disk_full(fmt::format("{}: no room for {} bytes to measure with: {}. Measure with fewer (--size)",
                                folder.string(), bytes, detail::os_message(failed)));

  const auto map = [&](durability level) {
    return std::make_unique<detail::mapping>(fd_, folder, detail::free_address(pool::default_address, bytes), bytes,
                                             level);
  };
  mapping_ = map(durability::process);
  grain_ = mapping_->grain();
  if (grain_ == granularity::page) {  // its functions would be msync: those for cache lines are wanted
    mapping_.reset();
    mapping_ = map(durability::emulated);
  }
  const auto& machine = numa::topology::this_machine();
  if (node && machine.nodes() > 1) static_cast<void>(machine.place(mapping_->base(), bytes, *node));
  std::memset(mapping_->base(), 1, bytes);
  if (grain_ == granularity::page && !system_.memory && fdatasync(fd_.get()) != 0)
    throw medium_error(fmt::format("{}: cannot write: {}", folder.string(), detail::os_message(errno)));
  node_ = machine.node_of(mapping_->base());
}

store_target medium_file::target() const {
  return {mapping_->base(),           bytes_,
          mapping_->flush_function(), mapping_->drain_function(),
          mapping_->copy_function(),  PMEM2_F_MEM_NODRAIN | PMEM2_F_MEM_NONTEMPORAL};
}

}  // namespace ppmm::tools
