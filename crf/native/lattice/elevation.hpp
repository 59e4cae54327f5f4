// Places points in the permutohedral lattice: the simplex that encloses each point, and the weights of its corners.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lattice/keys.hpp"

namespace atrous {

constexpr int kMaxDimensions = 255;
constexpr std::size_t kMaxPoints = std::size_t{1} << 31;
// Up to this many cells from the origin, float32 resolves at least an eighth of a cell.
constexpr float kMaxCells = 1048576.0f;

// Source of the points' features. They are read in blocks, so that the features of a large image are never all in
// memory.
class Features {
 public:
  virtual ~Features() = default;
  virtual int dimensions() const = 0;
  // Writes the lowest and highest value of each dimension: [dimensions][2].
  virtual void bounds(float* low_high) const = 0;
  // Writes the features of `count` pixels, one dimension after the other: out[k * stride + i].
  virtual void fill(const std::uint32_t* pixels, std::size_t first, std::size_t count, float* out,
                    std::size_t stride) const = 0;
};

// Returns the bounds of the features. Throws std::invalid_argument if one is not finite.
std::vector<float> find_bounds(const Features& features);

// Float32 operations in the same order as in pydensecrf: another order would put some points into other simplices. For
// the same reason elevation.cpp is compiled without contraction to fused multiply-add.
class Elevation {
 public:
  static constexpr std::size_t kBlock = 64;  // points processed together: the compiler vectorises the loops

  // Working memory for a block of points, one row of kBlock per dimension. Fill `features`, call `locate`, then
  // `corners`.
  struct Block {
    explicit Block(int d)
        : features(d * kBlock),
          elevated((d + 1) * kBlock),
          nearest((d + 1) * kBlock),
          rank((d + 1) * kBlock),
          axis_of_rank(d + 1),
          inner(d + 1) {}
    std::vector<float> features, elevated, nearest;
    std::vector<std::int32_t> rank;
    std::vector<int> axis_of_rank;
    std::vector<float> inner;
  };

  explicit Elevation(int dimensions);

  int dimensions() const { return d_; }

  // Computes, from the features, the nearest remainder-0 vertex (divided by d+1) in `nearest`, the differences from it
  // (also divided by d+1) in `elevated`, and the ranks of these differences.
  void locate(Block& block) const;

  // Computes the barycentric weights of corners 0..d of the simplex around point i of a located block. Corner 0 is the
  // remainder-0 vertex: n_j = nearest_j - nearest_0. Corner c is one step behind corner c - 1 along axis_to(c).
  void corners(Block& block, std::size_t i, float* weights) const;
  int axis_to(const Block& block, int corner) const { return block.axis_of_rank[d_ - corner + 1]; }

  // Returns bounds of the n_j for points whose features are within low_high, including the corners and their
  // neighbours. Throws std::invalid_argument if positions exceed float32's precision.
  Reach reach(const std::vector<float>& low_high) const;

 private:
  int d_;
  std::vector<float> scale_;
};

}  // namespace atrous
