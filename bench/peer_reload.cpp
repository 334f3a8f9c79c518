/// Going on after a crash: an application reads its checkpoint back, a job is resumed in its pool.
#include "crash.hpp"
#include "peer_compare.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace bench {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

/// A checkpoint in the page cache: nothing is read from a disk, which is the best that can be for it.
class warm_checkpoint {
 public:
  explicit warm_checkpoint(std::size_t bytes)
      : file_(pool_folder() / fmt::format("ppmm-bench-{}-reload", getpid())), bytes_(bytes) {
    std::vector<char> some(std::size_t{1} << 20, 'x');
    const int fd = open(file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) fail("cannot make " + file_.string());
    for (std::size_t at = 0; at < bytes_; at += some.size())
      if (write(fd, some.data(), some.size()) != static_cast<ssize_t>(some.size()))
        fail("cannot write " + file_.string());
    close(fd);
  }
  ~warm_checkpoint() {
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);
  }
  warm_checkpoint(const warm_checkpoint&) = delete;
  warm_checkpoint& operator=(const warm_checkpoint&) = delete;

  /// Into memory of a process that has just started.
  void reload() const {
    const int fd = open(file_.c_str(), O_RDONLY | O_CLOEXEC);
    void* const to = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || to == MAP_FAILED) fail("cannot reload " + file_.string());
    madvise(to, bytes_, MADV_HUGEPAGE);  // fewer faults, where the system has huge pages
    for (std::size_t at = 0; at < bytes_;) {
      const ssize_t n = read(fd, static_cast<char*>(to) + at, bytes_ - at);
      if (n <= 0) fail("cannot read " + file_.string());
      at += static_cast<std::size_t>(n);
    }
    close(fd);
    keep(to);
    munmap(to, bytes_);
  }

 private:
  std::filesystem::path file_;
  std::size_t bytes_;
};

}  // namespace

reload_figures measure_reload(std::size_t bytes, bool quick) {
  const warm_checkpoint checkpoint(bytes);
  crash_site site(bytes + (std::size_t{128} << 20), 1, bytes);
  std::vector<double> open_ns, first_work_ns, lost_ns;
  turns t;
  const auto reload = t.add([&] { return time_ns(2, [&] { checkpoint.reload(); }); });
  const auto resume = t.add([&] {
    const crash_figures c = site.crash_and_resume();
    open_ns.push_back(1e6 * c.open_ms);
    first_work_ns.push_back(1e6 * c.to_first_work_ms);
    lost_ns.push_back(1e6 * c.worst_lost_ms);
    return open_ns.back() + first_work_ns.back();
  });
  t.take(quick ? 2 : 11);
  return {static_cast<double>(bytes), t.median_of(reload),     median(open_ns),
          median(first_work_ns),      t.ratio(reload, resume), quantile(lost_ns, 1)};
}

}  // namespace bench
