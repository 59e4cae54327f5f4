// Lattices of positions, kept for the next image of the same size: they depend on nothing else.
#pragma once

#include <cstddef>
#include <memory>

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

// Null where none is kept.
std::shared_ptr<const Lattice> find_lattice(const PositionKey& key);

// The last few, as long as they need little memory together.
void keep_lattice(const PositionKey& key, std::shared_ptr<const Lattice> lattice);

void forget_lattices() noexcept;

}  // namespace atrous
