/// What `ppmm wordcount`, `graph` and `index` with `query` read and write: files of any bytes. How they cut a text is
/// held against a plain loop over it; now and then the whole command runs, and what it writes is held against serial
/// code.
///
/// head: how the text is cut into files and parts, which command runs, and how; then packed bytes
#include "command_line.hpp"
#include "files.hpp"
#include "finding.hpp"
#include "scratch_pool.hpp"

#include "dictionary.hpp"
#include "graph_job.hpp"
#include "input_text.hpp"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ppmm::fuzz {
namespace {

struct head {
  std::uint8_t files = 0, cuts = 0, command = 0, how = 0;
};

using strings = std::vector<std::string>;

/// A text's parts between any of these bytes.
strings split(std::string_view text, std::string_view between) {
  strings parts;
  for (std::size_t at = 0; (at = text.find_first_not_of(between, at)) != text.npos;) {
    const std::size_t end = std::min(text.find_first_of(between, at), text.size());
    parts.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return parts;
}

strings words_of(std::string_view text, bool fold_case) {
  strings words(1);
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter)
      words.back() += c < 'a' && fold_case ? static_cast<char>(c + 32) : c;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

/// The lines of a file as `ppmm graph` must understand them.
struct edge_list {
  std::vector<std::pair<std::string, std::string>> edges;
  strings bad;  // FILE:LINE

  void add(const std::string& file, std::string_view text) {
    for (std::size_t line = 1; !text.empty(); ++line) {
      const std::size_t end = text.find('\n');
      const strings names = split(text.substr(0, end), " \t\r\v\f");
      text.remove_prefix(end + 1);
      if (names.empty() || names[0][0] == '#') continue;
      if (names.size() == 2)
        edges.emplace_back(names[0], names[1]);
      else
        bad.push_back(fmt::format("{}:{}", file, line));
    }
  }
};

// ---- how a text is cut ---------------------------------------------------------------------------------------------

/// Each part alone, one after the other, as tasks would.
template <class Each>
void by_parts(std::size_t size, std::uint32_t seed, Each each) {
  std::mt19937 random(seed);
  for (std::size_t from = 0; from < size;) {
    const std::size_t to = std::min<std::size_t>(size, from + (random() % 4 == 0 ? random() % 5 : random() % 2000));
    each(from, to);
    from = to;
  }
}

void check_words(const std::string& text, std::uint32_t seed) {
  strings found;
  by_parts(text.size(), seed, [&](std::size_t from, std::size_t to) {
    tools::letter_words().each(text, from, to,
                               [&](std::size_t p, std::size_t n) { found.push_back(text.substr(p, n)); });
  });
  if (found != words_of(text, false)) finding("other words");
}

void check_edges(const std::string& text, std::uint32_t seed) {
  edge_list expected;
  expected.add("", text);
  std::vector<std::pair<std::string, std::string>> found;
  strings bad;
  by_parts(text.size(), seed, [&](std::size_t from, std::size_t to) {
    tools::edge_lines().each_line(text, from, to, [&](const tools::edge_lines::line& l) {
      const auto name = [&](const tools::edge_lines::field& f) { return text.substr(f.position, f.length); };
      if (l.bad)
        bad.push_back(fmt::format(
            ":{}", 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(l.position), '\n')));
      else
        found.emplace_back(name(l.from), name(l.to));
    });
  });
  if (found != expected.edges) finding("other edges");
  if (bad != expected.bad) finding("other bad lines");
}

// ---- whole commands ------------------------------------------------------------------------------------------------

/// What is printed to stderr meanwhile; not what a sanitizer has to say, which writes to the descriptor.
class told {
 public:
  told() : before_(std::exchange(stderr, ::open_memstream(&text_, &size_))) {}
  ~told() { take(); }
  told(const told&) = delete;
  told& operator=(const told&) = delete;
  std::string take() {
    if (before_ == nullptr) return {};
    std::fclose(std::exchange(stderr, std::exchange(before_, nullptr)));
    std::string all(text_, size_);
    std::free(text_);
    return all;
  }

 private:
  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* before_;
};

class commands {
 public:
  commands(const cut_files& input, unsigned how) : input_(input), how_(how) {}
  ~commands() { std::filesystem::remove(output_); }
  commands(const commands&) = delete;
  commands& operator=(const commands&) = delete;

