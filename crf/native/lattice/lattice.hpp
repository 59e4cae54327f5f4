// The permutohedral lattice of a set of points (Adams, Baek, Davis 2010): the vertices that each point touches, their
// weights, and the neighbours of the vertices along each axis.
//
// In d dimensions the vertices are the integer combinations n_1 e_1 + ... + n_d e_d of d axes. The remaining one of the
// d+1 axes is e_0 = -(e_1 + ... + e_d). A step along each axis in turn leads from one corner of a simplex to the next.
// So once the n_j of one corner are packed into a key, the keys of all other corners and neighbours follow by adding
// constants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lattice/axes.hpp"
#include "runtime/buffer.hpp"
#include "lattice/elevation.hpp"
#include "kernels/kernels.hpp"
#include "lattice/lines.hpp"

namespace atrous {

struct Lattice {
  int dimensions = 0;
  std::size_t num_points = 0;
  std::size_t num_vertices = 0;
  Buffer<std::uint32_t> vertices;  // [points][d + 1]
  Buffer<float> weights;           // [points][d + 1]: barycentric

  // The transpose in compressed sparse rows: for each vertex, the points that touch it. Where many points share a
  // vertex, the points are divided into parts instead: the points of a part are first summed up per vertex, and the
  // entries of a vertex are these partial sums.
  Buffer<std::uint32_t> first;  // [vertices + 1]
  Buffer<Entry> entries;
  Buffer<std::uint32_t> places;        // [points][d + 1]: index of the partial sum within the part; empty without parts
  std::vector<std::size_t> part_sums;  // where the partial sums of each part begin; the last is their total number
  bool has_parts() const { return !part_sums.empty(); }

  // [points]: the normalised filter applied to ones. The classes of a filtered point sum to this number.
  Buffer<float> ones;

  // How to blur. A two-dimensional lattice without holes has `lines`, and its vertices are numbered along them. All
  // other lattices have `groups`; their vertices are numbered in the order in which the points touch them (by key in
  // fewer than three dimensions), so that pixels that are near in the image are near in memory.
  Lines lines;
  std::vector<AxisGroup> groups;

  std::size_t bytes() const;

  LatticeView view(const float* values) const {
    return {vertices.data(), weights.data(), values, dimensions + 1, !has_parts()};
  }
};

// `order` maps the internal position of a point to its pixel; null for identity. `ring` adds the neighbours of all
// vertices. Throws std::invalid_argument if a feature is not finite or too far from the origin.
Lattice build_lattice(const Features& features, std::size_t num_points, const std::uint32_t* order, bool ring,
                      bool allows_parts, int threads);

// Returns the number of points per part, which depends on the number of points only.
std::size_t points_of_part(std::size_t num_points);

}  // namespace atrous
