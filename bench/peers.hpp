/// What `peers` compares: workloads, each computed by PPMM and by each of its peers on the same data.
#pragma once

#include "measure.hpp"
#include "workbench.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

enum class peer : unsigned { serial, onetbb, openmp, standard, pmemobj };
inline constexpr std::array all_peers{peer::serial, peer::onetbb, peer::openmp, peer::standard, peer::pmemobj};
constexpr std::size_t number_of(peer p) { return static_cast<std::size_t>(p); }
constexpr const char* name_of(peer p) {
  constexpr std::array names{"serial", "oneTBB", "OpenMP", "std::execution::par", "libpmemobj"};
  return names[number_of(p)];
}

/// A workload with its data. Whoever computes it leaves the result where `answer` finds it.
struct workload {
  std::string name, size;
  bool fine_grained = false;              ///< forks of a few nanoseconds, all the way down
  std::size_t bytes = 0;                  ///< that it goes over; where they are many, all begin with cold caches
  std::function<void()> prepare = [] {};  ///< before each computation: the input as it was
  std::array<std::function<void(unsigned threads)>, all_peers.size()>
      compute;  ///< empty: there is nothing to compare with
  std::function<measured(workbench&, const ppmm::run_options&)> ours;
  std::function<std::uint64_t()> answer;  ///< of the newest computation: the same for all, in whatever order they add
  std::span<const std::byte> state = {};  ///< what a checkpoint of the application would have to save; empty: no array
  double serial_ns = 0;                   ///< a first look: libpmemobj's blocks follow it

  std::function<void(unsigned)>& by(peer p) { return compute[number_of(p)]; }
};

struct workload_sizes {
  int fib = 31, queens = 12;
  double integrate = 1000;  ///< the upper end
  std::size_t numbers = std::size_t{1} << 23, sorted = std::size_t{1} << 21, side = 768;
  unsigned graph = 16;  ///< 2^graph vertices
  std::vector<std::string> trees{"T1", "T3"};
  std::filesystem::path text;  ///< empty: no word count

  static workload_sizes quick();
  std::uint64_t region() const;  ///< bytes that any of them needs
};

/// How a workload is called, and how it is made in some memory. There it stays.
struct workload_kind {
  std::string name;
  std::function<void(workload&, std::span<std::byte> memory)> make;
};
std::vector<workload_kind> all_workloads(const workload_sizes& sizes);

// One file each.
void add_trees(std::vector<workload_kind>& all, const workload_sizes& sizes);
void add_arrays(std::vector<workload_kind>& all, const workload_sizes& sizes);
void add_graph(std::vector<workload_kind>& all, const workload_sizes& sizes);
void add_words(std::vector<workload_kind>& all, const workload_sizes& sizes);

}  // namespace bench
