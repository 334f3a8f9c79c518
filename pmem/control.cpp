#include <ppmm/pmem/control.hpp>
#include <ppmm/pmem/pmemobj_format.hpp>
#include <ppmm/pmem/sanitizers.hpp>
#include <ppmm/pmem/verify.hpp>

#include <libpmemobj.h>
#include <sys/mman.h>
#if PPMM_ADDRESS_SANITIZER
#include <sanitizer/lsan_interface.h>
#endif

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

namespace ppmm::detail {

namespace format = pmemobj_format;

namespace {

constexpr std::uint64_t page = 4096;

/// While it lives, libpmemobj does not fallocate the file that it makes a pool of: we have, or it is to be sparse.
class no_fallocate {
 public:
  no_fallocate() : lock_(mutex()) {
    known_ = pmemobj_ctl_get(nullptr, name, &before_) == 0;
    int off = 0;
    if (known_) pmemobj_ctl_set(nullptr, name, &off);
  }
  ~no_fallocate() {
    if (known_) pmemobj_ctl_set(nullptr, name, &before_);
  }
  no_fallocate(const no_fallocate&) = delete;
  no_fallocate& operator=(const no_fallocate&) = delete;

 private:
  static constexpr const char* name = "fallocate.at_create";
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  std::lock_guard<std::mutex> lock_;
  bool known_ = false;
  int before_ = 1;
};

/// Allocates all that is left of the pool, in the biggest objects there can be: one a zone (16 GiB), as a rule.
std::vector<layout::segment_entry> allocate_segments(PMEMobjpool* pool, std::uint64_t file_size) {
  constexpr std::uint64_t biggest = format::chunks_per_zone * format::chunk_bytes;
  constexpr std::uint64_t smallest = 4 * format::chunk_bytes;  // less is not worth a segment
  std::vector<layout::segment_entry> segments;
  std::uint64_t wanted = std::min(file_size / format::chunk_bytes * format::chunk_bytes, biggest);
  while (wanted >= smallest && segments.size() < layout::max_segments) {
    PMEMoid object;
    if (pmemobj_alloc(pool, &object, wanted - format::object_header_bytes, 0, nullptr, nullptr) != 0) {
      wanted -= format::chunk_bytes;
      continue;
    }
    // Objects start 16 bytes into a chunk, and chunks 1 KiB into a page.
    const std::uint64_t end = (object.off + pmemobj_alloc_usable_size(object)) / page * page;
    const std::uint64_t offset = (object.off + page - 1) / page * page;
    segments.push_back({offset, end - offset});
  }
  std::ranges::sort(segments, {}, &layout::segment_entry::offset);
  return segments;
}

/// One libpmemobj transaction; undone unless it was committed.
class transaction {
 public:
  explicit transaction(PMEMobjpool* pool) : open_(pmemobj_tx_begin(pool, nullptr, TX_PARAM_NONE) == 0) {}
  ~transaction() {
    if (pmemobj_tx_stage() == TX_STAGE_WORK) pmemobj_tx_abort(ECANCELED);
    pmemobj_tx_end();
  }
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  /// Notes the old content of the range, to be restored if this transaction does not commit.
  bool snapshot(const void* range, std::size_t size) { return open_ && pmemobj_tx_add_range_direct(range, size) == 0; }
  void commit() { pmemobj_tx_commit(); }

