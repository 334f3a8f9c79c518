#include "index_job.hpp"

#include "dictionary.hpp"
#include "number_pairs.hpp"
#include "text_job.hpp"

#include <ppmm/algo/algo.hpp>
#include <ppmm/pmem/errors.hpp>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string>

namespace ppmm::tools {

std::uint32_t index_text_hash(std::uint64_t begin, std::string_view word) {
  return static_cast<std::uint32_t>(XXH3_64bits_withSeed(word.data(), word.size(), begin));
}
std::uint32_t index_lines_hash(std::uint64_t first, std::span<const std::uint32_t> lines) {
  return static_cast<std::uint32_t>(XXH3_64bits_withSeed(lines.data(), lines.size_bytes(), first));
}
std::uint64_t index_files_hash(std::span<const char> names, std::span<const index_file> files) {
  return XXH3_64bits_withSeed(files.data(), files.size_bytes(), XXH3_64bits(names.data(), names.size()));
}
std::uint64_t index_hash(const index_info& info) {
  index_info all = info;
  all.hash = 0;
  return XXH3_64bits(&all, sizeof all);
}

namespace {

constexpr std::uint64_t word_units = 20, posting_units = 20;
static_assert(index_units == 1 + word_units + posting_units);

/// What is known while the index is made.
struct index_parts {
  array<char> text;
  array<word> words;
  array<std::uint64_t> lines_before;  // by block
  index_info info;
};

std::uint64_t newlines_in(std::span<const char> text) {
  return static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
}

// ---- postings: pairs of word and line -----------------------------------------------------------------------------

/// The words that begin in some blocks: how many; and, as pairs with their lines.
struct count_occurrences {
  in<char> text;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi) const {
    std::size_t n = 0;
    letter_words().each(cx.read(text), lo * block_bytes, std::min<std::size_t>(hi * block_bytes, text.size()),
                        [&n](std::size_t, std::size_t) { ++n; });
    return n;
  }
};
struct write_occurrences {
  index_parts p;
  array<std::uint64_t> to;
  std::size_t operator()(context& cx, std::size_t lo, std::size_t hi, std::size_t before) const {
    const std::size_t n = count_occurrences{as_in(p.text)}(cx, lo, hi);
    const std::span<const char> text = cx.read(p.text);
    const auto known = cx.read(p.words);
    std::uint64_t line = cx.read(as_in(p.lines_before).sub(lo, 1))[0];
    auto at = cx.write(as_out(to).sub(before, n)).begin();
    const std::size_t from = lo * block_bytes, end = std::min(hi * block_bytes, text.size());
    std::size_t counted = from;
    letter_words().each(text, from, end, [&](std::size_t position, std::size_t length) {
      line += newlines_in(text.subspan(counted, position - counted));
      counted = position;
      const auto found = std::ranges::lower_bound(known, word(text, position, length), word_order{as_in(p.text)});
      *at++ = pair_of(static_cast<std::uint64_t>(found - known.begin()), line);
    });
    cx.advance(posting_units * (end - from));
    return before + n;
  }
};

/// 1 where a pair is not the one before it.
struct flag_first {
  array<std::uint64_t> from;
  array<char> to;
  void operator()(context& cx, std::size_t lo, std::size_t hi) const {
    const std::size_t lead = lo > 0 ? 1 : 0;
    const auto some = cx.read(as_in(from).sub(lo - lead, hi - lo + lead));
    const auto flags = cx.write(as_out(to).sub(lo, hi - lo));
    for (std::size_t i = 0; i < flags.size(); ++i) flags[i] = i + lead == 0 || some[i + lead] != some[i + lead - 1];
  }
};

struct postings {
  array<std::uint64_t> first;  // by word, and the end
  array<std::uint32_t> lines;
};

/// The task that makes the postings of sorted pairs: each once. Frees the pairs.
step<postings> keep_first(context& cx, array<std::uint64_t> all, std::size_t words) {
  const array<char> flags = cx.alloc<char>(all.size());
  return cx.call(for_each(0, all.size(), flag_first{all, flags})).then([=](context& c) -> step<postings> {
    return c.call(pack(all, flags)).then([=](context& d, const array<std::uint64_t>& each) -> step<postings> {
      d.free(all);
      d.free(flags);
      return d.call(task<first_of_each>(each, words))
          .then([each](context& e, const array<std::uint64_t>& first) -> step<postings> {
            const postings made{first, e.alloc<std::uint32_t>(each.size())};
            return e.call(map(each, made.lines, low_half())).then([made, each](context& f) -> step<postings> {
              f.free(each);
              return made;
            });
          });
    });
  });
}

step<postings> make_postings(context& cx, index_parts p) {
  const count_occurrences count{as_in(p.text)};
  const std::size_t blocks = block_count(p.text.size());
  return cx.call(reduce(0, blocks, std::size_t{0}, count, std::plus<>()))
      .then([=](context& c, std::size_t n) -> step<postings> {
        const array<std::uint64_t> all = c.alloc<std::uint64_t>(n);
        return c.call(scan(0, blocks, std::size_t{0}, std::plus<>(), count, write_occurrences{p, all}))
            .then([=](context& d, std::size_t) -> step<postings> {
              return d.call(integer_sort(all, high_half(), bits_for(p.words.size())))
                  .then(task<keep_first>(all, p.words.size()));
            });
      });
}

// ---- words ---------------------------------------------------------------------------------------------------------

struct print_words {
  array<char> text;
  array<word> words;
  void operator()(context& cx, std::size_t lo, std::size_t hi, text_sink& sink) const {
    const std::span<const char> all = cx.read(text);
    for (const word& w : cx.read(as_in(words).sub(lo, hi - lo))) sink.put(w.in(all));
  }
};

struct words_length {
  array<word> words;
  std::uint64_t operator()(context& cx, std::size_t lo, std::size_t hi) const {
    std::uint64_t n = 0;
    for (const word& w : cx.read(as_in(words).sub(lo, hi - lo))) n += w.length;
    return n;
  }
};
struct write_words {
  array<char> text;
  array<word> words;
  postings all;
  array<index_word> to;
  std::uint64_t operator()(context& cx, std::size_t lo, std::size_t hi, std::uint64_t at) const {
    const std::span<const char> letters = cx.read(text);
    const auto some = cx.read(as_in(words).sub(lo, hi - lo));
    const auto first = cx.read(as_in(all.first).sub(lo, hi - lo + 1));
    const auto lines = cx.read(as_in(all.lines).sub(first[0], first[hi - lo] - first[0]));
    const auto entries = cx.write(as_out(to).sub(lo, hi - lo));
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto of_word = lines.subspan(first[i] - first[0], first[i + 1] - first[i]);
      entries[i] = {at, first[i], index_text_hash(at, some[i].in(letters)), index_lines_hash(first[i], of_word)};
      at += some[i].length;
    }
    return at;
  }
};

