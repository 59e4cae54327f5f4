// The planes that two axes span: where colors are noisy, few vertices hang together in each.
#pragma once

#include <cstdint>
#include <vector>

#include "lattice/axes.hpp"

namespace atrous {

// Finds which vertices follow each other along two axes at once, without looking neighbours up: keys that differ in two
// fields only make a plane, and within it those fields count the steps along the two axes.
class Planes {
 public:
  // Of `first_axis` and the next one.
  Planes(const std::vector<Key64>& keys, const Packing<Key64>& packing, std::size_t first_axis);

  // False where a plane is too large to be worth it.
  bool are_small() const { return !cuts_.empty(); }

  // The lists of neighbours, plane by plane, in the order of their first vertices.
  AxisGroup link(int threads);

 private:
  struct Chains {
    Index* end[2];  // where the lists of the two axes go on
  };
  bool place_planes(std::vector<Index>& counts);
  void link_plane(std::size_t plane, Chains& chains);

  int bits_ = 0;
  std::size_t low_axis_ = 0;             // which of the two axes the lower field counts
  Buffer<std::uint64_t> members_;        // the two fields, the vertex; plane by plane, without lone vertices
  std::vector<std::size_t> begins_{0};   // of the planes in members_, and their end
  std::vector<std::size_t> cuts_;        // between chunks of planes
};

}  // namespace atrous
