/// Locks on the worker slots of a pool, which worker processes hold: the system lets go of one when its process ends, in
/// whatever way, and not before. Anybody may look whether a slot is held, whoever started whom.
///
/// Open file description locks (fcntl(2), F_OFD_SETLK; Linux 3.15) on bytes of the pool's first file far behind its end.
#pragma once

#include <ppmm/pmem/file.hpp>
#include <ppmm/pmem/pool.hpp>

#include <cstdint>
#include <filesystem>
#include <vector>

namespace ppmm::detail {

/// Takes the lock of a worker slot, for as long as the descriptor is open, here or in a process that has inherited it. None:
/// somebody has it. Throws pool_error.
descriptor lock_slot(const pool& p, unsigned slot);

/// Those of the first `slots` worker slots that are held, in order, seen from outside: by a descriptor of the pool's first
/// file, which need not be open for writing.
std::vector<std::uint32_t> held_slots(int first_file, std::uint32_t slots);

/// For what only a pool without workers can bear. `first_file` is locked by the caller, so that no coordinator begins. Throws
/// pool_in_use if worker processes whose coordinator is gone are at work.
void check_nobody_works(int first_file, const std::filesystem::path& file);

/// Looks at slots. A descriptor of its own, for any number of looks.
class slot_watch {
 public:
  explicit slot_watch(const pool& p);
  bool is_held(unsigned slot) const;
  bool any_held() const;

 private:
  descriptor file_;
};

}  // namespace ppmm::detail
