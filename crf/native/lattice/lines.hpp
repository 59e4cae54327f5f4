// The lattice of the positions on a grid usually has no holes: its vertices form adjacent lines along axis 1, so the
// blur needs no lists of neighbours.
#pragma once

#include <vector>

#include "lattice/keys.hpp"

namespace atrous {

struct Lines {
  // Vertex `start + i` of a line has the coordinate n_1 = first + i, counted from the lower bound of n_1.
  struct Line {
    Index start = 0, first = 0, count = 0;
  };
  std::vector<Line> lines;
  std::size_t width = 0;  // number of values of n_1, plus a neighbour on each side
  bool empty() const { return lines.empty(); }
};

// Splits the vertices of a two-dimensional lattice, packed by pack_grid and in ascending order, into lines. False if
// the lattice has holes.
bool find_lines(const std::vector<Key64>& keys, const Packing<Key64>& packing, Lines& lines);

// values = blurred splat, one row per vertex. Each line is blurred along all axes while it is in the cache.
void splat_and_blur_lines(const Lines& lines, const Splat& splat, float* values, int threads);

}  // namespace atrous
