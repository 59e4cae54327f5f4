// Where points lie in the permutohedral lattice: the simplex around each and the weights of its corners.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lattice/keys.hpp"

namespace atrous {

constexpr int kMaxDimensions = 255;
constexpr std::size_t kMaxPoints = std::size_t{1} << 31;
// Positions in float32 keep at least an eighth of a cell up to here.
constexpr float kMaxCells = 1048576.0f;

// Where the features of the points come from. They are read in blocks: large images never stand in memory as
// features.
class Features {
 public:
  virtual ~Features() = default;
  virtual int dimensions() const = 0;
  // Lowest and highest value of each dimension: [dimensions][2].
  virtual void bounds(float* low_high) const = 0;
  // Features of `count` pixels, one dimension after the other: out[k * stride + i].
  virtual void fill(const std::uint32_t* pixels, std::size_t first, std::size_t count, float* out,
                    std::size_t stride) const = 0;
};

// Bounds of the features, checked: std::invalid_argument where one is not finite.
std::vector<float> find_bounds(const Features& features);

// Float32 operations in the order that pydensecrf has them: another order puts some points into other simplices.
// elevation.cpp is compiled without contraction to fused multiply-add.
class Elevation {
 public:
  static constexpr std::size_t kBlock = 64;  // points elevated together: the compiler makes vectors of them

  // A block of points on its way, one row of kBlock a dimension: fill `features`, call `locate`, ask for `corners`.
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

  // From features to the nearest remainder-0 vertex (divided by d+1), the differences from it, which then stand in
  // `elevated` (divided by d+1 as well), and their ranks.
  void locate(Block& block) const;

  // Corner 0 of the simplex around point i of a located block is the remainder-0 vertex: n_j = nearest_j - nearest_0.
  // Corner c lies one step behind corner c - 1 along axis_to(c). `weights` receives those of the corners 0..d.
  void corners(Block& block, std::size_t i, float* weights) const;
  int axis_to(const Block& block, int corner) const { return block.axis_of_rank[d_ - corner + 1]; }

  // What the n_j of points with features within low_high lie in, with room for the corners and their neighbours.
  // Throws std::invalid_argument where positions are beyond float32's precision.
  Reach reach(const std::vector<float>& low_high) const;

 private:
  int d_;
  std::vector<float> scale_;
};

}  // namespace atrous
