/// algo: parallel algorithms that survive crashes.
///
/// Written only on what any user of sched has: tasks, forks, loop turns, views and the heap. Each algorithm comes
/// twice: as a step, `return ppmm::for_each(cx, lo, hi, body);`, and as a task for fork, call and run,
/// `cx.call(ppmm::for_each(lo, hi, body)).then(k)`. None has a grain size to tune: loops go in *turns* of some
/// ten microseconds and fork off half of what is left only where a heartbeat found nothing for a thief to take. What an
/// algorithm reads and writes are views, or arrays of the heap (`views.hpp`); other room it takes from the heap, and
/// frees it. Costs are transfers of cache lines of B elements, as the paper counts them.
///
/// | header | algorithms |
/// | --- | --- |
/// | for_each.hpp | `for_each(lo, hi, body)`: a body on subranges of [lo, hi) |
/// | | `reduce(lo, hi, identity, map, combine)`: their values, combined from left to right |
/// | spread.hpp | `for_each(s, body)`: a body on data that is spread over the parts of a pool, near first |
/// | map.hpp | `tabulate(to, f)`, `map(from, to, f)`: element by element |
/// | reduce.hpp | `reduce(from, identity, combine)`; `min_element(from)`, `max_element`, `minmax_element` |
/// | find.hpp | `find_if(from, fits)`: the first that fits |
/// | scan.hpp | `exclusive_scan(from, to, identity, op)`, `inclusive_scan`: prefix sums |
/// | | `scan(lo, hi, identity, combine, sum, write)`: what depends on what stands before |
/// | filter.hpp | `filter(from, keep)`, `filter(from, to, keep)`, `pack(from, flags)`, `pack_index(flags)` |
/// | merge.hpp | `merge(a, b, to, less)`: stable |
/// | sort.hpp | `sort(data, less)`, `sort(data, scratch, less)`: stable merge sort |
/// | integer_sort.hpp | `integer_sort(data, key, bits)`, `integer_sort(from, to, key, bits)`: stable radix sort |
/// | histogram.hpp | `histogram(from, buckets, bucket)`, `histogram(from, to, bucket)`: counts |
/// | group_by.hpp | `group_by(data, key, bits)`, `group_by(data, key, less)`: sorted, and where each key begins |
/// | matmul.hpp | `matmul(a, b, c)`: the product of tiles of `double` |
#pragma once

#include <ppmm/algo/filter.hpp>        // filter, pack, pack_index
#include <ppmm/algo/find.hpp>          // find_if
#include <ppmm/algo/for_each.hpp>      // for_each, reduce
#include <ppmm/algo/group_by.hpp>      // group_by
#include <ppmm/algo/histogram.hpp>     // histogram
#include <ppmm/algo/integer_sort.hpp>  // integer_sort
#include <ppmm/algo/map.hpp>           // map, tabulate
#include <ppmm/algo/matmul.hpp>        // matmul
#include <ppmm/algo/merge.hpp>         // merge
#include <ppmm/algo/reduce.hpp>        // reduce, min_element, max_element, minmax_element
#include <ppmm/algo/scan.hpp>          // scan, exclusive_scan, inclusive_scan
#include <ppmm/algo/sort.hpp>          // sort
#include <ppmm/algo/spread.hpp>        // for_each over spread data
