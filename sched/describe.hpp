/// What stands where in a pool, in words; and whether all that a record reaches is durable. For tests and for people.
#pragma once

#include <ppmm/sched/image.hpp>
#include <ppmm/sched/record.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ppmm::detail {

/// The structure and member that an address of the data plane belongs to, e.g. "exposure slot 3: right word".
std::string describe(const image& img, const void* p);

/// A worker slot's owner and newest record, in one line.
std::string describe_record(const image& img, unsigned slot, std::uint64_t job);

/// A member of a frame, and what it is.
struct frame_member {
  enum class kind : std::uint8_t { head, link, left_result, right_result, content } what;
  const char* name;
  const std::byte* at;
  std::size_t bytes;
};
/// Of a frame of a type of this program: parent, link, type, results, the rest.
std::vector<frame_member> members_of(const frame* f);

/// What the newest record of a worker slot reaches and `durable(p, n)` denies: members of its strand's frames that going
/// on from the record reads. Empty if the promise of a commit is kept (I1 in docs/design.md).
std::vector<std::string> reached_but_not_durable(const image& img, unsigned slot, std::uint64_t job, const std::function<bool(const void*, std::size_t)>& durable);

/// What a strand with that record is about to run: a task, with the bytes of its arguments, or what follows in a frame.
std::string describe_position(const image& img, const restart& r);

/// A build id as far as people compare them: its first four bytes, in hexadecimal.
std::string describe_build(const std::uint8_t* id);

}  // namespace ppmm::detail
