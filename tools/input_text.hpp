/// The input of a job: several files as one text, in which every line ends in a newline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

namespace ppmm::tools {

/// Regular files, one after the other; where a file does not end in a newline, one is added. Only the files' sizes are
/// known before they are read, and what is read later must still be what was there at first: see `text_summary`.
class input_text {
 public:
  /// Opens the files. Throws ppmm::error with the reason in words.
  explicit input_text(const std::vector<std::filesystem::path>& files);
  input_text(input_text&&) noexcept;
  input_text& operator=(input_text&&) = delete;
  ~input_text();

  std::uint64_t size() const { return size_; }

  /// Where a byte of the text stands: its file, and the line there, from 1. Reads the file up to it.
  struct place {
    std::filesystem::path file;
    std::uint64_t line;
  };
  place locate(std::uint64_t position) const;

  std::size_t files() const { return parts_.size(); }
  const std::filesystem::path& file(std::size_t i) const { return parts_[i].file; }
  std::uint64_t begin(std::size_t i) const { return parts_[i].begin; }  ///< where the file begins in the text

  /// Bytes [from, from + to.size()). Any thread may call it. Throws ppmm::error if a file is shorter than
  /// it was, std::system_error if it cannot be read now: a job then does not fail, but goes on when it is run again.
  void read(std::uint64_t from, std::span<char> to) const;

 private:
  struct part {
    std::filesystem::path file;
    int fd;
    std::uint64_t begin;  // in the text
    std::uint64_t bytes;  // in the file
    bool newline_added;
  };
  void add(const std::filesystem::path& file);
  std::vector<part>::const_iterator part_at(std::uint64_t position) const;
  void read_part(const part& p, std::uint64_t from, std::span<char> to) const;
  void close_all() noexcept;

  std::vector<part> parts_;
  std::uint64_t size_ = 0;
};

/// Text is read, counted and checked in blocks of this size.
inline constexpr std::size_t block_bytes = std::size_t{32} << 10;

constexpr std::uint64_t block_count(std::uint64_t text_bytes) { return (text_bytes + block_bytes - 1) / block_bytes; }

/// What is remembered of one block.
struct block_summary {
  std::uint64_t newlines = 0;
  std::uint64_t hash = 0;  // of its bytes and its number
};
block_summary summarise(std::span<const char> block, std::uint64_t number);

/// What is remembered of a text: two texts of the same summary are taken to be the same (XXH3, 64 bits).
struct text_summary {
  std::uint64_t bytes = 0;
  std::uint64_t lines = 0;
  std::uint64_t hash = 0;  // sum of the blocks' hashes
  friend bool operator==(const text_summary&, const text_summary&) = default;

  void add(const block_summary& b) {
    lines += b.newlines;
    hash += b.hash;
  }
  /// One number for all of it, never 0.
  std::uint64_t mark() const;
};

/// Reads all of a text with so many threads. `on_progress(bytes)` is called on this thread now and then, and may throw.
text_summary summarise(const input_text& text, unsigned threads, const std::function<void(std::uint64_t)>& on_progress);

}  // namespace ppmm::tools
