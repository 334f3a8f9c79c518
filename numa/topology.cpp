#include <ppmm/numa/topology.hpp>

#include <fmt/format.h>
#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <compare>
#include <cstring>
#include <map>
#include <new>
#include <thread>
#include <unordered_map>
#include <utility>

namespace ppmm::numa {

namespace {

using hwloc_handle = std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)>;
using bitmap = std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)>;

hwloc_handle init() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) throw topology_error("hwloc cannot be initialised");
  return {raw, &hwloc_topology_destroy};
}

bitmap only(std::uint32_t index) {
  bitmap set(hwloc_bitmap_alloc(), &hwloc_bitmap_free);
  if (!set || hwloc_bitmap_only(set.get(), index) != 0) throw std::bad_alloc();
  return set;
}

outcome refused(const std::string& what) { return {false, what + ": " + std::strerror(errno)}; }

/// All of one kind, in hwloc's order: neighbours share the most caches.
std::vector<hwloc_obj_t> objects(hwloc_topology_t topology, hwloc_obj_type_t type) {
  std::vector<hwloc_obj_t> all;
  for (hwloc_obj_t o = hwloc_get_next_obj_by_type(topology, type, nullptr); o != nullptr;
       o = hwloc_get_next_obj_by_type(topology, type, o)) {
    all.push_back(o);
  }
  return all;
}

}  // namespace

struct topology::impl {
  struct core {
    std::vector<hwloc_obj_t> pus;
    std::uint32_t node;
  };

  /// How far one PU is from another. Two nodes are told apart by the firmware's latencies where it gives any, and
  /// everything else by the smallest part of the machine that holds both: the deeper in hwloc's tree, the nearer.
  struct distance {
    bool other_node = false;
    std::uint64_t latency = 0;
    int height = 0;
    auto operator<=>(const distance&) const = default;
  };

  explicit impl(hwloc_handle loaded) : hwloc(std::move(loaded)) {
    read_cores();
    read_latencies();
    read_caches();
    sort_by_node();
    for (const core& c : cores) {
      for (hwloc_obj_t pu : c.pus) home.emplace(pu->os_index, std::pair{pu, c.node});
    }
  }

  void read_cores() {
    // A machine without cores in its description (some containers and old virtual machines) has one a PU.
    std::vector<hwloc_obj_t> found = objects(hwloc.get(), HWLOC_OBJ_CORE);
    if (found.empty()) found = objects(hwloc.get(), HWLOC_OBJ_PU);
    for (hwloc_obj_t o : found) {
      core c{.pus = {}, .node = node_of(o)};
      for (hwloc_obj_t pu = nullptr;
           (pu = hwloc_get_next_obj_inside_cpuset_by_type(hwloc.get(), o->cpuset, HWLOC_OBJ_PU, pu)) != nullptr;) {
        c.pus.push_back(pu);
      }
      if (!c.pus.empty()) cores.push_back(std::move(c));
    }
    if (cores.empty()) throw topology_error("the topology has no processor that this process may use");
  }

  /// A core can be near to several nodes (fast or slow memory beside DRAM): DRAM has the lowest index. A core whose own
  /// node may not be used belongs to the first that may.
  std::uint32_t node_of(hwloc_obj_t o) const {
    int node = o->nodeset != nullptr ? hwloc_bitmap_first(o->nodeset) : -1;
    if (node < 0) node = hwloc_bitmap_first(hwloc_topology_get_topology_nodeset(hwloc.get()));
    return node < 0 ? 0 : static_cast<std::uint32_t>(node);
  }

  void read_caches() {
    std::uint64_t largest = 0;
    for (const hwloc_obj_type_t level : {HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L4CACHE})
      for (const hwloc_obj_t o : objects(hwloc.get(), level)) largest = std::max<std::uint64_t>(largest, o->attr->cache.size);
    if (largest > 0) largest_cache = largest;
  }

  void read_latencies() {
    hwloc_distances_s* matrix = nullptr;
    unsigned count = 1;
    if (hwloc_distances_get_by_type(hwloc.get(), HWLOC_OBJ_NUMANODE, &count, &matrix,
                                    HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) != 0 ||
        count == 0) {
      return;
    }
    for (unsigned i = 0; i < matrix->nbobjs; i++) {
      for (unsigned j = 0; j < matrix->nbobjs; j++) {
        if (matrix->objs[i] == nullptr || matrix->objs[j] == nullptr) continue;
        latencies[{matrix->objs[i]->os_index, matrix->objs[j]->os_index}] = matrix->values[i * matrix->nbobjs + j];
      }
    }
    hwloc_distances_release(hwloc.get(), matrix);
  }

