#include "input_text.hpp"

#include <ppmm/pmem/errors.hpp>

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace ppmm::tools {
namespace {

std::string reason(int code) { return std::system_category().message(code); }

/// Reads exactly to.size() bytes.
void read_at(int fd, std::uint64_t from, std::span<char> to, const std::filesystem::path& file) {
  while (!to.empty()) {
    const ssize_t n = pread(fd, to.data(), to.size(), static_cast<off_t>(from));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EFAULT)
      throw medium_error(fmt::format("{} cannot be read into the pool: its memory cannot be had there. Its file system is full, or the medium has a bad block", file.string()));
    if (n < 0) throw std::system_error(errno, std::system_category(), fmt::format("cannot read {}", file.string()));
    if (n == 0)
      throw error(
          fmt::format("{} became shorter while it was read; the job needs its input to stay as it is", file.string()));
    from += static_cast<std::uint64_t>(n);
    to = to.subspan(static_cast<std::size_t>(n));
  }
}

std::uint64_t count_newlines(std::span<const char> text) {
  // 64 counters of one byte each, emptied before any can overflow: the compiler makes vector code of it.
  constexpr std::size_t lanes = 64, rounds = 255;
  std::uint64_t total = 0;
  const char* p = text.data();
  std::size_t left = text.size();
  while (left >= lanes) {
    std::array<std::uint8_t, lanes> count{};
    const std::size_t n = std::min(left / lanes, rounds);
    for (std::size_t r = 0; r < n; ++r, p += lanes)
      for (std::size_t i = 0; i < lanes; ++i) count[i] = static_cast<std::uint8_t>(count[i] + (p[i] == '\n'));
    left -= n * lanes;
    for (const std::uint8_t c : count) total += c;
  }
  for (; left > 0; --left, ++p) total += *p == '\n';
  return total;
}

}  // namespace

input_text::input_text(const std::vector<std::filesystem::path>& files) {
  try {
    for (const auto& file : files) add(file);
  } catch (...) {
    close_all();
    throw;
  }
}

input_text::input_text(input_text&& other) noexcept
    : parts_(std::exchange(other.parts_, {})), size_(std::exchange(other.size_, 0)) {}

input_text::~input_text() { close_all(); }

void input_text::close_all() noexcept {
  for (const part& p : parts_) close(p.fd);
  parts_.clear();
}

void input_text::add(const std::filesystem::path& file) {
  if (file == "-")
    throw error(
        "standard input is no input for a job: after a crash it could not be read again. Put it into a file first "
        "(`cat > FILE`)");
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // opening a pipe must not wait
  if (fd < 0) throw error(fmt::format("cannot open {}: {}", file.string(), reason(errno)));
  parts_.push_back({file, fd, size_, 0, false});
  struct stat st {};
  if (fstat(fd, &st) != 0) throw error(fmt::format("cannot look at {}: {}", file.string(), reason(errno)));
  if (!S_ISREG(st.st_mode))
    throw error(fmt::format(
        "{} is {}, not a regular file: after a crash it could not be read again. Put its content into a file first",
        file.string(), S_ISDIR(st.st_mode) ? "a directory" : "a pipe or a device"));
  part& p = parts_.back();
  p.bytes = static_cast<std::uint64_t>(st.st_size);
  if (p.bytes > 0) {
    char last = '\n';
    read_at(fd, p.bytes - 1, {&last, 1}, file);
    p.newline_added = last != '\n';
  }
  size_ += p.bytes + (p.newline_added ? 1 : 0);
}

std::vector<input_text::part>::const_iterator input_text::part_at(std::uint64_t position) const {
  return --std::upper_bound(parts_.begin(), parts_.end(), position,
                            [](std::uint64_t f, const part& p) { return f < p.begin; });
}

input_text::place input_text::locate(std::uint64_t position) const {
  const part& p = *part_at(position);
  place found{p.file, 1};
  std::vector<char> some(std::size_t{1} << 20);
  for (std::uint64_t at = p.begin; at < position;) {
    const std::span<char> next(some.data(), std::min<std::uint64_t>(some.size(), position - at));
    read_part(p, at - p.begin, next);
    found.line += count_newlines(next);
    at += next.size();
  }
  return found;
}

void input_text::read(std::uint64_t from, std::span<char> to) const {
  for (auto at = part_at(from); !to.empty(); ++at) {
    const std::uint64_t end = at->begin + at->bytes + (at->newline_added ? 1 : 0);
    const std::size_t n = std::min<std::uint64_t>(to.size(), end - from);
    read_part(*at, from - at->begin, to.first(n));
    from += n;
    to = to.subspan(n);
  }
}

void input_text::read_part(const part& p, std::uint64_t from, std::span<char> to) const {
  if (to.empty()) return;
  const std::size_t in_file = std::min<std::uint64_t>(to.size(), p.bytes - from);
  read_at(p.fd, from, to.first(in_file), p.file);
  if (in_file < to.size()) to.back() = '\n';
}

block_summary summarise(std::span<const char> block, std::uint64_t number) {
  return {count_newlines(block), XXH3_64bits_withSeed(block.data(), block.size(), number)};
}

std::uint64_t text_summary::mark() const {
  const std::uint64_t mark = XXH3_64bits(this, sizeof *this);
  return mark == 0 ? 1 : mark;
}

text_summary summarise(const input_text& text, unsigned threads,
                       const std::function<void(std::uint64_t)>& on_progress) {
  constexpr std::uint64_t together = 8;  // blocks a read
  const std::uint64_t blocks = block_count(text.size());
  std::atomic<std::uint64_t> next{0};
  std::mutex mutex;
  text_summary all{text.size(), 0, 0};
  std::exception_ptr failure;

  const auto work = [&](bool tells) noexcept {
    text_summary mine;
    try {
      std::vector<char> buffer(std::min<std::uint64_t>(together * block_bytes, text.size()));
      for (std::uint64_t b; (b = next.fetch_add(together)) < blocks;) {
        const std::uint64_t from = b * block_bytes;
        const std::span<char> some(buffer.data(), std::min<std::uint64_t>(buffer.size(), text.size() - from));
        text.read(from, some);
        for (std::size_t at = 0; at < some.size(); at += block_bytes, ++b)
          mine.add(summarise(some.subspan(at, std::min(block_bytes, some.size() - at)), b));
        if (tells) on_progress(from);
      }
    } catch (...) {
      next = blocks;  // the others stop too
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    all.lines += mine.lines;
    all.hash += mine.hash;
  };
  {
    const auto helpers =
        static_cast<std::size_t>(std::min<std::uint64_t>(std::max(threads, 1u) - 1, blocks / (4 * together)));
    std::vector<std::jthread> others;
    for (std::size_t i = 0; i < helpers; ++i) others.emplace_back([&] { work(false); });
    work(true);
  }
  if (failure) std::rethrow_exception(failure);
  return all;
}

}  // namespace ppmm::tools
