/// What a build of the library for bench/simulate tells of what its workers do, so that it can be given a time.
///
/// With PPMM_VIRTUAL_TIME the workers are fibers of a simulated machine, each with a clock of its own that goes on by
/// what a step would cost there. Without it nothing here does anything, and nothing costs anything.
///
/// Flushes and fences are not told here: the machine gives the pool a medium whose functions it sees (persist.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace ppmm {
class pool;
struct medium;
}  // namespace ppmm

namespace ppmm::detail {

/// Of a mutex, between two who hold it.
struct virtual_lock {
  std::uint64_t free_at = 0;
  unsigned last = ~0u;
};

class virtual_machine {
 public:
  virtual ~virtual_machine() = default;
  /// The running worker's clock, in picoseconds. Those who are behind have their turn first: what this worker does
  /// next, it does at that time.
  virtual std::uint64_t now() = 0;
  /// Loads of lines that others may have stored to.
  virtual void reads(const void* p, std::size_t n) = 0;
  /// A store to a line that others may have loaded: they lose it.
  virtual void stores(const void* p) = 0;
  /// A locked instruction; it takes effect when this returns.
  virtual void changes(const void* p) = 0;
  /// A thief looks into another worker's deque, or a worker into its own, which at this moment is empty or not; takes
  /// its oldest hint; asks for more; the owner pushes one.
  virtual void looks_at(unsigned victim, bool is_empty) = 0;
  virtual void takes_from(unsigned victim) = 0;
  virtual void asks(unsigned victim) = 0;
  virtual void pushes(unsigned owner) = 0;
  /// The running worker waits until it has the lock; no other has a turn before it lets it go.
  virtual void locks(virtual_lock& l) = 0;
  virtual void unlocks(virtual_lock& l) = 0;

 protected:
  static void give_medium(pool& p, const medium& m);  // pool.cpp
};

namespace virtual_time {
#if defined(PPMM_VIRTUAL_TIME)
inline virtual_machine* machine = nullptr;
#define PPMM_TELL(call) \
  if (machine != nullptr) machine->call
#else
#define PPMM_TELL(call)
#endif
inline void reads([[maybe_unused]] const void* p, [[maybe_unused]] std::size_t n) { PPMM_TELL(reads(p, n)); }
inline void stores([[maybe_unused]] const void* p) { PPMM_TELL(stores(p)); }
inline void changes([[maybe_unused]] const void* p) { PPMM_TELL(changes(p)); }
inline void looks_at([[maybe_unused]] unsigned victim, [[maybe_unused]] bool is_empty) {
  PPMM_TELL(looks_at(victim, is_empty));
}
inline void takes_from([[maybe_unused]] unsigned victim) { PPMM_TELL(takes_from(victim)); }
inline void asks([[maybe_unused]] unsigned victim) { PPMM_TELL(asks(victim)); }
inline void pushes([[maybe_unused]] unsigned owner) { PPMM_TELL(pushes(owner)); }
#undef PPMM_TELL
}  // namespace virtual_time

}  // namespace ppmm::detail