 private:
  bool open_;
};

std::string_view name_of(const layout::job_entry& job) { return {job.name, ::strnlen(job.name, sizeof(job.name))}; }

}  // namespace

layout::part_name name_entry(const std::string& file) {
  if (file.size() >= layout::max_part_name)
    fail<pool_error>("{}: expected a path of at most {} bytes for a part, found {}. Put it into a folder with a shorter name", file, layout::max_part_name - 1,
                     file.size());
  layout::part_name name{};
  std::ranges::copy(file, name.file);
  name.checksum = checksum_of(name);
  return name;
}

control_plane::control_plane(descriptor fd, std::unique_ptr<opening_lock> lock, std::filesystem::path file, const layout::control_root* root)
    : fd_(std::move(fd)), lock_(std::move(lock)), file_(std::move(file)), root_(root) {}

control_plane::control_plane(control_plane&& other) noexcept
    : fd_(std::move(other.fd_)),
      lock_(std::move(other.lock_)),
      file_(std::move(other.file_)),
      pool_(std::exchange(other.pool_, nullptr)),
      root_(other.root_) {}

void control_plane::find_root() {
  root_ = static_cast<const layout::control_root*>(pmemobj_direct(pmemobj_root(pool_, layout::root_object_bytes)));
}

void control_plane::close_after_failure() {
  const auto sync = [this] { return ::msync(pool_, root_->segments[0].offset, MS_SYNC) == 0; };
  if (pool_ == nullptr) return;
  static_cast<void>(sync());  // the failure that it is owed
  if (sync()) pmemobj_close(pool_);
#if PPMM_ADDRESS_SANITIZER
  else __lsan_register_root_region(pool_, root_->segments[0].offset);  // where libpmemobj has its pointers: no leak
#endif
  pool_ = nullptr;
}

control_plane::~control_plane() {
  if (pool_ != nullptr) pmemobj_close(pool_);
}

/// Invariants after crash: the file has no name yet, or one that says it is not a pool (pool::create); whatever is in
/// it, nobody will open it. A DAX device has its name: it can be opened when the control root's checksum is right, which
/// is written last and covers what is written with it.
control_plane control_plane::create(const descriptor& fd, const std::filesystem::path& file,
                                    const layout::control_root& facts) {
  control_plane made({}, nullptr, file, nullptr);
  {
    const no_fallocate ours;
    made.pool_ = pmemobj_create(path_of(fd.get()).c_str(), layout::pool_layout_name, 0, 0600);
  }
  if (made.pool_ == nullptr) fail<pool_error>("{}: libpmemobj cannot make a pool: {}", file.string(), pmemobj_errormsg());
  made.find_root();
  if (made.root_ == nullptr) fail<pool_error>("{}: no control root: {}", file.string(), pmemobj_errormsg());

  const std::vector<layout::segment_entry> segments = allocate_segments(made.pool_, facts.file_size);
  if (segments.empty()) fail<pool_too_small>("{}: expected room for a segment, found none", file.string());
  layout::control_root& root = made.writable();
  root = facts;
  root.segment_count = static_cast<std::uint32_t>(segments.size());
  std::ranges::copy(segments, root.segments);
  root.checksum = checksum_of(root);
  pmemobj_persist(made.pool_, &root, sizeof(root));
  return made;
}

/// Whoever fails to open it keeps the lock against others of PPMM, and may try again.
void control_plane::open() {
  if (pool_ != nullptr) return;
  if (lock_) lock_->hand_over();
  // Others of PPMM that open it cannot come in between, but who only looks may have its lock for a moment.
  for (int tries = 0; pool_ == nullptr && tries < 1000; ++tries) {
    if (tries > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    pool_ = pmemobj_open(path_of(fd_.get()).c_str(), layout::pool_layout_name);
    if (pool_ == nullptr && errno != EAGAIN) break;
  }
  if (pool_ == nullptr) {
    switch (errno) {
      case EAGAIN:
        fail<pool_in_use>("{}: another process has it open, with libpmemobj or to look at it. Wait for it, or stop it", file_.string());
      case EACCES:
      case EPERM:
      case EROFS:
        fail<read_only_pool>("{}: libpmemobj cannot write it: {}", file_.string(), pmemobj_errormsg());
      default:
        fail<corrupt_pool>("{}: libpmemobj refuses it: {}. Restore the pool from a copy", file_.string(),
                           pmemobj_errormsg());
    }
  }
  lock_.reset();
  find_root();
  if (root_ == nullptr) fail<corrupt_pool>("{}: no control root: {}", file_.string(), pmemobj_errormsg());
}

/// In libpmemobj's mapping.
layout::control_root& control_plane::writable() {
  open();
  return const_cast<layout::control_root&>(*root_);
}

/// libpmemobj closes the file once it is mapped: the lock (flock) lasts as long as the mapping.
void control_plane::keep_from_forks(std::size_t size) {
  open();
  if (::madvise(pool_, size, MADV_DONTFORK) != 0)
    fail<pool_error>("{}: its control plane cannot be kept from worker processes: {}", file_.string(), os_message(errno));
}

std::vector<layout::job_entry> control_plane::jobs() const {
  std::vector<layout::job_entry> found;
  for (std::size_t i = 0; i < layout::max_jobs; ++i) {
    if (check_job(root_->jobs[i], i, file_)) found.push_back(root_->jobs[i]);
  }
  return found;
}

std::optional<std::size_t> control_plane::index_of(std::string_view name) const {
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < layout::max_jobs; ++i) {
    if (check_job(root_->jobs[i], i, file_) && name_of(root_->jobs[i]) == name) found = i;
  }
  return found;
}

std::optional<layout::job_entry> control_plane::find(std::string_view name) const {
  const auto index = index_of(name);
  return index ? std::optional(root_->jobs[*index]) : std::nullopt;
}

/// Invariants after crash: libpmemobj's undo log holds the entry's old content, durable before the first store below.
/// Before the commit, the next open restores it: the catalog is as before. After it, the entry is the new one.
/// Recovery is libpmemobj's, in control_plane::open; pool::open does not wait with it if there is anything to restore. One
/// entry fits the lane's own log (2 KiB), so that a transaction never allocates: verifier counts on it.
template <class Entry>
void control_plane::perform_write(Entry& entry, const Entry& content) {
  static_assert(sizeof(format::undo_entry) + sizeof(Entry) <= format::undo_bytes);
  transaction change(pool_);
  if (!change.snapshot(&entry, sizeof(entry))) {
    fail<pool_error>("{}: libpmemobj cannot change the job catalog or the parts' names: {}", file_.string(), pmemobj_errormsg());
  }
  entry = content;
  change.commit();
}

void control_plane::put(layout::job_entry job) {
  const std::string_view name = name_of(job);
  const bool printable = std::ranges::all_of(name, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;  // UTF-8 is fine
  });
  if (name.empty() || name.size() >= layout::max_job_name || !printable) {
    fail<pool_error>("{}: expected a job name of 1 to {} printable bytes, found one of {}. Choose another name",
                     file_.string(), layout::max_job_name - 1, name.size());
  }
  if (job.state == layout::job_state::free || job.state > layout::job_state::failed ||
      job.result_size > layout::max_job_result) {
    fail<pool_error>(
        "{}: expected a state that is not free and at most {} bytes of result for job \"{}\", found state "
        "{} and {} bytes",
        file_.string(), layout::max_job_result, name, static_cast<std::uint32_t>(job.state), job.result_size);
  }
  job.task[sizeof(job.task) - 1] = '\0';
  job.text[sizeof(job.text) - 1] = '\0';
  job.checksum = checksum_of(job);

