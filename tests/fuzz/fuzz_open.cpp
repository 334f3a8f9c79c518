/// pool::open on a file that somebody else has made, and the catalog of what opens. It opens, or it throws and the file
/// is as it was.
///
/// head: scene, what is done with the catalog, checksums that are not put right
#include "finding.hpp"
#include "patch.hpp"
#include "pool_bytes.hpp"

#include <ppmm/pmem/pool.hpp>

#include <string>

namespace ppmm::fuzz {
namespace {

void use(pool& p, unsigned how) {
  try {
    const auto jobs = p.jobs();
    if (how % 4 == 1 && !jobs.empty()) p.drop_job(jobs.front().name);
    if (how % 4 == 2 && !jobs.empty()) p.put_job(jobs.front());
    if (how % 4 == 3) {
      layout::job_entry entry{};
      entry.state = layout::job_state::running;
      entry.name[0] = 'x';
      p.put_job(entry);
    }
  } catch (const pool_error&) {
  }
}

}  // namespace
}  // namespace ppmm::fuzz

PPMM_FUZZ_PATCH_MUTATORS

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ppmm::fuzz;
  static pool_bytes file;
  const input in(data, size);
  file.put_back(in.head[0]);
  file.forge(in.patches, in.head[2]);
  try {
    ppmm::pool p = ppmm::pool::open(file.path());
    use(p, in.head[1]);
  } catch (const ppmm::error& e) {
    if (!file.unchanged_since_forged()) finding("pool::open has thrown and changed the file", e.what());
    return 0;
  } catch (const std::exception& e) {
    finding("an error that is none of the library's", e.what());
  }
  file.put_back(in.head[0]);
  file.put_all_back();
  return 0;
}
