/// What it costs to make dirty pages of a mapped file durable, call by call: the table behind pmem/persist.cpp:sync_pages.
///
///   sync [--quick] [FOLDER]     FOLDER: on the disk that is measured (default: PPMM_BENCH_DISK, else /var/tmp)
///
/// Pages are dirtied through a shared mapping, near (one after the other) or scattered over the whole file of 128 MiB,
/// alone or while 512 others in the same file are dirty (other workers'). All calls in turns, medians.
#include "measure.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t most = 512;
constexpr std::size_t file_bytes = std::size_t{128} << 20;

void check(bool good, const char* what) {
  if (!good) throw std::system_error(errno, std::generic_category(), what);
}

/// A mapped file all of whose blocks are written: no call below has to allocate any.
class mapped_file {
 public:
  explicit mapped_file(const std::filesystem::path& folder) {
    std::string name = (folder / "ppmm-sync-XXXXXX").string();
    fd_ = ::mkstemp(name.data());
    check(fd_ >= 0, "a file to measure with");
    ::unlink(name.c_str());
    const std::vector<char> block(std::size_t{1} << 20, 1);
    for (std::size_t at = 0; at < file_bytes; at += block.size()) check(::write(fd_, block.data(), block.size()) > 0, "write");
    check(::fsync(fd_) == 0, "fsync");
    base_ = static_cast<std::byte*>(::mmap(nullptr, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
    check(base_ != MAP_FAILED, "mmap");
    check(::io_uring_queue_init(most, &ring_, 0) == 0, "io_uring");
  }
  ~mapped_file() {
    ::io_uring_queue_exit(&ring_);
    ::munmap(base_, file_bytes);
    ::close(fd_);
  }
  mapped_file(const mapped_file&) = delete;
  mapped_file& operator=(const mapped_file&) = delete;

  int fd() const { return fd_; }
  std::byte* base() const { return base_; }
  io_uring& ring() { return ring_; }

 private:
  int fd_ = -1;
  std::byte* base_ = nullptr;
  io_uring ring_{};
};

struct range {
  std::size_t offset, bytes;
};

std::vector<range> ranges_of(std::size_t pages, bool scattered) {
  if (!scattered) return {{0, pages * page}};
  std::vector<range> all;
  for (std::size_t i = 0; i < pages; ++i) all.push_back({i * (file_bytes / pages), page});
  return all;
}

struct call {
  const char* name;
  bool durable;
  void (*run)(mapped_file&, const std::vector<range>&);
};

void msync_range(mapped_file& f, const range& r) { check(::msync(f.base() + r.offset, r.bytes, MS_SYNC) == 0, "msync"); }

void start(mapped_file& f, const range& r, unsigned how) {
  check(::sync_file_range(f.fd(), static_cast<off64_t>(r.offset), static_cast<off64_t>(r.bytes), how) == 0, "sync_file_range");
}

void submit_and_wait(mapped_file& f, unsigned n) {
  check(::io_uring_submit_and_wait(&f.ring(), n) >= 0, "io_uring_submit");
  for (unsigned i = 0; i < n; ++i) {
    io_uring_cqe* done = nullptr;
    check(::io_uring_wait_cqe(&f.ring(), &done) == 0, "io_uring_wait");
    errno = -done->res;
    check(done->res >= 0, "io_uring's fsync");
    ::io_uring_cqe_seen(&f.ring(), done);
  }
}

range hull_of(const std::vector<range>& all) { return {all.front().offset, all.back().offset + all.back().bytes - all.front().offset}; }

constexpr unsigned write_and_wait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

const std::vector<call> calls = {
    {"msync of the hull", true,
     [](mapped_file& f, const std::vector<range>& all) { msync_range(f, hull_of(all)); }},
    {"msync of each range", true,
     [](mapped_file& f, const std::vector<range>& all) {
       for (const range& r : all) msync_range(f, r);
     }},
    // Durable on ext4 and xfs, where the sync of any range commits the whole inode and flushes the disk's cache. No
    // manual promises it.
    {"sync_file_range of each range, msync of the last", true,
     [](mapped_file& f, const std::vector<range>& all) {
       for (const range& r : all) start(f, r, SYNC_FILE_RANGE_WRITE);
       for (const range& r : all) start(f, r, write_and_wait);
       msync_range(f, all.back());
     }},
    {"fdatasync of the file", true, [](mapped_file& f, const std::vector<range>&) { check(::fdatasync(f.fd()) == 0, "fdatasync"); }},
    {"io_uring: fdatasync of the file", true,
     [](mapped_file& f, const std::vector<range>&) {
       ::io_uring_prep_fsync(::io_uring_get_sqe(&f.ring()), f.fd(), IORING_FSYNC_DATASYNC);
       submit_and_wait(f, 1);
     }},
    {"io_uring: fdatasync of each range, at once", true,
     [](mapped_file& f, const std::vector<range>& all) {
       for (const range& r : all) {
         io_uring_sqe* const s = ::io_uring_get_sqe(&f.ring());
         ::io_uring_prep_fsync(s, f.fd(), IORING_FSYNC_DATASYNC);
         s->off = r.offset;
         s->len = static_cast<unsigned>(r.bytes);
       }
       submit_and_wait(f, static_cast<unsigned>(all.size()));
     }},
    {"sync_file_range of each range", false,
     [](mapped_file& f, const std::vector<range>& all) {
       for (const range& r : all) start(f, r, write_and_wait);
     }},
};

void dirty(mapped_file& f, const std::vector<range>& all) {
  static unsigned char stamp = 0;
  ++stamp;
  for (const range& r : all)
    for (std::size_t at = 0; at < r.bytes; at += page) std::memset(f.base() + r.offset + at, stamp, 64);
}

/// Median µs of each call on that many dirty pages.
std::vector<double> measure(mapped_file& f, std::size_t pages, bool scattered, bool others, unsigned rounds) {
  const std::vector<range> all = ranges_of(pages, scattered);
  std::vector<range> of_others;
  for (std::size_t i = 0; others && i < most; ++i) of_others.push_back({(2 * i + 1) * (file_bytes / most / 2), page});
  bench::turns turns;
  for (const call& c : calls)
    turns.add([&f, &all, &of_others, c] {
      check(::fsync(f.fd()) == 0, "fsync");  // what the call before left
      dirty(f, of_others);
      dirty(f, all);
      const double began = bench::clock_ns(CLOCK_MONOTONIC);
      c.run(f, all);
      return (bench::clock_ns(CLOCK_MONOTONIC) - began) / 1e3;
    });
  turns.take(rounds);
  std::vector<double> times;
  for (std::size_t i = 0; i < calls.size(); ++i) times.push_back(turns.median_of(i));
  return times;
}

std::filesystem::path folder_from(const char* given) {
  if (given != nullptr) return given;
  if (const char* chosen = std::getenv("PPMM_BENCH_DISK")) return chosen;
  return "/var/tmp";
}

void print_table(const std::filesystem::path& folder, unsigned rounds) {
  mapped_file f(folder);
  struct statfs on;
  check(::fstatfs(f.fd(), &on) == 0, "statfs");
  if (on.f_type == 0x01021994) throw std::runtime_error(folder.string() + " is in memory, where a sync does nothing: name a folder on a disk");
  fmt::print("| dirty pages | msync of the hull |");
  for (std::size_t i = 1; i < calls.size(); ++i) fmt::print(" {}{} |", calls[i].name, calls[i].durable ? "" : " (**not durable**)");
  fmt::print("\n|{}\n", [] {
    std::string rule;
    for (std::size_t i = 0; i <= calls.size(); ++i) rule += " --- |";
    return rule;
  }());
  for (const bool others : {false, true})
    for (const bool scattered : {false, true})
      for (const std::size_t pages : {1u, 8u, 64u, 512u}) {
        if (pages == 1 && scattered) continue;
        const std::vector<double> us = measure(f, pages, scattered, others, rounds);
        fmt::print("| {}{}{} | {:.2f} ms |", pages, pages == 1 ? "" : scattered ? " scattered" : " near", others ? ", 512 of others" : "", us[0] / 1e3);
        for (std::size_t i = 1; i < us.size(); ++i) fmt::print(" {:.2f} x |", us[i] / us[0]);
        fmt::print("\n");
        std::fflush(stdout);
      }
}

}  // namespace

int main(int argc, char** argv) {
  unsigned rounds = 15;
  const char* folder = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--quick") {
      rounds = 3;
    } else {
      folder = argv[i];
    }
  }
  try {
    print_table(folder_from(folder), rounds);
  } catch (const std::exception& e) {
    fmt::print(stderr, "sync: {}\n", e.what());
    return 1;
  }
}
