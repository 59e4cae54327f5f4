// The permutohedral lattice of a set of points (Adams, Baek, Davis 2010): which vertices each point touches, with
// which weights, and which vertices follow each other along each axis.
//
// In d dimensions the vertices are the integer combinations n_1 e_1 + ... + n_d e_d of d axes; the last of the d+1
// axes is e_0 = -(e_1 + ... + e_d). The corners of a simplex are reached from each other by one step along each axis
// in turn, so once the n of one corner is packed into a number, everything else is adding constants.
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

  // The same turned round: which points touch a vertex. Or, where many points share a vertex, which sums do: the points
  // are divided into parts, and those of a part are first added up, vertex by vertex.
  Buffer<std::uint32_t> first;  // [vertices + 1]
  Buffer<Entry> entries;
  Buffer<std::uint32_t> places;        // [points][d + 1]: which sum of its part; empty without parts
  std::vector<std::size_t> part_sums;  // where the sums of each part begin, and their number
  bool has_parts() const { return !part_sums.empty(); }

  // What the filter, once normalised, makes of ones: what the classes of a filtered point sum to.
  Buffer<float> ones;

  // How to blur: the lines of a lattice without holes, in whose order the vertices are numbered, or else groups of axes.
  // Then vertices are numbered as the points come to them (in fewer than three dimensions by their keys), so that what
  // is near in the photo is near in memory.
  Lines lines;
  std::vector<AxisGroup> groups;

  std::size_t bytes() const;

  Splice splice(const float* values) const {
    return {vertices.data(), weights.data(), values, dimensions + 1, !has_parts()};
  }
};

// `order`: internal place -> pixel, or null for identity. `ring` adds the neighbours of all vertices.
// Throws std::invalid_argument where features are not finite or lie too far out.
Lattice build_lattice(const Features& features, std::size_t num_points, const std::uint32_t* order, bool ring,
                      bool allows_parts, int threads);

// The points of one part; this depends on nothing but their number.
std::size_t points_of_part(std::size_t num_points);

}  // namespace atrous
