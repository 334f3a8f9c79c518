/// A DAX device that becomes a part of a pool. It has its name already, so its first page says whether it is one.
#pragma once

#include <ppmm/pmem/new_file.hpp>
#include <ppmm/pmem/opening_lock.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>

namespace ppmm::detail {

class new_device final : public new_part {
 public:
  /// The device, locked until it is zero. Throws pool_exists where its first page is not zero, unless it is to be
  /// wiped; pool_in_use, not_a_pool (no DAX device), read_only_pool, pool_error.
  new_device(std::filesystem::path file, bool wipe);
  /// Wipes the first page, if what was begun was not published.
  ~new_device() override;
  new_device(const new_device&) = delete;
  new_device& operator=(const new_device&) = delete;

  std::uint64_t size_for(std::uint64_t) const override { return fd_.device()->size; }
  /// Zeros it, whole: 10 GB a second, more or less.
  void resize(std::uint64_t size, bool sparse) override;
  void publish(bool durable) override;
  void withdraw() noexcept override;

 private:
  std::filesystem::path file_;
  std::unique_ptr<opening_lock> lock_;
  bool begun_ = false;  // to become a pool, and not published
};

}  // namespace ppmm::detail