// ---- files ---------------------------------------------------------------------------------------------------------

struct index_names {
  array<char> names;
  array<index_file> files;
  std::uint64_t hash = 0;
};

/// The input's files stand outside the pool, but are the same in every run of the job: its mark says so.
index_names write_files(context& cx, const index_parts& p) {
  const input_text& input = job_input();
  std::size_t length = 0;
  for (std::size_t i = 0; i < input.files(); ++i) length += input.file(i).native().size();
  index_names made{cx.alloc<char>(length), cx.alloc<index_file>(input.files() + 1)};
  const std::span<const char> text = cx.read(p.text);
  const auto lines_before = cx.read(p.lines_before);
  const auto names = cx.write(made.names);
  const auto files = cx.write(made.files);
  std::size_t at = 0;
  for (std::size_t i = 0; i < input.files(); ++i) {
    const std::uint64_t begin = input.begin(i), block = begin / block_bytes;
    // An empty file at the end of the text begins behind its last block, perhaps.
    const std::uint64_t line =
        begin == text.size()
            ? p.info.lines
            : lines_before[block] + newlines_in(text.subspan(block * block_bytes, begin % block_bytes));
    files[i] = {at, line};
    const std::string& name = input.file(i).native();
    std::ranges::copy(name, names.begin() + static_cast<std::ptrdiff_t>(at));
    at += name.size();
  }
  files[input.files()] = {at, p.info.lines};
  made.hash = index_files_hash(names, files);
  return made;
}

