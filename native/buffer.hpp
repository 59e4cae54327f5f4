// Uninitialised arrays of numbers, aligned for vectors; large ones ask for huge pages.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace atrous {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) : size_(size) {
    if (size == 0) return;
    if (size > (~std::size_t{0} >> 1) / sizeof(T)) throw std::bad_alloc();
    std::size_t bytes = size * sizeof(T);
    // Rows are visited in the order of the lattice, hardly two on a page: with 4 KiB pages the address look-ups
    // would cost as much as the data.
    const std::size_t align = bytes >= kHugePage ? kHugePage : 64;
    bytes = (bytes + align - 1) / align * align;
#if defined(_WIN32)
    data_ = static_cast<T*>(_aligned_malloc(bytes, 64));
#else
    data_ = static_cast<T*>(std::aligned_alloc(align, bytes));
#endif
    if (data_ == nullptr) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (align == kHugePage) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
  }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer moved(std::move(other));
    swap(moved);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
#if defined(_WIN32)
    _aligned_free(data_);
#else
    std::free(data_);
#endif
  }

  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  void fill(T value) {
    for (std::size_t i = 0; i < size_; ++i) data_[i] = value;
  }
  T* release() noexcept {
    size_ = 0;
    return std::exchange(data_, nullptr);
  }

  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }

 private:
  static constexpr std::size_t kHugePage = std::size_t{1} << 21;
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace atrous
