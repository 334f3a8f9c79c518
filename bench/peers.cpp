/// peers [--quick] [--workers N] [--only NAME]… [--text FILE] [--json FILE] [--svg FILE]
///
/// PPMM beside its peers: serial code, oneTBB, OpenMP's tasks, std::execution::par, what a user of PMDK writes by hand
/// (checkpointed.hpp), and an application that saves its state each second. Each workload is computed by all of them on
/// the same data, in turns in one run; an answer that differs from serial code's ends the program. Markdown tables on
/// standard output. Exit status 1 if a figure is not held (never with --quick, which is for seeing that all works), 2
/// for an error.
///
/// Pools are made in PPMM_BENCH_DIR (default /dev/shm). Level `power` is measured where PPMM_BENCH_DISK names a folder
/// on a disk.
#include "crash.hpp"
#include "obj_pool.hpp"
#include "peer_report.hpp"

#include <fmt/format.h>
#include <tbb/global_control.h>
#include <CLI/CLI.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace bench {

workload_sizes workload_sizes::quick() {
  workload_sizes s;
  s.fib = 17, s.queens = 7, s.integrate = 20;
  s.numbers = std::size_t{1} << 17, s.sorted = std::size_t{1} << 15, s.side = 128, s.graph = 10;
  s.trees = {"small"};
  return s;
}

std::uint64_t workload_sizes::region() const {
  const std::size_t graph_bytes = 40 * (std::size_t{1} << graph) * sizeof(std::uint64_t);  // rmat_graph and distances
  const std::size_t bytes = std::max({2 * numbers * sizeof(std::uint64_t), 2 * sorted * sizeof(std::uint64_t),
                                      3 * side * side * sizeof(double), graph_bytes,
                                      text.empty() ? 0 : static_cast<std::size_t>(std::filesystem::file_size(text))});
  return (bytes + (std::size_t{1} << 20)) >> 20 << 20;
}

std::vector<workload_kind> all_workloads(const workload_sizes& sizes) {
  std::vector<workload_kind> all;
  add_trees(all, sizes);
  add_arrays(all, sizes);
  add_graph(all, sizes);
  add_words(all, sizes);
  return all;
}

namespace {

struct peers_options {
  bool quick = false;
  unsigned workers = 0;
  std::vector<std::string> only;
  std::filesystem::path text, json, svg;
  std::size_t reload_mib = 1024;
  std::string child, way;  // how this program calls itself
};

/// A text that ci/make-text makes of the machine's files; removed at the end.
class made_text {
 public:
  explicit made_text(int megabytes)
      : file_(std::filesystem::temp_directory_path() / fmt::format("ppmm-bench-{}.txt", getpid())) {
    const std::string command = fmt::format("'{}' {} '{}' > /dev/null", PPMM_MAKE_TEXT, megabytes, file_.string());
    if (const int status = std::system(command.c_str()); status != 0) {
      std::filesystem::remove(file_);
      throw std::runtime_error(fmt::format("{} cannot make a text of {} MB (status {}); give one by --text FILE",
                                           PPMM_MAKE_TEXT, megabytes, WEXITSTATUS(status)));
    }
    std::filesystem::resize_file(file_, static_cast<std::uintmax_t>(megabytes) * 1'000'000);  // it makes some more
  }
  ~made_text() {
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);
  }
  made_text(const made_text&) = delete;
  made_text& operator=(const made_text&) = delete;
  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
};

void write_file(const std::filesystem::path& file, const std::string& text) {
  if (file.empty()) return;
  std::ofstream out(file);
  if (!(out << text).flush()) throw std::runtime_error("cannot write " + file.string());
}

const workload_kind& kind_named(const std::vector<workload_kind>& all, const std::string& name) {
  const auto found = std::ranges::find(all, name, &workload_kind::name);
  if (found == all.end()) {
    std::string names;
    for (const workload_kind& k : all) names += (names.empty() ? "" : ", ") + k.name;
    throw std::runtime_error(fmt::format("there is no workload '{}'; the workloads are: {}", name, names));
  }
  return *found;
}

/// 1, 2, 4, … up to all cores, which come last.
std::vector<unsigned> worker_counts(const peers_options& o) {
  if (o.workers > 0) return {o.workers};
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  std::vector<unsigned> all;
  for (unsigned n = 1; n < cores; n *= 2) all.push_back(n);
  all.push_back(cores);
  return all;
}

int run_child(const peers_options& o, const std::vector<workload_kind>& all, std::uint64_t region) {
  const workload_kind& kind = kind_named(all, o.only.at(0));
  if (o.child == "power") {
    const power_result r = own_power(kind, region, o.quick);
    fmt::print("{} {}\n", r.beside_no_commits, r.heartbeat_ms);
    return 0;
  }
  std::optional<peer> by;
  for (const peer p : all_peers)
    if (o.way == name_of(p)) by = p;
  fmt::print("{}\n", own_peak_bytes(kind, by, o.workers, region));
  return 0;
}

