/// A program that is not instrumented says so when it is asked for the check: silence would look like a clean bill.
#include <ppmm/pmem/instrument.hpp>

#include "check_test.hpp"

namespace ppmm::test {
namespace {

step<int> seven(context&) { return 7; }

TEST_F(Checked, RefusedWithoutInstrumentation) {
  EXPECT_FALSE(detail::accesses_are_instrumented());
  EXPECT_THROW(run(task<seven>()), no_check);
  ::setenv("PPMM_CHECK_IDEMPOTENCE", "0", 1);
  EXPECT_EQ(run(task<seven>()), 7);
  EXPECT_TRUE(the_pool().find_job("job 1") == std::nullopt) << "a refused job was begun";
}

}  // namespace
}  // namespace ppmm::test
