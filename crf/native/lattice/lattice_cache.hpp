// A cache of the lattices of pixel positions. They depend on nothing but the image size and the kernel widths, so the
// next image of the same size can use them again.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "lattice/lattice.hpp"

namespace atrous {

struct PositionKey {
  std::size_t height, width;
  float x_std, y_std;
  bool ring;
  int normalization;
  bool operator==(const PositionKey& o) const {
    return height == o.height && width == o.width && x_std == o.x_std && y_std == o.y_std && ring == o.ring &&
           normalization == o.normalization;
  }
};

// Holds the most recently used lattices, at most kMaxLattices of them and at most kMaxBytes together. Thread-safe.
class LatticeCache {
 public:
  // Null if the cache does not hold it.
  std::shared_ptr<const Lattice> get(const PositionKey& key);
  void put(const PositionKey& key, std::shared_ptr<const Lattice> lattice);
  void clear() noexcept;

  std::mutex mutex;  // public: singleton() locks it around a fork

 private:
  static constexpr std::size_t kMaxLattices = 4;
  static constexpr std::size_t kMaxBytes = std::size_t{128} << 20;

  struct Item {
    PositionKey key;
    std::shared_ptr<const Lattice> lattice;
  };
  std::vector<Item> items_;  // the most recently used one is last
};

// The cache of this process.
LatticeCache& lattice_cache();

}  // namespace atrous
