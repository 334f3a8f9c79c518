/// Recovery of an unfinished job from a pool in which a stranger has changed records, words, frames and the heap: the job gives
/// some answer (frames carry no checksum, so it may be another one) or an error. It ends, and touches no memory but its
/// own.
///
/// head: scene, workers, options
#include "finding.hpp"

#include <ppmm/pmem/sanitizers.hpp>
#include "patch.hpp"
#include "scene.hpp"
#include "unfinished_job.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

namespace ppmm::fuzz {
namespace {

struct outcome {
  std::optional<number> result;  // nothing: it was refused, or stopped
  std::string why;
};

outcome resume(pool& p, unsigned workers, unsigned options, bool stop_at_once) {
  std::stop_source stop;
  run_options how;
  how.workers = workers;
  how.pin = false;
  how.commit_every_task = (options & 1) != 0;
  how.heartbeat = (options & 2) != 0 ? std::chrono::nanoseconds(0) : std::chrono::hours(1);
  how.stop = stop.get_token();
  if (stop_at_once) how.on_resume = [&](const resume_info&) { stop.request_stop(); };
  int looks = 0;
  how.on_progress = [&](std::uint64_t) {
    if (++looks == 100) finding("the job does not end", "ten seconds for a few dozen tasks");
  };
  try {
    return {run(p, job_name, root_task(), how), ""};
  } catch (const job_failed& e) {
    // What the tasks met in the heap; or the entry says that it had failed before.
    const std::string what = e.what();
    const bool from_the_heap = std::ranges::any_of(std::array{"no pool can be so large", "cannot free", "not in the pool's data", "as their type needs", "root"},
                                                   [&](const char* text) { return what.find(text) != std::string::npos; });
    if (!from_the_heap && !what.ends_with("(drop it to start anew)")) finding("the job failed", e.what());
    return {std::nullopt, e.what()};
  } catch (const error& e) {
    return {std::nullopt, e.what()};
  } catch (const std::exception& e) {
    finding("an error that is none of the library's", e.what());
  }
}

}  // namespace
}  // namespace ppmm::fuzz

PPMM_FUZZ_PATCH_MUTATORS

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ppmm::fuzz;
  static unfinished_job all;
  const input in(data, size);
  const scene s = all.reset(in.head[0]);
  forger hand = all.a_forger(s);
  for (const patch& p : in.patches) hand.apply(p);
  hand.finish();

  unsigned workers = 1 + in.head[1] % 4;
  const unsigned options = in.head[2];
#if PPMM_THREAD_SANITIZER
  // What a forged undo log puts back, another strand may use: a race, but none of the runtime's.
  if (std::ranges::any_of(in.patches, [](const patch& p) { return p.where % forger::kinds == forger::undo_kind; })) workers = 1;
#endif
  outcome o;
  if ((options & 4) != 0) o = resume(all.the_pool(), workers, options, true);
  if (!o.result) o = resume(all.the_pool(), workers, options, false);
  if (in.patches.empty() && o.result != s.expected)
    finding("an untouched pool is resumed to another result",
            o.result ? std::to_string(*o.result).c_str() : o.why.c_str());
  return 0;
}
