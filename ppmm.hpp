/// PPMM: fork-join computations that survive crashes, with all their state in a file on persistent memory.
#pragma once

#include <ppmm/algo/algo.hpp>   // for_each, reduce, scan, filter, sort, ...
#include <ppmm/pmem/pool.hpp>   // pool
#include <ppmm/sched/job.hpp>   // run
