// The lattice of positions on a grid has no holes: its vertices make lines along axis 1 that lie side by side, and blur
// needs no lists of neighbours.
#pragma once

#include <vector>

#include "lattice/keys.hpp"

namespace atrous {

struct Lines {
  // Vertex `start + i` of a line has the coordinate n_1 = first + i (above the lowest there can be).
  struct Line {
    Index start = 0, first = 0, count = 0;
  };
  std::vector<Line> lines;
  std::size_t width = 0;  // room for all n_1 and a neighbour on each side
  bool empty() const { return lines.empty(); }
};

// Tries to see the vertices of a two-dimensional lattice, packed by pack_grid and in ascending order, as lines. False
// where there are holes.
bool find_lines(const std::vector<Key64>& keys, const Packing<Key64>& packing, Lines& lines);

// values = blurred splat, one row a vertex. Each line passes through all axes while it is in the cache.
void splat_and_blur_lines(const Lines& lines, const Splat& splat, float* values, int threads);

}  // namespace atrous