  void wordcount() {
    std::map<std::string, std::size_t> counts;
    for (const auto& w : words_of(input_.text, fold_case())) ++counts[w];
    std::vector<std::pair<std::string, std::size_t>> lines(counts.begin(), counts.end());
    std::ranges::stable_sort(lines, std::greater<>(), &std::pair<std::string, std::size_t>::second);
    std::string expected;
    for (const auto& [w, n] : lines) expected += fmt::format("{:7} {}\n", n, w);
    strings words{"wordcount"};
    if (fold_case()) words.emplace_back("--fold-case");
    if (run_job(std::move(words)) != expected) finding("other counts of words");
  }

  void bfs() {
    const vertices g(input_, undirected());
    if (g.names.empty() || g.source.size() > 124 || g.source.find('\0') != g.source.npos) return;
    std::map<std::string, std::size_t> distance{{g.source, 0}};
    std::deque<std::string> waiting{g.source};
    for (; !waiting.empty(); waiting.pop_front())
      for (const auto& w : g.to.at(waiting.front()))
        if (distance.emplace(w, distance[waiting.front()] + 1).second) waiting.push_back(w);
    std::string expected;
    for (const auto& v : g.names)
      expected += distance.contains(v) ? fmt::format("{}\t{}\n", v, distance[v]) : v + "\t-\n";
    if (run_graph({"bfs", "--source=" + g.source}, g) != expected) finding("other distances");
  }

  void components() {
    const vertices g(input_, true);
    std::map<std::string, std::string> first;
    for (const auto& v : g.names) {
      std::deque<std::string> waiting{v};
      for (; !waiting.empty(); waiting.pop_front())
        if (first.emplace(waiting.front(), v).second)
          for (const auto& w : g.to.at(waiting.front())) waiting.push_back(w);
    }
    std::string expected;
    for (const auto& v : g.names) expected += v + '\t' + first[v] + '\n';
    if (run_graph({"components"}, g) != expected) finding("other components");
  }

  void pagerank() {
    const vertices g(input_, undirected());
    constexpr double damping = 0.85;
    const auto n = static_cast<double>(g.names.size());
    std::map<std::string, double> rank;
    for (const auto& v : g.names) rank[v] = 1 / n;
    for (int i = 0; i < 4; ++i) {
      double idle = 0;
      for (const auto& v : g.names)
        if (g.to.at(v).empty()) idle += rank[v];
      std::map<std::string, double> next;
      for (const auto& v : g.names) next[v] = (1 - damping) / n + damping * idle / n;
      for (const auto& v : g.names)
        for (const auto& w : g.to.at(v)) next[w] += damping * rank[v] / static_cast<double>(g.to.at(v).size());
      rank = next;
    }
    const std::string found = run_graph({"pagerank", "--iterations", "4", "--tolerance", "0"}, g);
    std::size_t at = 0;
    for (const auto& v : g.names) {
      if (found.compare(at, v.size() + 1, v + '\t') != 0) finding("ranks of other vertices");
      at += v.size() + 1;
      double x = -1;
      const auto [end, problem] = std::from_chars(found.data() + at, found.data() + found.size(), x);
      if (problem != std::errc() || std::abs(x - rank[v]) > 1e-9 * rank[v]) finding("another rank");
      at = static_cast<std::size_t>(end - found.data()) + 1;
    }
    if (at != found.size()) finding("ranks of more vertices");
  }

  void index() {
    strings words{"index"};
    if (fold_case()) words.emplace_back("--fold-case");
    run_job(std::move(words));
    std::map<std::string, std::vector<place>> index;
    std::size_t file = 0;
    for (const auto& text : input_.texts) {
      std::size_t line = 0;
      for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(rest.find('\n') + 1)) {
        ++line;
        for (const auto& w : words_of(rest.substr(0, rest.find('\n')), fold_case()))
          if (auto& at = index[w]; at.empty() || at.back() != place{file, line}) at.emplace_back(file, line);
      }
      ++file;
    }
    query(index, {"nowhere"});
    std::mt19937 random(how_);
    for (int i = 0; i < 3 && !index.empty(); ++i) {
      strings asked;
      for (int k = 0; k <= i % 2; ++k)
        asked.push_back(std::next(index.begin(), static_cast<std::ptrdiff_t>(random() % index.size()))->first);
      query(index, asked);
    }
  }

 private:
  using place = std::pair<std::size_t, std::size_t>;  // file, line

  struct vertices {
    edge_list list;
    std::set<std::string> names;
    std::map<std::string, strings> to;
    std::string source;

    vertices(const cut_files& input, bool undirected) {
      for (std::size_t i = 0; i < input.texts.size(); ++i) list.add(input.names[i].string(), input.texts[i]);
      for (const auto& [a, b] : list.edges) {
        names.insert(a);
        names.insert(b);
        to[b];
        to[a].push_back(b);
        if (undirected && a != b) to[b].push_back(a);
      }
      if (!list.edges.empty()) source = list.edges.front().first;
    }
  };