memory_row measure_memory(const comparison& c, const child_options& child, unsigned workers) {
  memory_row row;
  row.workload = c.workload;
  for (const peer p : all_peers)
    if (c.peer_ns[number_of(p)]) row.peers[number_of(p)] = peak_bytes(child, c.workload, p, workers);
  row.ppmm = peak_bytes(child, c.workload, {}, workers);
  return row;
}

int measure(const peers_options& o, const std::vector<workload_kind>& all, std::uint64_t region,
            const child_options& child) {
  std::vector<workload_kind> chosen;
  for (const std::string& name : o.only) chosen.push_back(kind_named(all, name));
  if (o.only.empty()) chosen = all;

  peers_report r;
  const std::vector<unsigned> counts = worker_counts(o);
  r.most_workers = counts.back();
  for (const unsigned n : counts) {
    std::vector<comparison> these;
    for (const workload_kind& kind : chosen) {
      these.push_back(compare(kind, region, n, o.quick));
      fmt::print(stderr, "{}, {} of {} workers\n", kind.name, n, counts.back());
    }
    print_comparison(these);
    std::fflush(stdout);
    r.comparisons.insert(r.comparisons.end(), these.begin(), these.end());
  }
  {
    rooms in(region);
    for (const char* name : varied) {
      if (!o.only.empty() && std::ranges::find(o.only, name) == o.only.end()) continue;
      const workload_kind& kind = kind_named(all, name);
      r.levels.push_back(vary_level(in, kind, o.quick));
      r.heartbeats.push_back(vary_heartbeat(in, kind, o.quick));
      r.faults.push_back(vary_faults(in, kind, o.quick));
      if (std::getenv("PPMM_BENCH_DISK") != nullptr) r.power.push_back(measure_power(child, name));
    }
  }
  print_settings(r);
  for (const comparison& c : r.comparisons)
    if (c.workers == r.most_workers) r.memory.push_back(measure_memory(c, child, r.most_workers));
  print_memory(r);
  if (o.only.empty()) {
    r.reload = measure_reload(o.reload_mib << 20, o.quick);
    print_reload(*r.reload);
  }
  const std::vector<claim> to_hold = claims(r);
  print_claims(to_hold);
  write_file(o.json, as_json(r));
  write_file(o.svg, as_svg(r));
  return o.quick || std::ranges::all_of(to_hold, &claim::held) ? 0 : 1;
}

int run(peers_options& o, bool reload_given) {
  if (o.child == "power")
    unsetenv("PMEM_IS_PMEM_FORCE");  // of the parent's
  else
    obj_pool::flush_lines_everywhere();
  // Nested calls of parallel_invoke in a thread of oneTBB's, as deep as a tree of UTS.
  const tbb::global_control deep(tbb::global_control::thread_stack_size, std::size_t{64} << 20);
  std::optional<made_text> made;
  if (o.text.empty() && o.child.empty()) o.text = made.emplace(o.quick ? 1 : 16).file();
  if (o.quick && !reload_given) o.reload_mib = 64;
  workload_sizes sizes = o.quick ? workload_sizes::quick() : workload_sizes();
  sizes.text = o.text;
  const std::vector<workload_kind> all = all_workloads(sizes);
  if (!o.child.empty()) return run_child(o, all, sizes.region());
  child_options child{"--text", o.text.string()};
  if (o.quick) child.emplace_back("--quick");
  return measure(o, all, sizes.region(), child);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  if (bench::is_child(argc, argv)) return bench::child(argv);
  bench::peers_options o;
  CLI::App app("PPMM beside serial code, oneTBB, OpenMP, std::execution::par, libpmemobj and application checkpoints",
               "peers");
  app.add_flag("--quick", o.quick, "Tiny sizes: to see that all works, never for timing");
  app.add_option("--workers", o.workers, "So many workers or threads (default: 1, 2, 4, ... and all cores)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--only", o.only, "This workload only; may be given again. No reload then")->type_name("NAME");
  app.add_option("--text", o.text, "The text whose words are counted (default: ci/make-text makes one)")
      ->check(CLI::ExistingFile);
  const auto* reload =
      app.add_option("--reload", o.reload_mib, "Size of the checkpoint that is read again (default 1024, quick 64)")
          ->type_name("MIB")
          ->check(CLI::Range(1, 1 << 20));
  app.add_option("--json", o.json, "Write all figures here")->type_name("FILE");
  app.add_option("--svg", o.svg, "Draw all times here")->type_name("FILE");
  app.add_option("--child", o.child)->group("");
  app.add_option("--way", o.way)->group("");
  CLI11_PARSE(app, argc, argv);
  try {
    return bench::run(o, reload->count() > 0);
  } catch (const std::exception& e) {
    fmt::print(stderr, "peers: {}\n", e.what());
    return 2;
  }
}
