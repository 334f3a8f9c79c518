/// algo: parallel algorithms that survive crashes.
///
/// Written only on what any user of sched has: tasks, forks, loop turns and views. Each algorithm comes twice: as a
/// step, `return ppmm::for_each(cx, lo, hi, body);`, and as a task for fork, call and run,
/// `cx.call(ppmm::for_each(lo, hi, body)).then(k)`. None has a grain size to tune: loops go in *turns* of a few
/// microseconds and fork off half of what is left only where a heartbeat found nothing for a thief to take.
///
/// | header | algorithm |
/// | --- | --- |
/// | for_each.hpp | `for_each(lo, hi, body)`: a body on subranges of [lo, hi); `reduce(lo, hi, identity, map,
/// combine)`: their values, combined from left to right | | sort.hpp | `sort(data, scratch, less)`: stable merge sort
/// with parallel merges |
#pragma once

#include <ppmm/algo/for_each.hpp>  // for_each, reduce
#include <ppmm/algo/sort.hpp>      // sort
