/// Texts of any bytes, as files.
#pragma once

#include "finding.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ppmm::fuzz {

/// The bytes of an input, where 0xfe repeats: the next byte so often as the one after it says, times 512.
inline std::string unpacked(std::string_view packed) {
  constexpr std::size_t most = std::size_t{72} << 10;  // three blocks
  std::string text;
  for (std::size_t i = 0; i < packed.size() && text.size() < most; ++i) {
    if (packed[i] == '\xfe' && i + 2 < packed.size()) {
      text.append(static_cast<std::size_t>(static_cast<unsigned char>(packed[i + 2])) * 512, packed[i + 1]);
      i += 2;
    } else {
      text += packed[i];
    }
  }
  return text;
}

/// A file that has no name but this.
class nameless_file {
 public:
  explicit nameless_file(std::string_view content) : fd_(::memfd_create("ppmm-fuzz", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::write(fd_, content.data(), content.size()) != static_cast<ssize_t>(content.size()))
      finding("no memory for a file");
  }
  ~nameless_file() { ::close(fd_); }
  nameless_file(nameless_file&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  nameless_file& operator=(nameless_file&&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

/// A content cut into one to four files, and what is to be read from them: each that does not end in a newline gets
/// one.
struct cut_files {
  std::vector<nameless_file> files;
  std::vector<std::filesystem::path> names;
  std::vector<std::string> texts;  // by file
  std::string text;                // together

  cut_files(const std::string& content, unsigned how) {
    const std::size_t count = 1 + how % 4;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t from = content.size() * i / count, to = content.size() * (i + 1) / count;
      std::string part = content.substr(from, to - from);
      files.emplace_back(part);
      names.push_back(files.back().path());
      if (!part.empty() && part.back() != '\n') part += '\n';
      text += part;
      texts.push_back(std::move(part));
    }
  }
};

/// The head of an input, and the packed bytes that follow it.
template <class Head>
struct text_input {
  Head head;
  std::string content;

  text_input(const std::uint8_t* data, std::size_t size) {
    const std::size_t n = std::min(size, sizeof head);
    if (n > 0) std::memcpy(&head, data, n);
    content = unpacked({reinterpret_cast<const char*>(data) + n, size - n});
  }
};

}  // namespace ppmm::fuzz
