/// A file that appears whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace ppmm::tools {

/// Nobody reads what is written to standard output any more (`| head`).
struct reader_gone {};

/// There is a file of that name, or can be: not an empty name, a device, a pipe.
bool replaces_file(const std::filesystem::path& output);

/// Writes to a temporary file beside `file`, named after it with `.part` behind; `publish` makes it durable and
/// renames it. If the process dies before that, `file` is as it was, and the next writer takes the temporary file over.
/// With an empty name or a device, pipe or the like there is nothing to rename: written to directly.
class output_file {
 public:
  /// Throws ppmm::error if it could not be written, before any work is done for it.
  explicit output_file(const std::filesystem::path& file);
  output_file(const output_file&) = delete;
  output_file& operator=(const output_file&) = delete;
  ~output_file();  // not published: removes the temporary file

  /// So many bytes will come: a disk that is too full is found now, not at the end.
  void reserve(std::uint64_t bytes);
  void append(std::span<const char> bytes);
  void publish();

 private:
  void open_temporary();
  void take_permissions_over();
  void flush();
  void write_all(std::span<const char> bytes);
  [[noreturn]] void fail(const char* what, int code) const;

  std::filesystem::path file_;       // the real one, links followed; empty: standard output
  std::filesystem::path temporary_;  // empty: written directly
  int fd_ = -1;
  std::vector<char> buffer_;
};

}  // namespace ppmm::tools
