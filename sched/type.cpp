#include <ppmm/sched/type.hpp>

#include <cxxabi.h>   // __cxa_demangle
#include <fmt/core.h> // format

#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_map>

namespace ppmm::detail {
namespace {

struct table {
  std::unordered_map<std::uint64_t, std::unique_ptr<node_type>> types;
  std::string clash;
};

table& the_table() {
  static table t;  // first used by static initializers
  return t;
}

std::uint64_t hash_name(const char* name) {  // FNV-1a, folded to 48 bits; 0 is no id
  std::uint64_t h = 14695981039346656037u;
  for (; *name != '\0'; ++name) h = (h ^ static_cast<unsigned char>(*name)) * 1099511628211u;
  h = (h ^ h >> 48) & 0xffff'ffff'ffff;
  return h == 0 ? 1 : h;
}

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : name;
}

}  // namespace

std::string node_type::readable_name() const { return demangle(name); }

const node_type& register_type(const std::type_info& info, node_type type) {
  type.name = info.name();
  type.id = hash_name(type.name);
  auto [at, is_new] = the_table().types.try_emplace(type.id, std::make_unique<node_type>(type));
  const node_type& there = *at->second;
  if (!is_new && (there.run != type.run || there.right != type.right || there.continuation != type.continuation))
    the_table().clash = fmt::format(
        "two different task types are both named\n  {}\n(local functions or closures of the same name in two source files?); rename one", demangle(type.name));
  return there;
}

const node_type* find_type(std::uint64_t id) {
  const auto& types = the_table().types;
  const auto at = types.find(id);
  return at == types.end() ? nullptr : at->second.get();
}

void check_types() {
  if (!the_table().clash.empty()) throw type_clash(the_table().clash);
}

}  // namespace ppmm::detail
