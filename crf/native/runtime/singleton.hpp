// State that lives as long as the process.
#pragma once

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace atrous {

// Returns the only T of the process; T has a member `mutex`. The object is never destroyed, because arrays may be
// released and threads may run while the process exits. The mutex is held during a fork, so that the child gets a
// consistent object with an unlocked mutex.
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
