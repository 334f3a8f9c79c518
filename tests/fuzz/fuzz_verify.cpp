/// The read-only look at a pool file that somebody else has made: the checks of pool::open, and `ppmm info`, `check`,
/// `dump` and `jobs`. They tell what is wrong, in words, whatever stands in the file.
///
/// head: scene, what is looked at with, checksums that are not put right
#include "command_line.hpp"
#include "finding.hpp"
#include "forger.hpp"
#include "patch.hpp"
#include "pool_bytes.hpp"
#include "scene.hpp"

#include <ppmm/pmem/inspect.hpp>

#include <string>
#include <vector>

namespace ppmm::fuzz {
namespace {

/// Runs a subcommand as the command line would.
void command(const std::vector<std::string>& words) {
  const quiet now;
  try {
    run_command({tools::add_check, tools::add_info, tools::add_dump, tools::add_jobs}, words);
  } catch (const error& e) {
    if (*e.what() == '\0') finding("an error without a word");
  } catch (const std::exception& e) {
    finding("an error that is none of the library's", e.what());
  }
}

void look(const std::string& file, unsigned how) {
  switch (how % 8) {
    case 0:
    case 4:
      return command({"check", file});
    case 1:
      return command({"info", file});
    case 5:
    case 6:
      return command({"dump", file});
    case 2:
      return command({"jobs", "--json", file});
    default: {
      const pool_report report = inspect(file);
      for (const pool_finding& f : report.failed)
        if (f.check.empty() || f.message.empty()) finding("a finding without a word");
    }
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
  look(file.path(), in.head[1]);
  return 0;
}