  /// Brings the cores into the order in which they are given to workers.
  void sort_by_node() {
    const hwloc_obj_t first = cores.front().pus.front();
    const std::uint32_t first_node = cores.front().node;
    std::map<std::uint32_t, distance> away;  // of a node: that of its first core
    for (const core& c : cores) away.try_emplace(c.node, between({first, first_node}, {c.pus.front(), c.node}));
    nodes = static_cast<std::uint32_t>(away.size());
    // Of nodes equally far away the one that hwloc has first comes first, whole.
    std::map<std::uint32_t, std::size_t> rank;
    for (const core& c : cores) rank.try_emplace(c.node, rank.size());
    std::ranges::stable_sort(cores, {}, [&](const core& c) { return std::pair(away[c.node], rank[c.node]); });
  }

  distance between(std::pair<hwloc_obj_t, std::uint32_t> a, std::pair<hwloc_obj_t, std::uint32_t> b) const {
    distance d{.other_node = a.second != b.second};
    if (d.other_node) {
      const auto known = latencies.find({a.second, b.second});
      if (known != latencies.end()) d.latency = known->second;
    }
    d.height = -hwloc_get_common_ancestor_obj(hwloc.get(), a.first, b.first)->depth;
    return d;
  }

  std::pair<hwloc_obj_t, std::uint32_t> home_of(const placement& p) const {
    const auto found = home.find(p.pu);
    if (found == home.end() || found->second.second != p.node) {
      throw topology_error(
          fmt::format("worker {} is placed on PU {} of node {}, which this topology does not have: the "
                      "plan is another topology's",
                      p.worker, p.pu, p.node));
    }
    return found->second;
  }

  hwloc_handle hwloc;
  std::vector<core> cores;  // in the order in which workers get them
  std::uint32_t nodes = 0;
  std::uint64_t largest_cache = std::uint64_t{32} << 20;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> latencies;     // between nodes
  std::unordered_map<std::uint32_t, std::pair<hwloc_obj_t, std::uint32_t>> home;  // of a PU: itself and its node
};

const topology& topology::this_machine() {
  static const topology found = [] {
    hwloc_handle t = init();
    hwloc_topology_set_flags(t.get(), HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM | HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING);
    if (hwloc_topology_load(t.get()) == 0) {
      try {
        return topology(std::make_shared<impl>(std::move(t)));
      } catch (const topology_error&) {
      }
    }
    return from_synthetic(fmt::format("pu:{}", std::max(1U, std::thread::hardware_concurrency())));
  }();
  return found;
}

topology topology::from_synthetic(const std::string& description) {
  hwloc_handle t = init();
  if (hwloc_topology_set_synthetic(t.get(), description.c_str()) != 0 || hwloc_topology_load(t.get()) != 0) {
    throw topology_error(
        fmt::format("\"{}\" is not an hwloc synthetic topology; one is \"node:2 l3:1 core:4 pu:2\"", description));
  }
  return topology(std::make_shared<impl>(std::move(t)));
}

topology topology::from_xml(const std::filesystem::path& file) {
  hwloc_handle t = init();
  if (hwloc_topology_set_xml(t.get(), file.c_str()) != 0 || hwloc_topology_load(t.get()) != 0) {
    throw topology_error(fmt::format("{} is not a topology in hwloc's XML; `lstopo {}` writes one", file.string(),
                                     file.filename().string()));
  }
  return topology(std::make_shared<impl>(std::move(t)));
}

std::uint32_t topology::cores() const { return static_cast<std::uint32_t>(impl_->cores.size()); }
std::uint32_t topology::pus() const { return static_cast<std::uint32_t>(impl_->home.size()); }
std::uint32_t topology::nodes() const { return impl_->nodes; }
std::uint64_t topology::largest_cache() const { return impl_->largest_cache; }