  bool fold_case() const { return (how_ & 4) != 0; }
  bool undirected() const { return (how_ & 4) != 0; }

  static scratch_pool& pool_file() {
    static scratch_pool file(
        {.size = std::size_t{256} << 20, .max_workers = 4, .sparse = true, .level = durability::process});
    file.close();
    return file;
  }

  /// Gives what stands in the output; what is told on stderr stays in `told_`.
  std::string run(strings words, int expected_status = 0) {
    if (words[0] != "index") words.insert(words.end(), {"--output", output_});
    words.insert(words.end(), {"--pool", pool_file().path()});
    std::filesystem::remove(output_);
    told stderr_now;
    try {
      const quiet stdout_now;
      const int status =
          run_command({tools::add_wordcount, tools::add_graph, tools::add_index, tools::add_query}, words);
      told_ = stderr_now.take();
      if (status != expected_status) finding("another exit status", words[0].c_str());
    } catch (const std::exception& e) {
      stderr_now.take();
      finding("the command has failed", e.what());
    }
    if (words[0] == "index") return {};
    const tools::input_text written({output_});
    std::string all(written.size(), '?');
    if (!all.empty()) written.read(0, all);
    return all;
  }

  std::string run_job(strings words) {
    words.insert(words.end(), {"--restart", "--progress", "none", "--workers", how_ % 2 == 0 ? "1" : "2"});
    if ((how_ & 2) != 0) words.insert(words.end(), {"--commit", "every-task"});
    if ((how_ & 8) != 0)
      words.insert(words.end(), {"--soft-fault-rate", "0.001", "--fault-seed", std::to_string(how_)});
    for (const auto& name : input_.names) words.push_back(name.string());
    return run(std::move(words));
  }

  std::string run_graph(strings words, const vertices& g) {
    if (undirected() && words[0] != "components") words.emplace_back("--undirected");
    words.insert(words.begin(), "graph");
    std::string found = run_job(std::move(words));
    constexpr std::size_t most = 10;
    std::string expected;
    for (std::size_t i = 0; i < std::min(g.list.bad.size(), most); ++i)
      expected += fmt::format("ppmm: {}: no edge: expected two names\n", g.list.bad[i]);
    if (!g.list.bad.empty())
      expected += fmt::format("ppmm: lines that are no edges, and were left out: {}\n", g.list.bad.size());
    if (told_ != expected) finding("other bad lines were told", told_.c_str());
    return found;
  }

  void query(const std::map<std::string, std::vector<place>>& index, strings asked) {
    std::vector<place> lines;
    std::vector<std::size_t> files;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const auto at = index.find(asked[i]);
      const std::vector<place> these = at == index.end() ? std::vector<place>() : at->second;
      std::vector<std::size_t> in;
      for (const auto& p : these)
        if (in.empty() || in.back() != p.first) in.push_back(p.first);
      if (i > 0) {
        std::erase_if(lines, [&](const place& p) { return !std::ranges::binary_search(these, p); });
        std::erase_if(files, [&](std::size_t f) { return !std::ranges::binary_search(in, f); });
      } else {
        lines = these;
        files = in;
      }
    }
    std::string expected_lines, expected_files;
    for (const auto& [f, l] : lines) expected_lines += fmt::format("{}:{}\n", input_.names[f].string(), l);
    for (const auto f : files) expected_files += input_.names[f].string() + '\n';
    asked.insert(asked.begin(), "query");
    if (run(asked, lines.empty() ? tools::exit_nothing_found : 0) != expected_lines)
      finding("other lines", asked[1].c_str());
    asked.insert(asked.begin() + 1, "--files");
    if (run(asked, files.empty() ? tools::exit_nothing_found : 0) != expected_files)
      finding("other files", asked[2].c_str());
  }

  const cut_files& input_;
  const unsigned how_;
  const std::string output_ = "/dev/shm/ppmm-fuzz-jobs-" + std::to_string(::getpid());
  std::string told_;
};

}  // namespace
}  // namespace ppmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ppmm;
  using namespace ppmm::fuzz;
  const text_input<head> in(data, size);
  const head how = in.head;
  const cut_files input(in.content, how.files);
  check_words(input.text, how.cuts);
  check_edges(input.text, how.cuts);
  if (how.command % 8 < 3) return 0;
  commands run(input, how.how);
  switch (how.command % 8) {
    case 3:
      run.wordcount();
      break;
    case 4:
      run.bfs();
      break;
    case 5:
      run.components();
      break;
    case 6:
      run.pagerank();
      break;
    default:
      run.index();
  }
  return 0;
}
