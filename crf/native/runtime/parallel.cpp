#include "runtime/parallel.hpp"

#if defined(ATROUS_OPENMP)
#include <omp.h>

#include <atomic>
#elif !defined(ATROUS_SERIAL)
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sched.h>
#endif
#endif
#if !defined(_WIN32) && !defined(ATROUS_SERIAL)
#include <pthread.h>
#endif

namespace atrous {
namespace {

void run_serially(std::size_t tasks, void (*body)(void*, std::size_t), void* context) {
  for (std::size_t task = 0; task < tasks; ++task) body(context, task);
}

}  // namespace

#if defined(ATROUS_OPENMP)

namespace {

// GNU's OpenMP hangs in a process that was forked after the first parallel loop: the child inherits the team of
// threads, but not the threads. Such a child runs serially.
std::atomic<bool> has_team{false};
std::atomic<bool> lost_team{false};

void watch_forks() {
#if !defined(_WIN32)
  static const int watching = pthread_atfork(nullptr, nullptr, [] { lost_team = has_team.load(); });
  static_cast<void>(watching);
#endif
}

}  // namespace

int max_threads() { return omp_get_max_threads(); }

void run_tasks(int threads, std::size_t tasks, void (*body)(void*, std::size_t), void* context, Order) {
  if (threads <= 1 || tasks <= 1 || lost_team) return run_serially(tasks, body, context);
  watch_forks();
  has_team = true;
  const auto count = static_cast<std::ptrdiff_t>(tasks);  // MSVC's OpenMP 2.0 wants a signed loop variable
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (std::ptrdiff_t task = 0; task < count; ++task) body(context, static_cast<std::size_t>(task));
}

#elif defined(ATROUS_SERIAL)

int max_threads() { return 1; }

void run_tasks(int, std::size_t tasks, void (*body)(void*, std::size_t), void* context, Order) {
  run_serially(tasks, body, context);
}

#else

namespace {

thread_local std::size_t own_share = 0;  // 0 for threads that call run_tasks; helpers have 1, 2, ...

constexpr std::size_t kMostShares = 64;

// A parallel loop, its tasks divided into shares. A thread works on its own share first (several threads can have the
// same one if there are more threads than shares), and then on the tasks that remain in the other shares.
struct Job {
  void (*body)(void*, std::size_t);
  void* context;
  std::size_t tasks;
  std::size_t shares;
  int open_places;  // number of helpers that may still join
  std::atomic<int> active_helpers{0};
  struct alignas(64) Place {
    std::atomic<std::size_t> next{0};
  } taken[kMostShares] = {};

  std::size_t begin_of(std::size_t share) const { return share * tasks / shares; }
  bool has_work() const {
    for (std::size_t share = 0; share < shares; ++share)
      if (begin_of(share) + taken[share].next < begin_of(share + 1)) return true;
    return false;
  }
  void work() {
    for (std::size_t i = 0; i < shares; ++i) {
      const std::size_t share = (own_share + i) % shares, begin = begin_of(share), end = begin_of(share + 1);
      if (begin + taken[share].next >= end) continue;
      for (std::size_t task; (task = begin + taken[share].next.fetch_add(1)) < end;) body(context, task);
    }
  }
};

// A pool of helper threads for the jobs of all callers. The caller works on its job too, and then waits only for the
// helpers that have started on it. On a busy machine, a helper that the system has not woken yet costs nothing; a
// barrier for the whole team would wait for that helper's next time slice.
class Pool {
 public:
  void run(Job& job) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      grow(job.open_places);
      jobs_.push_back(&job);
      ++generation_;
    }
    wake_.notify_all();
    job.work();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
    }
    for (int spin = 0; spin < kSpins && job.active_helpers != 0; ++spin) relax();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [&] { return job.active_helpers == 0; });
  }

 private:
  // Loops follow each other within microseconds, and waking a sleeping thread takes longer. So threads spin before they
  // sleep.
  static constexpr int kSpins = 2000;

  static void relax() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    __builtin_ia32_pause();
#else
    std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
  }

  void grow(int wanted) {
    try {
      for (; helpers_ < wanted; ++helpers_)
        std::thread([this, share = static_cast<std::size_t>(helpers_) + 1] {
          own_share = share;
          help();
        }).detach();
    } catch (const std::system_error&) {
      // The system has no more threads: the running ones do the work.
    }
  }

  Job* open_job() {
    for (Job* job : jobs_)
      if (job->open_places > 0 && job->has_work()) return job;
    return nullptr;
  }

  [[noreturn]] void help() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      Job* job = open_job();
      if (job == nullptr) {
        const unsigned seen = generation_;
        lock.unlock();
        for (int spin = 0; spin < kSpins && generation_ == seen; ++spin) relax();
        lock.lock();
        wake_.wait(lock, [&] { return generation_ != seen; });
        continue;
      }
      --job->open_places;
      ++job->active_helpers;
      lock.unlock();
      job->work();
      lock.lock();
      --job->active_helpers;
      done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<Job*> jobs_;
  std::atomic<unsigned> generation_{0};
  int helpers_ = 0;
};

std::atomic<Pool*> shared_pool{nullptr};

// Returns the pool of the process. It is never destroyed, because its threads may still wait in it when the process
// exits. A forked child has none of the threads and creates a new pool.
Pool& pool() {
  static std::mutex mutex;
#if !defined(_WIN32)
  static const int watching = pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); },
                                             [] {
                                               shared_pool = nullptr;
                                               mutex.unlock();
                                             });
  static_cast<void>(watching);
#endif
  const std::lock_guard<std::mutex> lock(mutex);
  if (shared_pool == nullptr) shared_pool = new Pool;
  return *shared_pool;
}

}  // namespace

int max_threads() {
  // The same variable as for OpenMP, so that users have only one to set.
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const int value = std::atoi(text);
    if (value > 0) return value;
  }
#if defined(__linux__)
  cpu_set_t set;  // a container or `taskset` may allow fewer cores than the machine has
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void run_tasks(int threads, std::size_t tasks, void (*body)(void*, std::size_t), void* context, Order order) {
  if (threads <= 1 || tasks <= 1) return run_serially(tasks, body, context);
  const std::size_t workers = std::min<std::size_t>(threads, tasks);
  const std::size_t shares = order == Order::kAscending ? 1 : std::min(workers, kMostShares);
  Job job{body, context, tasks, shares, static_cast<int>(workers - 1)};
  pool().run(job);
}

#endif

}  // namespace atrous
