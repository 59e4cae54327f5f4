#include "runtime/memory.hpp"

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "runtime/singleton.hpp"

namespace atrous {
namespace {

constexpr std::size_t kHugePage = std::size_t{1} << 21;
// Enough for COCO images with 81 classes, most of them pruned.
constexpr std::size_t kMaxCachedBytes = std::size_t{512} << 20;
constexpr std::size_t kMinCachedBlock = std::size_t{1} << 16;  // smaller blocks are not cached
constexpr int kSlots = 128;

std::size_t rounded(std::size_t bytes) {
  const std::size_t unit = bytes >= kHugePage ? kHugePage : 64;
  if (bytes > ~std::size_t{0} / 2) throw std::bad_alloc();
  return (bytes + unit - 1) / unit * unit;
}

// Large blocks are mapped and unmapped directly. The heap would keep the freed memory in fragments (250 MB after a
// thousand small images). Builds with sanitizers use the heap, because sanitizers do not check mapped memory.
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
constexpr bool kMapsLarge = true;

void* map_large(std::size_t bytes) {
  const std::size_t whole = bytes + kHugePage;
  void* mapped = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  char* begin = static_cast<char*>(mapped);
  const std::size_t past = reinterpret_cast<std::uintptr_t>(begin) % kHugePage;
  const std::size_t before = past == 0 ? 0 : kHugePage - past;
  if (before > 0) munmap(begin, before);
  if (whole > before + bytes) munmap(begin + before + bytes, whole - before - bytes);
#if defined(MADV_HUGEPAGE)
  // Rows are visited in the order of the lattice, rarely two of them on one page. With pages of 4 KiB the address
  // translation would cost as much as the data.
  madvise(begin + before, bytes, MADV_HUGEPAGE);
#endif
  return begin + before;
}

void unmap_large(void* block, std::size_t bytes) noexcept { munmap(block, bytes); }
#else
constexpr bool kMapsLarge = false;
void* map_large(std::size_t) { return nullptr; }
void unmap_large(void*, std::size_t) noexcept {}
#endif

void* allocate(std::size_t bytes) {
  if (kMapsLarge && bytes >= kHugePage) return map_large(bytes);
#if defined(_WIN32)
  void* block = _aligned_malloc(bytes, 64);
#else
  void* block = std::aligned_alloc(64, bytes);
#endif
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void deallocate(void* block, std::size_t bytes) noexcept {
  if (kMapsLarge && bytes >= kHugePage) return unmap_large(block, bytes);
#if defined(_WIN32)
  _aligned_free(block);
#else
  std::free(block);
#endif
}

// A new block costs more than the work done in it: the system clears every page, which took a third of the time per
// image. So up to kMaxCachedBytes are cached for the next image, or for the next step of the same image.
class BlockCache {
 public:
  // Removes the best fitting block and returns it; null if none fits.
  void* get(std::size_t& bytes) noexcept {
    const std::lock_guard<std::mutex> lock(mutex);
    int best = -1;
    for (int i = 0; i < count_; ++i) {
      const std::size_t most_unused = bytes / 2 + (bytes >= kHugePage ? 2 * kHugePage : 0);
      const bool fits = slots_[i].bytes >= bytes && slots_[i].bytes - bytes <= most_unused;
      if (fits && (best < 0 || slots_[i].bytes < slots_[best].bytes)) best = i;
    }
    if (best < 0) return nullptr;
    void* block = slots_[best].block;
    bytes = slots_[best].bytes;
    remove(best);
    return block;
  }

  // False if the block is too small or too large to be cached.
  bool put(void* block, std::size_t bytes) noexcept {
    if (bytes < kMinCachedBlock || bytes > kMaxCachedBytes) return false;
    const std::lock_guard<std::mutex> lock(mutex);
    while (count_ > 0 && (count_ == kSlots || kept_ + bytes > kMaxCachedBytes)) {
      deallocate(slots_[0].block, slots_[0].bytes);  // the oldest
      remove(0);
    }
    slots_[count_++] = {block, bytes};
    kept_ += bytes;
    return true;
  }

  void clear() noexcept {
    const std::lock_guard<std::mutex> lock(mutex);
    for (int i = 0; i < count_; ++i) deallocate(slots_[i].block, slots_[i].bytes);
    count_ = 0;
    kept_ = 0;
  }

  std::mutex mutex;  // public: singleton() locks it around a fork

 private:
  struct Slot {
    void* block;
    std::size_t bytes;
  };

  void remove(int slot) noexcept {
    kept_ -= slots_[slot].bytes;
    for (int i = slot + 1; i < count_; ++i) slots_[i - 1] = slots_[i];
    --count_;
  }

  Slot slots_[kSlots];
  int count_ = 0;
  std::size_t kept_ = 0;
};

}  // namespace

void* acquire_block(std::size_t& bytes) {
  bytes = rounded(bytes);
  if (bytes >= kMinCachedBlock)
    if (void* block = singleton<BlockCache>().get(bytes)) return block;
  return allocate(bytes);
}

void release_block(void* block, std::size_t bytes) noexcept {
  if (block != nullptr && !singleton<BlockCache>().put(block, bytes)) deallocate(block, bytes);
}

void release_memory() noexcept { singleton<BlockCache>().clear(); }

}  // namespace atrous