// ---- all together --------------------------------------------------------------------------------------------------

// Invariants after crash: the roots count all together, when the job is finished; until then, the earlier index's do.
step<index_info> set_roots(context& cx, index_parts p, postings lines, array<index_word> words, array<char> text) {
  const index_names files = write_files(cx, p);
  index_info info = p.info;
  info.words = p.words.size();
  info.postings = lines.lines.size();
  info.files = files.files.size() - 1;
  info.files_hash = files.hash;
  info.hash = index_hash(info);
  const array<index_info> about = cx.alloc<index_info>(1);
  cx.write(about)[0] = info;
  cx.write(as_out(words).sub(words.size() - 1, 1))[0] = {text.size(), info.postings, 0, 0};
  cx.set_root(index_info_root, about);
  cx.set_root(index_text_root, text);
  cx.set_root(index_words_root, words);
  cx.set_root(index_postings_root, lines.lines);
  cx.set_root(index_names_root, files.names);
  cx.set_root(index_files_root, files.files);
  keep_blocks(cx, root_name(index_info_root),
              {block_of(about), text, block_of(words), block_of(lines.lines), files.names, block_of(files.files)});
  cx.free(p.text);
  cx.free(p.words);
  cx.free(p.lines_before);
  cx.free(lines.first);
  return info;
}

step<index_info> write_index(context& cx, index_parts p) {
  return cx.call(task<make_postings>(p)).then([p](context& c, const postings& lines) -> step<index_info> {
    const array<index_word> words = c.alloc<index_word>(p.words.size() + 1);
    return c
        .call(scan(0, p.words.size(), std::uint64_t{0}, std::plus<>(), words_length{p.words},
                   write_words{p.text, p.words, lines, words}))
        .then([=](context& d, std::uint64_t) -> step<index_info> {
          return d.call(print_all(p.words.size(), print_words{p.text, p.words})).then(task<set_roots>(p, lines, words));
        });
  });
}

step<index_info> number_lines(context& cx, index_parts p) {
  const array<std::uint64_t> newlines = cx.alloc<std::uint64_t>(p.lines_before.size());
  const auto count = [text = p.text, newlines](context& c, std::size_t lo, std::size_t hi) {
    const auto to = c.write(as_out(newlines).sub(lo, hi - lo));
    for (std::size_t b = lo; b < hi; ++b) {
      const std::size_t from = b * block_bytes;
      to[b - lo] = newlines_in(c.read(as_in(text).sub(from, std::min(block_bytes, text.size() - from))));
    }
  };
  return cx.call(for_each(0, newlines.size(), count)).then([p, newlines](context& c) -> step<index_info> {
    return c.call(ppmm::exclusive_scan(newlines, p.lines_before, std::uint64_t{0}, std::plus<>()))
        .then([p, newlines](context& d, std::uint64_t) -> step<index_info> {
          d.free(newlines);
          return d.tail(task<write_index>(p));
        });
  });
}

step<index_info> index_text(context& cx, index_info info, array<char> text) {
  return cx.call(make_dictionary(text, letter_words(), word_units))
      .then([=](context& c, const array<word>& words) -> step<index_info> {
        if (words.size() > std::numeric_limits<std::uint32_t>::max())
          throw error("the input has more different words than can be numbered, 2^32 - 1");
        return c.tail(
            task<number_lines>(index_parts{text, words, c.alloc<std::uint64_t>(block_count(text.size())), info}));
      });
}

}  // namespace

step<index_info> build_index(context& cx, text_summary expected, bool fold_case) {
  index_info info;
  info.lines = expected.lines;
  info.fold_case = std::uint64_t{fold_case};
  return cx.call(task<free_replaced>(root_name(index_info_root))).then([=](context& c) -> step<index_info> {
    return c.call(task<load_text>(expected, fold_case)).then(task<index_text>(info));
  });
}

}  // namespace ppmm::tools
