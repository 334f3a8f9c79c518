/// A pool with an unfinished job in it, made anew for each input.
#pragma once

#include "finding.hpp"
#include "forger.hpp"
#include "scene.hpp"
#include "scratch_pool.hpp"

#include <ppmm/pmem/pmemobj_format.hpp>
#include <ppmm/pmem/sanitizers.hpp>

#include <cstring>
#include <memory>
#include <vector>

#if PPMM_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace ppmm::fuzz {

/// The pool, as it is before each input but for the scene.
class unfinished_job {
 public:
  unfinished_job() : file_(scene_pool), base_(file_.opened().base()), root_offset_(find_root()) {
    pool& p = file_.opened();
    run_options how;
    how.workers = 1;
    how.pin = false;
    if (run(p, job_name, root_task(), how) != serial_grow(most_depth, 1))
      finding("an undisturbed run has a wrong result");
    layout::job_entry entry = *p.find_job(job_name);
    entry.state = layout::job_state::running;
    entry.serial = job_serial;
    entry.ended_ns = 0;
    std::memset(entry.result, 0, sizeof entry.result);
    p.put_job(entry);
    std::memcpy(catalog_.get(), root().jobs, sizeof root().jobs);
#if PPMM_ADDRESS_SANITIZER
    // The runtime has no business in libpmemobj's part of the file.
    __asan_poison_memory_region(base_, root_offset_);
#endif
  }

  pool& the_pool() { return file_.opened(); }
  layout::control_root& root() { return *reinterpret_cast<layout::control_root*>(base_ + root_offset_); }

  scene reset(unsigned which) {
    const layout::segment_entry plane = root().segments[0];
    file_.wipe(plane.offset, plane.size);
    std::memcpy(root().jobs, catalog_.get(), sizeof root().jobs);
    return stage(file_.opened()).build(which);
  }
  forger a_forger(const scene& s) {
    std::vector<std::uint64_t> frames;
    for (const detail::frame* f : s.frames) frames.push_back(reinterpret_cast<std::uint64_t>(f));
    return {base_, reinterpret_cast<std::uint64_t>(base_), root_offset_, frames};
  }

 private:
  std::uint64_t find_root() const {
    pmemobj_format::pool_descriptor d;
    std::memcpy(&d, base_ + pmemobj_format::descriptor_offset, sizeof d);
    return d.root_offset;
  }

  scratch_pool file_;
  std::byte* base_;
  std::uint64_t root_offset_;
  std::unique_ptr<layout::job_entry[]> catalog_ = std::make_unique<layout::job_entry[]>(layout::max_jobs);
};

}  // namespace ppmm::fuzz