worker_plan topology::plan(std::uint32_t workers, unit each) const {
  std::vector<placement> units;
  for (const impl::core& c : impl_->cores) {
    const std::size_t used = each == unit::core ? 1 : c.pus.size();
    for (std::size_t i = 0; i < used; i++) units.push_back({.worker = 0, .pu = c.pus[i]->os_index, .node = c.node});
  }

  worker_plan plan;
  plan.workers.reserve(workers);
  for (std::uint32_t w = 0; w < workers; w++) {
    placement p = units[w % units.size()];
    p.worker = w;
    p.pinned = workers <= units.size();
    plan.workers.push_back(p);
  }
  if (workers > units.size()) {
    plan.note = fmt::format("{} workers on {} {}{}: they take turns, and none is pinned", workers, units.size(),
                            each == unit::core ? "core" : "hardware thread", units.size() == 1 ? "" : "s");
  }
  return plan;
}

const char* name_of(nearness n) {
  static constexpr const char* names[nearnesses] = {"one core", "one cache", "one node", "one package", "nothing but the machine"};
  return names[static_cast<std::size_t>(n)];
}

nearness topology::between(const worker_plan& plan, std::uint32_t a, std::uint32_t b) const {
  const auto [one, node_of_one] = impl_->home_of(plan[a]);
  const auto [other, node_of_other] = impl_->home_of(plan[b]);
  hwloc_topology_t t = impl_->hwloc.get();
  const hwloc_obj_t both = hwloc_get_common_ancestor_obj(t, one, other);
  if (both->type == HWLOC_OBJ_PU || both->type == HWLOC_OBJ_CORE) return nearness::core;
  if (node_of_one == node_of_other) return hwloc_obj_type_is_cache(both->type) != 0 ? nearness::cache : nearness::node;
  const hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(t, HWLOC_OBJ_PACKAGE, one);
  return package != nullptr && package == hwloc_get_ancestor_obj_by_type(t, HWLOC_OBJ_PACKAGE, other) ? nearness::package : nearness::machine;
}

std::string topology::describe() const {
  hwloc_topology_t t = impl_->hwloc.get();
  std::string text;
  const auto cores_in = [&](hwloc_const_cpuset_t set) {
    const int n = hwloc_get_nbobjs_inside_cpuset_by_type(t, set, HWLOC_OBJ_CORE), pus = hwloc_bitmap_weight(set);
    return n <= 0 || n == pus ? fmt::format("{} core{}", pus, pus == 1 ? "" : "s") : fmt::format("{} core{} of {} hardware threads", n, n == 1 ? "" : "s", pus / n);
  };
  const auto describe_node = [&](hwloc_obj_t o) {
    text += fmt::format("  node {}", o->os_index);
    if (o->attr->numanode.local_memory > 0) text += fmt::format(", {:.1f} GiB", static_cast<double>(o->attr->numanode.local_memory) / (1 << 30));
    const bool has_cores = std::ranges::any_of(impl_->cores, [&](const impl::core& c) { return c.node == o->os_index; });
    text += has_cores ? fmt::format(": {}\n", cores_in(o->cpuset)) : std::string(": memory only\n");
    if (!has_cores) return;
    for (const auto& [type, name] : {std::pair{HWLOC_OBJ_L3CACHE, "L3"}, std::pair{HWLOC_OBJ_L2CACHE, "L2"}}) {
      const int n = hwloc_get_nbobjs_inside_cpuset_by_type(t, o->cpuset, type);
      if (n <= 0) continue;
      const hwloc_obj_t first = hwloc_get_obj_inside_cpuset_by_type(t, o->cpuset, type, 0);
      text += fmt::format("    {} × {}", n, name);
      if (first->attr->cache.size > 0) text += fmt::format(" of {} KiB", first->attr->cache.size >> 10);
      text += fmt::format(", {} each\n", cores_in(first->cpuset));
    }
  };
  std::vector<hwloc_obj_t> nodes = objects(t, HWLOC_OBJ_NUMANODE);
  for (const hwloc_obj_t package : objects(t, HWLOC_OBJ_PACKAGE)) {
    const char* model = hwloc_obj_get_info_by_name(package, "CPUModel");
    text += fmt::format("package {}: {}{}\n", package->os_index, cores_in(package->cpuset), model != nullptr ? fmt::format(", {}", model) : std::string());
    std::erase_if(nodes, [&](hwloc_obj_t n) {
      if (hwloc_bitmap_isincluded(n->cpuset, package->cpuset) == 0 || hwloc_bitmap_iszero(n->cpuset) != 0) return false;
      describe_node(n);
      return true;
    });
  }
  if (!nodes.empty() && !text.empty()) text += "beside the packages:\n";
  for (const hwloc_obj_t n : nodes) describe_node(n);
  return text;
}

