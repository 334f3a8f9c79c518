/// ppmm graph: breadth-first search, components and PageRank of graphs that stand in files as lists of edges.
#include "command.hpp"
#include "graph_job.hpp"
#include "input_text.hpp"
#include "output_file.hpp"
#include "session.hpp"
#include "text_job.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ppmm::tools {
namespace {

namespace fs = std::filesystem;

struct graph_options {
  job_options job;
  fs::path output;
  std::vector<fs::path> files;
  std::string source;
  bool undirected = false;
  pagerank_options pagerank;
};

// Units of work a byte, about nanoseconds. How long the computation itself takes is not known before.
constexpr std::uint64_t compute_units = 20, all_units = graph_units + compute_units;

/// A job's result; its lines are in the pool.
struct graph_result {
  parse_report report;
  std::uint64_t vertices = 0;
  std::uint64_t iterations = 0;
  double change = 0;
};

// ---- lines: a vertex, a tab, a value -------------------------------------------------------------------------------

template <class T, class Show>
struct vertex_lines {
  array<char> text;
  array<word> names;
  array<T> values;
  Show show;
  void operator()(context& cx, std::size_t lo, std::size_t hi, text_sink& sink) const {
    const std::span<const char> all = cx.read(text);
    const auto known = cx.read(names);
    const auto some = cx.read(as_in(values).sub(lo, hi - lo));
    for (std::size_t v = lo; v < hi; ++v) {
      sink.put(known[v].in(all));
      sink.put("\t");
      show(some[v - lo], known, all, sink);
      sink.put("\n");
    }
  }
};

struct show_distance {
  void operator()(std::uint32_t d, std::span<const word>, std::span<const char>, text_sink& sink) const {
    d == unreached ? sink.put("-") : sink.print("{}", d);
  }
};
struct show_name {
  void operator()(std::uint32_t v, std::span<const word> names, std::span<const char> text, text_sink& sink) const {
    sink.put(names[v].in(text));
  }
};
struct show_rank {
  void operator()(double rank, std::span<const word>, std::span<const char>, text_sink& sink) const {
    sink.print("{}", rank);
  }
};

/// The task that keeps the lines as the job's output, and frees all else.
template <class Show, class T>
step<graph_result> print_values(context& cx, const graph& g, const array<T>& values, const graph_result& result,
                                const root_name& root) {
  return cx.call(print_all(g.names.size(), vertex_lines<T, Show>{g.text, g.names, values, {}}))
      .then([=](context& c, const array<char>& lines) -> step<graph_result> {
        g.free(c);
        c.free(values);
        keep_output(c, root, lines);
        c.advance(compute_units * g.text.size());
        return result;
      });
}

graph_result result_of(const graph& g) { return {g.report, g.names.size()}; }

root_name root_of(std::string_view algorithm) { return root_name(fmt::format("ppmm graph {} output", algorithm)); }

// ---- jobs ----------------------------------------------------------------------------------------------------------

struct vertex_name {
  std::uint32_t length = 0;
  std::array<char, 124> bytes{};
  std::string_view view() const { return {bytes.data(), length}; }
};

std::uint32_t find_vertex(context& cx, const graph& g, const vertex_name& name) {
  const std::span<const char> text = cx.read(g.text);
  const auto names = cx.read(g.names);
  const auto at = std::ranges::lower_bound(names, name.view(), {}, [text](const word& w) { return w.in(text); });
  if (at == names.end() || at->in(text) != name.view())
    throw error(fmt::format("no edge has the vertex {}, the source", name.view()));
  return static_cast<std::uint32_t>(at - names.begin());
}

step<graph> begin_with_graph(context& cx, text_summary expected, pairs which, root_name output) {
  return cx.call(task<free_replaced>(output)).then(task<load_graph>(expected, which));
}

step<graph_result> bfs_job(context& cx, text_summary expected, pairs which, vertex_name source) {
  return cx.call(task<begin_with_graph>(expected, which, root_of("bfs")))
      .then([source, which](context& c, const graph& g) -> step<graph_result> {
        return c.call(task<bfs>(g.rows, find_vertex(c, g, source), which))
            .then([g](context& d, const array<std::uint32_t>& distance) -> step<graph_result> {
              return print_values<show_distance>(d, g, distance, result_of(g), root_of("bfs"));
            });
      });
}

step<graph_result> components_job(context& cx, text_summary expected) {
  return cx.call(task<begin_with_graph>(expected, pairs::both, root_of("components")))
      .then([](context& c, const graph& g) -> step<graph_result> {
        return c.call(task<components>(g.rows))
            .then([g](context& d, const array<std::uint32_t>& first) -> step<graph_result> {
              return print_values<show_name>(d, g, first, result_of(g), root_of("components"));
            });
      });
}

step<graph_result> pagerank_job(context& cx, text_summary expected, pairs which, pagerank_options options) {
  return cx.call(task<begin_with_graph>(expected, which, root_of("pagerank")))
      .then([options](context& c, const graph& g) -> step<graph_result> {
        return c.call(task<pagerank>(g.rows, options)).then([g](context& d, const ranking& r) -> step<graph_result> {
          graph_result result = result_of(g);
          result.iterations = r.iterations;
          result.change = r.change;
          return print_values<show_rank>(d, g, r.ranks, result, root_of("pagerank"));
        });
      });
}

// ---- the command ---------------------------------------------------------------------------------------------------

void tell_bad_lines(const input_text& text, const parse_report& report) {
  for (std::size_t i = 0; i < std::min<std::uint64_t>(report.bad, report.bad_at.size()); ++i) {
    const input_text::place p = text.locate(report.bad_at[i]);
    fmt::print(stderr, "ppmm: {}:{}: no edge: expected two names\n", p.file.string(), p.line);
  }
  if (report.bad > 0) fmt::print(stderr, "ppmm: lines that are no edges, and were left out: {}\n", report.bad);
}

/// `root_task(summary)`: the job's task.
template <class RootTask>
void compute(const graph_options& options, const std::string& algorithm, RootTask root_task) {
  const input_text text(options.files);
  output_file output(output_to_open(options.output));
  const text_summary summary = look_at(text, options.job);
  job_session session(options.job, {.name = "graph " + algorithm,
                                    .own_pool = own_pool(options.output, "graph-" + algorithm),
                                    .heap = 4 * summary.bytes,
                                    .input = summary.mark(),
                                    .to_file = replaces_file(options.output)});
  set_job_input(&text);
  const graph_result result = session.run(root_task(summary), all_units * summary.bytes, summary.bytes);
  tell_bad_lines(text, result.report);
  if (result.iterations > 0 && options.job.progress != progress_mode::none)
    fmt::print(stderr, "ppmm: {} iterations, the last one changed the ranks by {:.3g} in all\n", result.iterations,
               result.change);
  deliver(session, root_of(algorithm), output);
}

pairs directed_or_not(const graph_options& options, pairs directed) {
  return options.undirected ? pairs::both : directed;
}

void run_bfs(const graph_options& options) {
  vertex_name source;
  if (options.source.size() > source.bytes.size())
    throw error(fmt::format("--source: a name of up to {} bytes is expected; found {}", source.bytes.size(),
                            options.source.size()));
  source.length = static_cast<std::uint32_t>(options.source.size());
  std::ranges::copy(options.source, source.bytes.begin());
  compute(options, "bfs",
          [&](const text_summary& t) { return task<bfs_job>(t, directed_or_not(options, pairs::forward), source); });
}

void run_components(const graph_options& options) {
  compute(options, "components", [](const text_summary& t) { return task<components_job>(t); });
}

void run_pagerank(const graph_options& options) {
  compute(options, "pagerank", [&](const text_summary& t) {
    return task<pagerank_job>(t, directed_or_not(options, pairs::backward), options.pagerank);
  });
}

CLI::App* add_algorithm(CLI::App& graph, const std::string& name, const std::string& what,
                        const std::shared_ptr<graph_options>& options) {
  CLI::App* command = graph.add_subcommand(name, what);
  command->footer(
      "A file has an edge a line: the names of two vertices, from and to, with blanks between them. Lines that begin\n"
      "with # are comments; other lines that are no edges are told on standard error, the first ten, counted, and "
      "left\n"
      "out. An edge that is given twice counts twice. The output has a line a vertex, bytewise by name: the name, a "
      "tab,\n"
      "the value.\n"
      "Killed at any moment, the same command goes on where it was: with the same input, which is checked.\n"
      "Without --pool the job lives in OUTPUT.ppmm (ppmm-graph-" +
      name +
      ".ppmm without --output), which is removed "
      "after success.");
  command->add_option("FILE", options->files, "Lists of edges, together one graph")->required();
  command->add_option("--output,-o", options->output, "Write here instead of to standard output")->type_name("FILE");
  options->job.add_to(*command);
  return command;
}

}  // namespace

