/// What the tests of pmem share: folders in memory and on a disk, a pool file taken apart and put together again,
/// children that can be killed, a seed.
#pragma once

#include <ppmm/pmem/layout.hpp>
#include <ppmm/pmem/pmemobj_format.hpp>
#include <ppmm/pmem/pool.hpp>
#include <ppmm/pmem/verify.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <utility>

#include "seed.hpp"

namespace ppmm::test {

namespace fs = std::filesystem;
namespace format = pmemobj_format;

/// A folder of its own, gone at the end with all that is in it.
class scratch_folder {
 public:
  explicit scratch_folder(const fs::path& in) : path_((in / "ppmm-pmem-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp " + path_);
    ::chmod(path_.c_str(), 0755);
  }
  ~scratch_folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  fs::path operator/(const char* name) const { return fs::path(path_) / name; }
  fs::path path() const { return path_; }
  bool empty() const { return fs::is_empty(path_); }

 private:
  std::string path_;
};

/// Folders in memory. `disk()` may be memory too, on some machines: then level `power` cannot be tested.
inline fs::path memory() { return "/dev/shm"; }
inline fs::path disk() { return testing::TempDir(); }
inline bool on_memory(const fs::path& p) {
  struct statfs status;
  return ::statfs(p.c_str(), &status) == 0 && (status.f_type == 0x01021994 || status.f_type == 0x858458f6);
}

inline std::string content(const fs::path& file, std::size_t most = SIZE_MAX) {
  std::ifstream in(file, std::ios::binary);
  std::string bytes(std::min<std::size_t>(fs::file_size(file), most), '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

inline void overwrite(const fs::path& file, std::uint64_t offset, const void* bytes, std::size_t size) {
  std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
  out.seekp(static_cast<std::streamoff>(offset));
  out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
  ASSERT_TRUE(out.good());
}

template <class Structure>
Structure structure_at(const fs::path& file, std::uint64_t offset) {
  Structure s;
  std::ifstream in(file, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(offset));
  in.read(reinterpret_cast<char*>(&s), sizeof(s));
  return s;
}

/// A pool file taken apart. Change what you like; store() puts it back with checksums that fit.
struct forgery {
  explicit forgery(const fs::path& file)
      : path(file),
        header(structure_at<format::pool_header>(file, 0)),
        descriptor(structure_at<format::pool_descriptor>(file, format::descriptor_offset)),
        heap(structure_at<format::heap_header>(file, format::heap_offset)),
        root_at(descriptor.root_offset),
        root(std::make_unique<layout::control_root>(structure_at<layout::control_root>(file, root_at))) {}

  void store() {
    header.checksum = format::checksum_of(header);
    descriptor.checksum = format::checksum_of(descriptor);
    heap.checksum = format::checksum_of(heap);
    root->checksum = detail::checksum_of(*root);
    store_as_is();
  }
  void store_as_is() const {
    overwrite(path, 0, &header, sizeof(header));
    overwrite(path, format::descriptor_offset, &descriptor, sizeof(descriptor));
    overwrite(path, format::heap_offset, &heap, sizeof(heap));
    overwrite(path, root_at, root.get(), sizeof(*root));
  }

  fs::path path;
  format::pool_header header;
  format::pool_descriptor descriptor;
  format::heap_header heap;
  std::uint64_t root_at;
  std::unique_ptr<layout::control_root> root;
};

/// The call throws just this type of error, and its message names the file and `text`.
template <class Error>
void expect_error(const fs::path& file, const std::string& text, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const error& e) {
    EXPECT_EQ(typeid(e), typeid(Error)) << e.what();
    EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find(file.string()), std::string::npos) << e.what();
  }
}

/// pool::open fails that way, and leaves the file as it is to the byte.
template <class Error>
void expect_refused(const fs::path& file, const std::string& text, const pool_options& options = {}) {
  const std::string before = content(file);
  expect_error<Error>(file, text, [&] { pool::open(file, options); });
  EXPECT_TRUE(content(file) == before) << "a failed open has changed the file";
}

inline layout::job_entry job(const std::string& name, layout::job_state state = layout::job_state::running) {
  layout::job_entry entry{};
  entry.state = state;
  name.copy(entry.name, sizeof(entry.name) - 1);
  entry.serial = std::hash<std::string>{}(name);
  return entry;
}

/// A child process. It runs `work` and ends with its exit code, unless it is killed before.
class child {
 public:
  explicit child(const std::function<int()>& work) : pid_(::fork()) {
    if (pid_ != 0) return;
    int code = 99;
    try {
      code = work();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "child: %s\n", e.what());
    }
    ::_exit(code);
  }
  ~child() {
    if (pid_ > 0) kill();
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  pid_t pid() const { return pid_; }
  /// Its exit code; -1 if a signal ended it.
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    wait();
  }

 private:
  pid_t pid_;
};

/// What one process tells another: that it has got somewhere.
class signal_pipe {
 public:
  signal_pipe() {
    if (::pipe(ends_) != 0) throw std::runtime_error("pipe");
  }
  ~signal_pipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  signal_pipe(const signal_pipe&) = delete;
  signal_pipe& operator=(const signal_pipe&) = delete;
  void send() const { EXPECT_EQ(::write(ends_[1], "x", 1), 1); }
  void await() const {
    char c;
    EXPECT_EQ(::read(ends_[0], &c, 1), 1);
  }

 private:
  int ends_[2];
};

/// An environment variable, as it was at the end.
class environment {
 public:
  environment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) before_ = old;
    ::setenv(name, value, 1);
  }
  ~environment() {
    if (before_) {
      ::setenv(name_, before_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  environment(const environment&) = delete;
  environment& operator=(const environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

inline constexpr pool_options small{.size = pool::min_size};

}  // namespace ppmm::test
