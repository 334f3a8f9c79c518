/// Memory for the books of a run: zeroed, and costs nothing until it is touched, however large the pool: not counted against
/// what the machine has, as calloc's is. (A file may claim to have many TiB.) Processes that are forked afterwards share it.
///
/// For the workers of one process, and of those that it forks, each array is a mapping of its own. Where processes may come
/// later that are no children, all arrays are in one memory file (memfd_create(2)), at the same address in each, so that
/// books may point to books: who comes later asks for the same arrays in the same order.
#pragma once

#include <ppmm/pmem/file.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace ppmm::detail {

struct unmap {
  std::size_t bytes;  // 0: it is no mapping of its own
  void operator()(void* p) const {
    if (bytes != 0) ::munmap(p, bytes);
  }
};
template <class T>
using shared_array = std::unique_ptr<T[], unmap>;
template <class T>
using shared_object = std::unique_ptr<T, unmap>;

class commons {
 public:
  /// Bytes of addresses that a memory file takes: for the largest pool some hundred GiB are used.
  static constexpr std::size_t most = std::size_t{1} << 40;

  commons() = default;
  /// In a new memory file, near the address, or anywhere. Throws system_error.
  static commons in_file(std::uintptr_t near);
  /// In that file of another process, at its address. Throws system_error, address_taken.
  static commons of_file(descriptor file);
  commons(commons&& other) noexcept;
  commons& operator=(commons&&) = delete;
  ~commons();

  /// An open descriptor of the memory file, or -1.
  int file() const { return file_.get(); }
  /// The arrays are there already.
  bool is_joined() const { return joined_; }

  template <class T>
  shared_array<T> zeros(std::size_t n) {
    const std::size_t bytes = std::max<std::size_t>(n, 1) * sizeof(T);
    return {static_cast<T*>(take(bytes, std::max(alignof(T), std::size_t{64}))), unmap{base_ == nullptr ? bytes : 0}};
  }
  /// What was made first, of joined ones.
  template <class T>
  const T& front() const { return *reinterpret_cast<const T*>(base_ + first); }
  template <class T>
  shared_object<T> make() {
    shared_array<T> room = zeros<T>(1);
    const unmap how = room.get_deleter();
    T* const at = room.release();
    return {joined_ ? at : ::new (at) T, how};
  }

 private:
  static constexpr std::size_t first = 4096;
  void* take(std::size_t bytes, std::size_t alignment);

  descriptor file_;
  std::byte* base_ = nullptr;  // of the file's mapping
  std::size_t used_ = 0;
  bool joined_ = false;
};

}  // namespace ppmm::detail