  std::optional<std::size_t> place = index_of(name);
  for (std::size_t i = 0; !place && i < layout::max_jobs; ++i) {
    if (!check_job(root_->jobs[i], i, file_)) place = i;
  }
  if (!place) {
    fail<pool_error>(
        "{}: expected a free entry in the job catalog, found all {} in use. Drop finished jobs (drop_job, "
        "ppmm drop)",
        file_.string(), layout::max_jobs);
  }
  perform_write(writable().jobs[*place], job);
}

/// Invariants after crash: while `serial` is 0 the record says nothing, and it is 0 until all the rest is durable. So it
/// tells of the job with that serial, which has begun or will, or of none. The job itself does not depend on it.
void control_plane::keep_call(std::uint64_t serial, std::string_view text) {
  const layout::call_record& there = root_->call;
  static_assert(offsetof(layout::control_root, call) % sizeof there.serial == 0);
  if (text.size() > layout::max_call) text = {};
  const std::uint64_t sum = checksum_of_call(serial, text);
  if (there.serial == serial && there.checksum == sum && there.bytes == text.size() &&
      std::memcmp(there.text, text.data(), text.size()) == 0)
    return;
  layout::call_record& call = writable().call;
  const std::atomic_ref<std::uint64_t> count(call.serial);
  const auto say = [&](std::uint64_t s) {
    count.store(s, std::memory_order_release);
    pmemobj_persist(pool_, &call.serial, sizeof call.serial);
  };
  if (call.serial != 0) say(0);
  if (text.empty()) return;
  call.bytes = text.size();
  call.checksum = sum;
  std::memcpy(call.text, text.data(), text.size());
  pmemobj_persist(pool_, &call.bytes, offsetof(layout::call_record, text) - offsetof(layout::call_record, bytes) + text.size());
  say(serial);
}

/// Invariants after crash: the entry does not count yet. Torn, it announces nothing (its checksum); the file is not longer
/// than the pool then.
void control_plane::announce_extension(std::uint64_t bytes, std::uint64_t round) {
  layout::extension_entry& e = writable().extensions[extensions(*root_)];
  e.offset = part_size(*root_);
  e.size = bytes;
  e.round = round;
  e.checksum = checksum_of(e);
  pmemobj_persist(pool_, &e, sizeof e);
}

/// Invariants after crash: one word, so the pool has its old size or its new one; the entry was durable before.
void control_plane::add_extension() {
  const std::uint64_t n = extensions(*root_) + 1;
  static_assert(offsetof(layout::control_root, extension_count) % sizeof n == 0);
  layout::control_root& root = writable();
  const std::atomic_ref<std::uint64_t> count(root.extension_count);
  count.store(n << 32 | n, std::memory_order_release);
  pmemobj_persist(pool_, &root.extension_count, sizeof n);
}

void control_plane::rename_part(std::size_t part, const std::string& file) { perform_write(writable().names[part], name_entry(file)); }

bool control_plane::drop(std::string_view name) {
  const auto index = index_of(name);
  if (!index) return false;
  perform_write(writable().jobs[*index], layout::job_entry{});
  return true;
}

}  // namespace ppmm::detail
