/// Type ids: how durable state names code. A frame or record holds an id; a table filled at start-up gives the thunks
/// that run it. No code address is ever stored, and an id that is not in the table is an error, never a jump.
#pragma once

#include <ppmm/pmem/errors.hpp>
#include <ppmm/sched/layout.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <typeinfo>

namespace ppmm {

class context;

/// Two task types of this program have the same name (same-named local types in two source files).
struct type_clash : error {
  using error::error;
};

namespace detail {

enum class outcome : std::uint8_t { value, detached };

/// What the slow path knows of a task or frame type.
struct node_type {
  std::uint64_t id = 0;         // 48 bits, hash of the name
  const char* name = nullptr;   // mangled
  std::uint32_t bytes = 0;      // of the task's arguments, or of the frame
  std::uint32_t offset[2] = {}; // frames: where the results of the left and right child go
  std::uint32_t result[2] = {}; // and their sizes
  outcome (*run)(context&, const void* task, place to) = nullptr;  // tasks: run it, deliver the value
  outcome (*right)(context&, frame*) = nullptr;                    // frames: run the right child, deliver to the frame; null: a call
  outcome (*continuation)(context&, frame*) = nullptr;             // frames: run the continuation, deliver to the parent

  bool is_frame() const { return continuation != nullptr; }
  bool is_fork() const { return right != nullptr; }
  std::uint64_t word() const { return id << 16 | bytes | std::uint64_t{is_fork()}; }  // of a frame
  std::string readable_name() const;
};

/// Enters a type at start-up. A clash is kept and reported by `check_types`.
const node_type& register_type(const std::type_info& name, node_type type);
/// The type of that id; nullptr if this program has none.
const node_type* find_type(std::uint64_t id);
/// Throws type_clash if two types share an id.
void check_types();

}  // namespace detail
}  // namespace ppmm
