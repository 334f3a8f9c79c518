/// Padding: bytes of a durable value that are no part of it, and may differ from copy to copy.
#pragma once

namespace ppmm::detail {

template <class T>
union alone {
  T value;
};

/// Makes the padding of `*value` zero, where the compiler can tell where it is (g++; clang before 20 cannot). By way of a union: in a struct, GCC 12
/// clears live bytes instead, if there is padding behind an array of structs of more than 64 bytes (it forgets to count
/// the array when it has emitted a loop over it; tests/sched/job_test.cpp, Padding).
template <class T>
void clear_padding([[maybe_unused]] T* value) {
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(reinterpret_cast<alone<T>*>(value));
#endif
}

}  // namespace ppmm::detail
