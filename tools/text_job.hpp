/// What jobs on texts begin and end with: the input's text in the pool's heap, and output lines there.
#pragma once

#include "input_text.hpp"
#include "output_file.hpp"
#include "session.hpp"

#include <ppmm/algo/algo.hpp>
#include <ppmm/sched/context.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <numeric>
#include <string>
#include <string_view>

namespace ppmm::tools {

/// The open input files, where a job's tasks find them: file descriptors are no durable values. Kept by the caller.
void set_job_input(const input_text* text);
const input_text& job_input();

/// Reads all of the input on as many threads as the job has workers, with progress: so that it is known what to expect.
text_summary look_at(const input_text& text, const job_options& options);

/// The task that copies the job's input into the heap; A to Z become small letters where asked. Counts a unit a byte.
/// Throws error, which fails the job, if the text is not the expected one.
step<array<char>> load_text(context& cx, text_summary expected, bool fold_case);

/// Takes what is to be printed, or counts only.
class text_sink {
 public:
  explicit text_sink(char* to = nullptr) : to_(to) {}
  std::size_t size() const { return size_; }

  void put(std::string_view text) {
    if (to_ != nullptr) std::memcpy(to_ + size_, text.data(), text.size());
    size_ += text.size();
  }
  template <class... Args>
  void print(fmt::format_string<Args&...> format, Args... numbers) {
    std::array<char, 64> line;
    const auto done = fmt::format_to_n(line.data(), line.size(), format, numbers...);
    put({line.data(), done.size});
  }

 private:
  char* to_;
  std::size_t size_ = 0;
};

/// The task that gives, in a new array, what `format(cx, lo, hi, sink)` prints for all of [0, n), in order. It is
/// called twice for each (once to count), and must print the same.
template <durable_value Format>
auto print_all(std::size_t n, const Format& format) {
  constexpr std::size_t in_block = 64;
  const auto format_block = [n, format](context& cx, std::size_t b, text_sink& sink) {
    format(cx, b * in_block, std::min(n, (b + 1) * in_block), sink);
  };
  return [blocks = (n + in_block - 1) / in_block, format_block](context& cx) {
    return cx.with<std::size_t>(blocks, [blocks, format_block](context& c, array<std::size_t> sizes) -> step<array<char>> {
      const auto count = [format_block, sizes](context& d, std::size_t lo, std::size_t hi) {
        const std::span<std::size_t> to = d.write(as_out(sizes).sub(lo, hi - lo));
        for (std::size_t b = lo; b < hi; ++b) {
          text_sink counts;
          format_block(d, b, counts);
          to[b - lo] = counts.size();
        }
        return std::accumulate(to.begin(), to.end(), std::size_t{0});
      };
      return c.call(ppmm::reduce(0, blocks, std::size_t{0}, count, std::plus<>()))
          .then([blocks, format_block, sizes](context& d, std::size_t all) -> step<array<char>> {
            const array<char> to = d.alloc<char>(all);
            const auto bytes = [sizes](context& e, std::size_t lo, std::size_t hi) {
              const auto some = e.read(as_in(sizes).sub(lo, hi - lo));
              return std::accumulate(some.begin(), some.end(), std::size_t{0});
            };
            const auto print = [format_block, bytes, to](context& e, std::size_t lo, std::size_t hi, std::size_t before) {
              const std::size_t some = bytes(e, lo, hi);
              text_sink sink(e.write(as_out(to).sub(before, some)).data());
              for (std::size_t b = lo; b < hi; ++b) format_block(e, b, sink);
              return before + some;
            };
            return d.call(ppmm::scan(0, blocks, std::size_t{0}, std::plus<>(), bytes, print))
                .then([to](context&, std::size_t) -> step<array<char>> { return to; });
          });
    });
  };
}

/// A root's name as a durable value.
struct root_name {
  std::array<char, 48> text{};
  explicit root_name(std::string_view name) {
    std::copy_n(name.data(), std::min(name.size(), text.size() - 1), text.data());
  }
  root_name() = default;
  std::string_view view() const { return text.data(); }
};

/// Blocks of the heap that one job keeps; empty arrays where there are fewer.
using block_list = std::array<array<char>, 8>;

template <class T>
array<char> block_of(const array<T>& a) {
  return {reinterpret_cast<char*>(a.address()), a.size_bytes()};
}

/// The task that a job begins with whose result stays in the pool in the place of an earlier one's: frees what the last
/// such job has replaced. `result`: the name of one of its roots.
step<void> free_replaced(context& cx, root_name result);

/// Remembers the blocks of a new result, and those of the result before as replaced. To be called in the task that sets
/// the new result's roots.
void keep_blocks(context& cx, const root_name& result, const block_list& blocks);

/// The job's output stays in the pool when the job is finished, in the place of an earlier one's.
inline void keep_output(context& cx, const root_name& name, const array<char>& output) {
  cx.set_root(name.view(), output);
  keep_blocks(cx, name, {output});
}

/// Writes the finished job's output, and removes the job.
void deliver(job_session& session, const root_name& name, output_file& output);

/// The pool of a job that the user names none for.
std::filesystem::path own_pool(const std::filesystem::path& output, const std::string& job);

}  // namespace ppmm::tools
