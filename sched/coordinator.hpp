/// Who starts worker processes, sees them end, and puts others in their place. One in the process that runs the job, and one
/// in each that has joined it.
#pragma once

#include <ppmm/pmem/file.hpp>
#include <ppmm/sched/crew.hpp>

#include <signal.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

namespace ppmm::detail {

class coordinator {
 public:
  /// A guest's workers come later than the others, in empty seats and slots; and when it is to stop, they leave, and the
  /// others go on.
  enum class role { host, guest };

  coordinator(pool& p, team& t, losses& l, role r);
  /// Leaves no worker behind, whatever is thrown.
  ~coordinator();
  coordinator(const coordinator&) = delete;
  coordinator& operator=(const coordinator&) = delete;

  /// Until its workers have all ended: the job is over, or they are not to be replaced.
  void run();

 private:
  struct child {
    pid_t pid;
    descriptor life;  // pidfd: readable when it has ended
    unsigned seat, slot;
    std::uint64_t tenant;
  };

  enum class slot_is { chosen, to_be_looked_at };
  bool start(unsigned seat, unsigned slot, slot_is which);
  void wait();
  void lose(const child& gone, const siginfo_t& how);
  void blame(const restart& task, const siginfo_t& how);
  void renew();
  void fill_seats();
  std::optional<unsigned> slot_for(unsigned seat);
  bool is_over() const { return team_.over() || leaving_.load(); }

  pool& pool_;
  team& team_;
  losses& losses_;
  const role role_;
  std::vector<child> children_;
  std::vector<unsigned> empty_seats_;
  std::uint64_t deaths_ = 0;
  std::atomic<bool> leaving_{false};
  const std::stop_callback<std::function<void()>> stop_;
};

}  // namespace ppmm::detail
