#pragma once

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace atrous {

// The one T of the process, which has a member `mutex`. Never destroyed: arrays may be released, and threads may work,
// while the process ends. A forked child finds it as it was, and not locked by a thread that is gone.
template <class T>
T& singleton() {
  static T* const shared = new T;
#if !defined(_WIN32)
  static const int watched = pthread_atfork([] { shared->mutex.lock(); }, [] { shared->mutex.unlock(); },
                                            [] { shared->mutex.unlock(); });
  static_cast<void>(watched);
#endif
  return *shared;
}

}  // namespace atrous
