#include "text_job.hpp"

#include "output_file.hpp"

#include <ppmm/pmem/errors.hpp>

#include <string>
#include <thread>

namespace ppmm::tools {
namespace {

const input_text* the_input = nullptr;

struct add_summaries {
  text_summary operator()(const text_summary& a, const text_summary& b) const {
    return {a.bytes + b.bytes, a.lines + b.lines, a.hash + b.hash};
  }
};

/// Block b of the text, by way of `room`: what is summarised and changed on the way is not what stands in the pool.
text_summary load_block(context& cx, const array<char>& text, std::size_t b, bool fold_case, std::span<char> room) {
  const std::uint64_t first = b * block_bytes, last = std::min<std::uint64_t>(first + block_bytes, text.size());
  const std::span<char> block = room.first(last - first);
  the_input->read(first, block);
  text_summary found{block.size(), 0, 0};
  found.add(summarise(block, b));
  if (fold_case)
    for (char& c : block) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  std::ranges::copy(block, cx.write(as_out(text).sub(first, block.size())).begin());
  cx.advance(block.size());
  return found;
}

/// What is kept for one result: two lists, of its blocks and of those that it has replaced.
root_name lists_of(const root_name& result) { return root_name(std::string(result.view()) + ": blocks"); }

/// As the last finished job left them; none if there is none.
array<block_list> find_lists(context& cx, const root_name& result) {
  try {
    return cx.find_root<block_list>(lists_of(result).view());
  } catch (const root_error&) {
    return {};
  }
}

// Invariants after crash: the frees and the empty list take effect with the same commit. Before it the list names
// allocated blocks that no root has; after it, none. That stands whatever becomes of this job, for both do.
step<void> free_listed(context& cx, array<block_list> lists, block_list replaced) {
  cx.write(as_out(lists).sub(1, 1))[0] = {};
  for (const array<char>& block : replaced) cx.free(block);
  return {};
}

}  // namespace

step<void> free_replaced(context& cx, root_name result) {
  const array<block_list> lists = find_lists(cx, result);
  if (lists.size() != 2) return {};
  return cx.tail(task<free_listed>(lists, cx.read(as_in(lists).sub(1, 1))[0]));
}

// Invariants after crash: nothing of the result before is freed here. A free would stand from this capsule's commit on,
// also if the job is dropped then, while the new roots count only when it is finished: the old ones would name memory
// that is somebody else's. The lists are kept with the roots, or dropped with them; the next job's free_replaced goes
// by those that count.
void keep_blocks(context& cx, const root_name& result, const block_list& blocks) {
  block_list replaced{};
  if (const array<block_list> lists = find_lists(cx, result); lists.size() == 2) {
    replaced = cx.read(as_in(lists).first(1))[0];
    replaced.back() = block_of(lists);
  }
  const array<block_list> lists = cx.alloc<block_list>(2);
  const auto to = cx.write(lists);
  to[0] = blocks;
  to[1] = replaced;
  cx.set_root(lists_of(result).view(), lists);
}

void set_job_input(const input_text* text) { the_input = text; }
const input_text& job_input() { return *the_input; }

text_summary look_at(const input_text& text, const job_options& options) {
  progress_meter meter(options.progress, "reading the input", text.size(), text.size());
  const unsigned threads = options.workers > 0 ? options.workers : std::max(1u, std::thread::hardware_concurrency());
  const text_summary summary = summarise(text, threads, [&](std::uint64_t bytes) {
    meter.update(bytes);
    stop_if_interrupted("nothing was begun yet. The command again:");
  });
  meter.finish();
  return summary;
}

step<array<char>> load_text(context& cx, text_summary expected, bool fold_case) {
  const array<char> text = cx.alloc<char>(expected.bytes);
  const auto load = [text, fold_case](context& c, std::size_t lo, std::size_t hi) {
    const std::span<char> room = c.scratch<char>(block_bytes);
    text_summary found;
    for (std::size_t b = lo; b < hi; ++b) found = add_summaries()(found, load_block(c, text, b, fold_case, room));
    return found;
  };
  return cx.call(ppmm::reduce(0, block_count(expected.bytes), text_summary(), load, add_summaries()))
      .then([text, expected](context&, const text_summary& found) -> step<array<char>> {
        if (found != expected) throw error("the input files were changed while they were read");
        return text;
      });
}

void deliver(job_session& session, const root_name& name, output_file& output) {
  const array<char> kept = find_root<char>(session.pool(), name.view());
  const std::span<const char> lines(kept.address(), kept.size());
  try {
    output.reserve(lines.size());
    constexpr std::size_t between_looks = std::size_t{1} << 22;
    for (std::size_t at = 0; at < lines.size(); at += between_looks) {
      output.append(lines.subspan(at, std::min(between_looks, lines.size() - at)));
      stop_if_interrupted("the job is finished, only its output is missing. The same command writes it:");
    }
    output.publish();
  } catch (const reader_gone&) {
    session.delivered();  // the reader wants no more: there is nothing to resume
    throw;
  }
  session.delivered();
}

std::filesystem::path own_pool(const std::filesystem::path& output, const std::string& job) {
  if (!replaces_file(output)) return "ppmm-" + job + ".ppmm";
  std::filesystem::path pool = output;
  return pool += ".ppmm";
}

}  // namespace ppmm::tools
