#include "obj_pool.hpp"

#include "workbench.hpp"

#include <unistd.h>  // getpid

#include <cstdlib>  // getenv, setenv
#include <stdexcept>
#include <string>
#include <system_error>

namespace bench {

void obj_pool::flush_lines_everywhere() { setenv("PMEM_IS_PMEM_FORCE", "1", 1); }

obj_pool::obj_pool(std::size_t bytes) {
  if (getenv("PMEM_IS_PMEM_FORCE") == nullptr) throw std::logic_error("flush_lines_everywhere() comes first");
  static int number = 0;
  file_ = pool_folder() / ("ppmm-bench-obj-" + std::to_string(getpid()) + "-" + std::to_string(++number) + ".pool");
  pool_ = pmemobj_create(file_.c_str(), "bench", bytes, 0600);
  if (pool_ == nullptr) fail();
}

obj_pool::~obj_pool() {
  pmemobj_close(pool_);
  std::error_code ignored;
  std::filesystem::remove(file_, ignored);
}

void obj_pool::fail() { throw std::runtime_error(std::string("libpmemobj: ") + pmemobj_errormsg()); }

}  // namespace bench
