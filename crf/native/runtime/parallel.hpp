// A parallel loop over independent tasks: on a pool of standard threads, on OpenMP, or serial (see parallel.cpp).
//
// The kernels are compiled once per instruction set and share only plain function pointers with the rest of the
// program. If they used an inline function of the standard library, the linker could pick its AVX-512 copy for the
// whole program.
#pragma once

#include <cstddef>
#include <exception>
#include <mutex>

namespace atrous {

// Returns the number of threads that a request for 0 (all) stands for.
int max_threads();

// kCacheAffine: each thread starts with its own share of the tasks, the same share in every loop if possible, so that
// it finds its data in its cache. kAscending: tasks start in ascending order. Ignored with OpenMP, which schedules
// tasks itself.
enum class Order { kCacheAffine, kAscending };

// Calls body(context, task) for every task in 0..tasks-1 on at most `threads` threads. The body must not throw.
void run_tasks(int threads, std::size_t tasks, void (*body)(void*, std::size_t), void* context, Order order);

// Splits 0..count-1 into ranges of `grain` and calls body(begin, end) for each range. The ranges do not depend on the
// number of threads. Rethrows an exception of a body after all tasks have ended.
template <class Body>
void parallel_ranges(int threads, std::size_t count, std::size_t grain, Body&& body,
                     Order order = Order::kCacheAffine) {
  struct Job {
    Body* body;
    std::size_t count, grain;
    std::mutex mutex;
    std::exception_ptr failure;
  } job{&body, count, grain, {}, nullptr};
  auto run = [](void* context, std::size_t task) {
    auto& job = *static_cast<Job*>(context);
    const std::size_t begin = task * job.grain;
    const std::size_t end = begin + job.grain < job.count ? begin + job.grain : job.count;
    try {
      (*job.body)(begin, end);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(job.mutex);
      job.failure = std::current_exception();
    }
  };
  run_tasks(threads, (count + grain - 1) / grain, run, &job, order);
  if (job.failure) std::rethrow_exception(job.failure);
}

}  // namespace atrous
