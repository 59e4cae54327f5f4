// Chains of neighbouring vertices along each axis of a lattice: the blur processes these chains.
#pragma once

#include <vector>

#include "lattice/keys.hpp"

namespace atrous {

// The blur goes axis by axis. Where colors are noisy, only a few vertices are connected along two axes, so one such
// neighbourhood is blurred along both axes while it is in the cache. Each group covers one or two axes. Each axis has a
// list of chains of neighbouring vertices (see Kernels::blur), ordered by neighbourhood and cut into chunks of similar
// size. Vertices without a neighbour are left out, because the blur does not change them.
struct AxisGroup {
  struct Axis {
    Buffer<Index> chains;
    std::size_t length = 0;
    std::vector<std::size_t> cuts{0};
  };
  std::vector<Axis> axes;
  std::size_t num_chunks() const { return axes[0].cuts.size() - 1; }
};

// Returns the groups of all axes, in the order of the axes. `table` maps `keys` to vertices.
template <class Key, class Table>
std::vector<AxisGroup> group_axes(const std::vector<Key>& keys, const Table& table, const Packing<Key>& packing,
                                  int threads);

}  // namespace atrous