void add_graph(CLI::App& app) {
  CLI::App* graph = app.add_subcommand("graph", "Compute on graphs given as lists of edges: bfs, components, pagerank");
  graph->require_subcommand(1);
  const auto undirected = [](CLI::App* command, graph_options& options) {
    command->add_flag("--undirected", options.undirected, "Each edge leads both ways");
  };

  auto search = std::make_shared<graph_options>();
  CLI::App* command =
      add_algorithm(*graph, "bfs", "Each vertex's distance from a source, in edges; - if no way leads there", search);
  command->add_option("--source", search->source, "The vertex to begin at")->required()->type_name("NAME");
  undirected(command, *search);
  command->callback([search] { run_bfs(*search); });

  auto parts = std::make_shared<graph_options>();
  command =
      add_algorithm(*graph, "components",
                    "Each vertex's component, whatever the edges' directions: the name of its first vertex", parts);
  command->callback([parts] { run_components(*parts); });

  auto ranks = std::make_shared<graph_options>();
  command = add_algorithm(*graph, "pagerank", "Each vertex's PageRank; together they are 1", ranks);
  command->add_option("--iterations", ranks->pagerank.iterations, "At most so many (default 100)")
      ->check(CLI::Range(1u, 1000000u))
      ->type_name("N");
  command
      ->add_option("--tolerance", ranks->pagerank.tolerance,
                   "Stop when an iteration changes the ranks by less in all (default 1e-9)")
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("X");
  command->add_option("--damping", ranks->pagerank.damping, "Part of the rank that goes along edges (default 0.85)")
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("D");
  undirected(command, *ranks);
  command->callback([ranks] { run_pagerank(*ranks); });
}

}  // namespace ppmm::tools
