// Which vertices of a lattice follow each other along its axes.
#pragma once

#include <vector>

#include "lattice/keys.hpp"

namespace atrous {

// Blur goes axis by axis, but vertices that hang together along two axes are few where colors are noisy: such a
// neighbourhood goes through both while it is in the cache. Each group of one or two axes has its lists: chains of
// vertices that follow each other (see Kernels::blur), neighbourhood by neighbourhood, cut into chunks of similar
// size. Lone vertices are left out, since blur does not change them.
struct AxisGroup {
  struct Axis {
    Buffer<Index> chains;
    std::size_t length = 0;
    std::vector<std::size_t> cuts{0};
  };
  std::vector<Axis> axes;
  std::size_t num_chunks() const { return axes[0].cuts.size() - 1; }
};

// The groups of all axes, in the order of the axes. `table` finds the vertices of `keys`.
template <class Key, class Table>
std::vector<AxisGroup> group_axes(const std::vector<Key>& keys, const Table& table, const Packing<Key>& packing,
                                  int threads);

}  // namespace atrous
