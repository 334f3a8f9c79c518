/// The job of `ppmm sort`: from input files to a sorted table of lines in the pool.
///
/// Four phases, each a loop or a sort of its own: *load* copies the text into the pool by blocks and counts newlines;
/// *number* adds the counts up, so that every block knows the number of its first line, and checks that the text is the
/// one that was promised; *index* makes the table of lines; *sort* sorts it.
#pragma once

#include "input_text.hpp"
#include "line.hpp"

#include <ppmm/sched/context.hpp>
#include <ppmm/sched/view.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ppmm::tools {

/// Where the sort's data is in the job's pool memory: the job's argument, a durable value.
struct sort_layout {
  text_summary expected;
  out<char> text;
  out<block_summary> blocks;
  out<std::uint64_t> newlines_before;  // by block
  out<line> table, scratch;

  static std::uint64_t region_bytes(const text_summary& text);
  /// `region` has region_bytes(text) bytes.
  static sort_layout place(std::span<std::byte> region, const text_summary& text);
};

/// The job's root task. Its input is what `set_sort_input` named, which must be the text that the layout expects.
/// Afterwards `layout.table` holds the lines in order.
step<void> sort_lines(context& cx, sort_layout layout);

/// The open input files, where the job's tasks find them: file descriptors are no durable values. Kept by the caller.
void set_sort_input(const input_text* text);

/// Units of work that the job counts in all: about nanoseconds.
std::uint64_t sort_job_units(const text_summary& text);

}  // namespace ppmm::tools
