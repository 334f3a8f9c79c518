/// What finished jobs have kept in a pool, read from outside: the pool is mapped for reading, at its address.
#pragma once

#include <ppmm/pmem/inspect.hpp>
#include <ppmm/pmem/pool.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>

namespace ppmm::tools {

class kept_memory {
 public:
  /// Locks the pool against jobs, not against other readers; changes nothing. Throws pool_in_use; not_a_pool and what
  /// else inspect throws; corrupt_pool if a check of the file fails; address_taken.
  explicit kept_memory(const std::filesystem::path& pool);
  kept_memory(const kept_memory&) = delete;
  kept_memory& operator=(const kept_memory&) = delete;
  ~kept_memory();

  /// What the last finished job that set the root of that name left there. Throws root_error if there is none, or one of
  /// another type; corrupt_pool if what it names is not allocated.
  template <class T>
  std::span<const T> root(std::string_view name) const {
    const found v = find(name, typeid(T).name(), sizeof(T));
    return {reinterpret_cast<const T*>(v.address), static_cast<std::size_t>(v.count)};
  }

 private:
  struct found {
    std::uint64_t address, count;
  };
  found find(std::string_view name, const char* type, std::uint64_t bytes) const;
  struct mapped;
  std::unique_ptr<mapped> mapped_;
};

}  // namespace ppmm::tools
