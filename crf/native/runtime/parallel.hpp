// One loop over independent tasks, on OpenMP, on threads of the standard library, or serial (see parallel.cpp).
//
// Kernels are compiled once per instruction set, so everything that they share with the rest of the program goes
// through plain function pointers: an inline function of the standard library must not end up compiled for AVX-512
// and then be picked by the linker for all.
#pragma once

#include <cstddef>
#include <exception>
#include <mutex>

namespace atrous {

// Threads that a request for `0` (all) means.
int max_threads();

// kNear: each thread begins with a share of its own, if it can the same in every loop, so that what it wrote in one loop
// it finds in its cache in the next. kAscending: tasks begin in their order. OpenMP has an order of its own.
enum class Order { kNear, kAscending };

// Calls body(context, task) for every task in 0..tasks-1, on at most `threads` threads. The body must not throw.
void run_tasks(int threads, std::size_t tasks, void (*body)(void*, std::size_t), void* context, Order order);

// Splits 0..count-1 into ranges of `grain` and calls body(begin, end) for each of them. The ranges do not depend
// on the number of threads. What a body throws is thrown again here, after all have ended.
template <class Body>
void parallel_ranges(int threads, std::size_t count, std::size_t grain, Body&& body, Order order = Order::kNear) {
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