std::vector<std::uint32_t> topology::by_distance(std::uint32_t node) const {
  hwloc_topology_t t = impl_->hwloc.get();
  const hwloc_obj_t here = hwloc_get_numanode_obj_by_os_index(t, node);
  std::map<impl::distance, std::vector<std::uint32_t>> others;
  for (const hwloc_obj_t o : objects(t, HWLOC_OBJ_NUMANODE)) {
    if (o->os_index == node) continue;
    impl::distance d{.other_node = true, .latency = 0, .height = 0};
    if (const auto known = impl_->latencies.find({node, o->os_index}); known != impl_->latencies.end()) d.latency = known->second;
    // Memory hangs beside the tree of processors, at a part of it.
    if (here != nullptr) d.height = -hwloc_get_common_ancestor_obj(t, hwloc_get_non_io_ancestor_obj(t, here->parent), hwloc_get_non_io_ancestor_obj(t, o->parent))->depth;
    others[d].push_back(o->os_index);
  }
  std::vector<std::uint32_t> nodes{node};
  for (const auto& [_, group] : others) nodes.insert(nodes.end(), group.begin(), group.end());
  return nodes;
}

std::vector<std::vector<std::uint32_t>> topology::victims(const worker_plan& plan, std::uint32_t worker) const {
  const auto here = impl_->home_of(plan[worker]);
  const auto count = static_cast<std::uint32_t>(plan.size());
  std::map<impl::distance, std::vector<std::uint32_t>> by_distance;
  for (std::uint32_t i = 1; i < count; i++) {
    const std::uint32_t other = static_cast<std::uint32_t>((std::uint64_t{worker} + i) % count);
    by_distance[impl_->between(here, impl_->home_of(plan[other]))].push_back(other);
  }
  std::vector<std::vector<std::uint32_t>> groups;
  groups.reserve(by_distance.size());
  for (auto& [_, group] : by_distance) groups.push_back(std::move(group));
  return groups;
}

outcome topology::place(void* p, std::size_t bytes, std::uint32_t node) const {
  hwloc_topology_t t = impl_->hwloc.get();
  if (hwloc_topology_is_thissystem(t) == 0) return {false, "this topology is not of the machine we run on"};
  if (hwloc_get_numanode_obj_by_os_index(t, node) == nullptr) return {false, fmt::format("there is no node {}", node)};
  // Not HWLOC_MEMBIND_STRICT: a node that is full would then kill the process.
  if (hwloc_set_area_membind(t, p, bytes, only(node).get(), HWLOC_MEMBIND_BIND, HWLOC_MEMBIND_BYNODESET) != 0) {
    return refused(fmt::format("memory cannot be bound to node {}", node));
  }
  return {true, {}};
}

std::optional<std::uint32_t> topology::node_of(const void* p) const {
  hwloc_topology_t t = impl_->hwloc.get();
  const bitmap nodes(hwloc_bitmap_alloc(), &hwloc_bitmap_free);
  if (hwloc_topology_is_thissystem(t) == 0 || !nodes) return std::nullopt;
  if (hwloc_get_area_memlocation(t, p, 1, nodes.get(), HWLOC_MEMBIND_BYNODESET) != 0) return std::nullopt;
  const int node = hwloc_bitmap_first(nodes.get());
  return node < 0 ? std::nullopt : std::optional(static_cast<std::uint32_t>(node));
}

outcome pin_this_thread(const placement& where) {
  if (!where.pinned) return {false, "the plan does not pin this worker: there are more workers than cores"};
  hwloc_topology_t t = topology::this_machine().impl_->hwloc.get();
  if (hwloc_topology_is_thissystem(t) == 0) return {false, "hwloc does not know this machine"};
  if (hwloc_set_cpubind(t, only(where.pu).get(), HWLOC_CPUBIND_THREAD) != 0) {
    return refused(fmt::format("worker {} cannot be pinned to PU {}", where.worker, where.pu));
  }
  return {true, {}};
}

}  // namespace ppmm::numa
