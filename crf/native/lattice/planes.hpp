// The planes that two axes span. Where colors are noisy, each plane has few vertices.
#pragma once

#include <cstdint>
#include <vector>

#include "lattice/axes.hpp"

namespace atrous {

// Finds the chains of vertices along two axes at once, without looking up neighbours. Keys that differ in two fields
// only form a plane, and within the plane these fields count the steps along the two axes.
class Planes {
 public:
  // The planes of `first_axis` and the next axis.
  Planes(const std::vector<Key64>& keys, const Packing<Key64>& packing, std::size_t first_axis);

  // False if a plane is so large that looking up neighbours is faster.
  bool are_small() const { return !cuts_.empty(); }

  // Returns the chains, plane by plane, in the order of the planes' first vertices.
  AxisGroup link(int threads);

 private:
  struct Chains {
    Index* end[2];  // where the next chain of each axis is written
  };
  bool place_planes(std::vector<Index>& counts);
  void link_plane(std::size_t plane, Chains& chains);

  int bits_ = 0;
  std::size_t low_axis_ = 0;             // the axis (0 or 1) whose steps the lower field counts
  Buffer<std::uint64_t> members_;        // two fields, then the vertex; plane by plane, without planes of one vertex
  std::vector<std::size_t> begins_{0};   // where each plane begins in members_, and the end
  std::vector<std::size_t> cuts_;        // boundaries of the chunks of planes
};

}  // namespace atrous
