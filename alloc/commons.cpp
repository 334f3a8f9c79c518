#include <ppmm/alloc/commons.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace ppmm::detail {
namespace {

/// What the file begins with.
struct head {
  static constexpr std::uint64_t right_mark = 0x736b6f6f626d7070;  // "ppmbooks"
  std::uint64_t mark;
  std::uint64_t address;
};
[[noreturn]] void fail_with(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

commons commons::in_file(std::uintptr_t near) {
  commons made;
  made.file_ = descriptor(::memfd_create("ppmm books", MFD_CLOEXEC));
  if (!made.file_ || ::ftruncate(made.file_.get(), static_cast<off_t>(most)) != 0) fail_with("making memory for worker processes");
  void* at = ::mmap(reinterpret_cast<void*>(near), most, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, made.file_.get(), 0);
  if (at == MAP_FAILED) fail_with("mapping memory for worker processes");
  made.base_ = static_cast<std::byte*>(at);
  made.used_ = first;
  *reinterpret_cast<head*>(made.base_) = {head::right_mark, reinterpret_cast<std::uintptr_t>(made.base_)};
  return made;
}

commons commons::of_file(descriptor file) {
  head h{};
  if (::pread(file.get(), &h, sizeof h, 0) != sizeof h || h.mark != head::right_mark || ::lseek(file.get(), 0, SEEK_END) != static_cast<off_t>(most))
    fail<error>("the memory of the running job's workers is not what this build of ppmm makes; use the program that has begun the job");
  commons joined;
  void* const at = ::mmap(reinterpret_cast<void*>(h.address), most, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, file.get(), 0);
  if (at != MAP_FAILED && at != reinterpret_cast<void*>(h.address)) ::munmap(at, most);
  if (at != reinterpret_cast<void*>(h.address))
    fail<address_taken>("the memory of the running job's workers is at address {:#x}, where something else is mapped here; try again in another process", h.address);
  joined.file_ = std::move(file);
  joined.base_ = static_cast<std::byte*>(at);
  joined.used_ = first;
  joined.joined_ = true;
  return joined;
}

commons::commons(commons&& other) noexcept
    : file_(std::move(other.file_)), base_(std::exchange(other.base_, nullptr)), used_(other.used_), joined_(other.joined_) {}

commons::~commons() {
  if (base_ != nullptr) ::munmap(base_, most);
}

void* commons::take(std::size_t bytes, std::size_t alignment) {
  if (base_ == nullptr) {
    void* const p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    return p;
  }
  used_ = (used_ + alignment - 1) / alignment * alignment;
  if (bytes > most - used_) throw std::bad_alloc();
  return base_ + std::exchange(used_, used_ + bytes);
}

}  // namespace ppmm::detail
