/// Word count of a text: each different word and how often it occurs, in bytewise order.
#include "checkpointed.hpp"
#include "openmp.hpp"
#include "peers.hpp"
#include "words.hpp"

#include <dictionary.hpp>
#include <ppmm/ppmm.hpp>

#include <fmt/format.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_sort.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>

namespace bench {
namespace {

using ppmm::tools::word;

std::uint64_t add_word(std::uint64_t sum, std::string_view text, std::uint64_t count) {
  for (const char c : text) sum = (sum ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return (sum ^ count) * 0x100000001b3;
}

sorted_words count_serial(std::span<const char> text) {
  word_counts all;
  count_words_in(text, 0, text.size(), all);
  sorted_words words = unsorted(all);
  std::ranges::sort(words);
  return words;
}

using counts_by_thread = tbb::enumerable_thread_specific<word_counts>;

sorted_words all_sorted(counts_by_thread& by_thread) {
  word_counts all;
  for (word_counts& some : by_thread) {
    if (all.empty())
      all = std::move(some);
    else
      add_counts(some, all);
  }
  sorted_words words = unsorted(all);
  tbb::parallel_sort(words.begin(), words.end());
  return words;
}

sorted_words count_tbb(std::span<const char> text) {
  counts_by_thread by_thread;
  tbb::parallel_for(std::size_t{0}, ppmm::tools::block_count(text.size()), [&](std::size_t b) {
    count_words_in(text, b * block_bytes, std::min(text.size(), (b + 1) * block_bytes), by_thread.local());
  });
  return all_sorted(by_thread);
}

/// What a block of text has, written down.
struct occurrence {
  std::uint32_t position, length;
  std::uint64_t count;
};

sorted_words count_checkpointed(checkpointed& p, std::span<const char> text, double serial_ns) {
  const std::size_t n = checkpointed::blocks_for(serial_ns);
  auto* const lists = reinterpret_cast<occurrence*>(p.memory().data());
  std::atomic<std::size_t> end = 0;
  p.loop(n, [&](std::size_t b) {
    thread_local word_counts mine;
    mine.clear();
    count_words_in(text, text.size() * b / n, text.size() * (b + 1) / n, mine);
    const std::size_t at = end.fetch_add(mine.size());
    occurrence* to = lists + at;
    for (const auto& [w, count] : mine)
      *to++ = {static_cast<std::uint32_t>(w.data() - text.data()), static_cast<std::uint32_t>(w.size()), count};
    p.persist(lists + at, mine.size() * sizeof(occurrence));
    return std::uint64_t{at} << 32 | mine.size();
  });
  counts_by_thread by_thread;
  tbb::parallel_for(std::size_t{0}, n, [&](std::size_t b) {
    word_counts& to = by_thread.local();
    for (const occurrence& o : std::span(lists + (p.result(b) >> 32), p.result(b) & 0xffffffff))
      to[std::string_view(text.data() + o.position, o.length)] += o.count;
  });
  return all_sorted(by_thread);
}

void make_word_count(workload& w, const std::filesystem::path& file, std::span<std::byte> memory) {
  const std::size_t bytes = std::filesystem::file_size(file);
  if (bytes >= std::size_t{1} << 32)
    throw std::runtime_error(file.string() + " has 4 GB or more; a text of 10 to 100 MB is meant");
  const std::span<char> text(reinterpret_cast<char*>(memory.data()), bytes);
  if (!std::ifstream(file, std::ios::binary).read(text.data(), static_cast<std::streamsize>(bytes)))
    throw std::runtime_error("cannot read " + file.string());
  w.bytes = bytes;
  w.size = fmt::format("{:.3g} MB of text", static_cast<double>(bytes) / 1e6);
  const auto result = std::make_shared<sorted_words>();
  const auto sum = std::make_shared<std::uint64_t>();
  const auto saved = std::make_shared<checkpointed_later>();
  w.prepare = [=] {
    *sum = 0;
    *result = {};
    saved->begin();
  };
  w.by(peer::serial) = [=](unsigned) { *result = count_serial(text); };
  w.by(peer::onetbb) = [=](unsigned) { *result = count_tbb(text); };
  w.by(peer::openmp) = [=](unsigned threads) { *result = openmp::count_words(text, threads); };
  w.by(peer::pmemobj) = [=, &w](unsigned) {  // a word has a byte behind it, so there are at most half as many as bytes
    *result = count_checkpointed(saved->with((text.size() / 2 + 1) * sizeof(occurrence)), text, w.serial_ns);
  };
  w.ours = [=](workbench& in_pool, const ppmm::run_options& options) {
    const ppmm::in<char> all(text.data(), text.size());
    const auto finish = [all](ppmm::context& cx, const ppmm::array<word>& words) -> ppmm::step<std::uint64_t> {
      std::uint64_t of_all = 0;
      const auto chars = cx.read(all);
      for (const word& some : cx.read(words)) of_all = add_word(of_all, some.in(chars), some.count);
      cx.free(words);
      return of_all;
    };
    measured m;
    *sum = in_pool.answer(
        ppmm::tools::make_dictionary(ppmm::array<char>(text.data(), text.size()), ppmm::tools::letter_words(), 1),
        finish, options, m);
    return m;
  };
  w.answer = [=] {
    if (*sum != 0) return *sum;
    std::uint64_t of_all = 0;
    for (const auto& [some, count] : *result) of_all = add_word(of_all, some, count);
    return of_all;
  };
}

}  // namespace

void add_words(std::vector<workload_kind>& all, const workload_sizes& sizes) {
  if (!sizes.text.empty())
    all.push_back(
        {"word count", [file = sizes.text](workload& w, std::span<std::byte> m) { make_word_count(w, file, m); }});
}

}  // namespace bench
