/// A pool of libpmemobj's that flushes by cache line, as level `emulated` does: what peers keep their state in.
#pragma once

#include <libpmemobj.h>

#include <cstddef>
#include <filesystem>

namespace bench {

/// Removed at the end.
class obj_pool {
 public:
  /// To be called before the process opens any pool, PPMM's too: libpmemobj asks once (PMEM_IS_PMEM_FORCE).
  static void flush_lines_everywhere();

  explicit obj_pool(std::size_t bytes);
  ~obj_pool();
  obj_pool(const obj_pool&) = delete;
  obj_pool& operator=(const obj_pool&) = delete;

  PMEMobjpool* get() const { return pool_; }

  /// Throws std::runtime_error if it was aborted.
  template <class Body>
  void transaction(Body body) {
    if (pmemobj_tx_begin(pool_, nullptr, TX_PARAM_NONE) != 0) fail();
    body();
    if (pmemobj_tx_stage() == TX_STAGE_WORK) pmemobj_tx_commit();
    if (pmemobj_tx_end() != 0) fail();
  }
  void persist(const void* p, std::size_t n) const { pmemobj_persist(pool_, p, n); }

  /// With libpmemobj's words for what failed.
  [[noreturn]] static void fail();

 private:
  std::filesystem::path file_;
  PMEMobjpool* pool_;
};

}  // namespace bench
