/// A mutex that is held for some accesses to the pool or to the workers' books, and never where a worker may pause.
///
/// It may stand in memory that processes share. If its owner is killed the next one gets it all the same: so what it
/// guards must be in order after each single store (said at each use).
#pragma once

#include <ppmm/pmem/virtual_time.hpp>

#include <pthread.h>

#include <cerrno>
#include <mutex>
#include <system_error>

namespace ppmm::detail {

/// How many short_mutexes this thread has locked. Meanwhile an observer must not let other code of this thread go on (a
/// fiber), which might want one of them, and no signal may end what it does.
#if defined(PPMM_INSTRUMENT)
unsigned& locks_held();

class short_mutex {
 public:
  bool lock() {
    mutex_.lock();
    ++locks_held();
    return false;
  }
  void unlock() {
    --locks_held();
    mutex_.unlock();
  }

 private:
  std::mutex mutex_;
};
#elif defined(PPMM_VIRTUAL_TIME)
class short_mutex {
 public:
  bool lock() {
    if (virtual_time::machine != nullptr) virtual_time::machine->locks(state_);
    return false;
  }
  void unlock() {
    if (virtual_time::machine != nullptr) virtual_time::machine->unlocks(state_);
  }

 private:
  virtual_lock state_;
};
inline unsigned locks_held() { return 0; }
#else
class short_mutex {
 public:
  short_mutex() {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex_, &attributes);
    pthread_mutexattr_destroy(&attributes);
  }
  short_mutex(const short_mutex&) = delete;
  short_mutex& operator=(const short_mutex&) = delete;
  // No destructor: there is nothing to give back (glibc), and whoever dies with the mutex leaves it locked.

  /// True: the last owner died while it had it.
  bool lock() {
    ++held_;
    const int failed = pthread_mutex_lock(&mutex_);
    if (failed == 0) [[likely]]
      return false;
    if (failed != EOWNERDEAD) throw std::system_error(failed, std::generic_category(), "locking a mutex that workers share");
    pthread_mutex_consistent(&mutex_);
    return true;
  }
  void unlock() {
    pthread_mutex_unlock(&mutex_);
    --held_;
  }
  static unsigned held() { return held_; }

 private:
  static inline thread_local unsigned held_ = 0;
  pthread_mutex_t mutex_;
};
inline unsigned locks_held() { return short_mutex::held(); }
#endif

}  // namespace ppmm::detail
