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

#include "buffer.hpp"
#include "kernels.hpp"

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
  virtual void bounds(float* low_high, int threads) const = 0;
  // Features of `count` pixels, one dimension after the other: out[k * stride + i].
  virtual void fill(const std::uint32_t* pixels, std::size_t first, std::size_t count, float* out,
                    std::size_t stride) const = 0;
};

struct Lattice {
  int dimensions = 0;
  std::size_t num_points = 0;
  std::size_t num_vertices = 0;
  Buffer<std::uint32_t> vertices;  // [points][d + 1]
  Buffer<float> weights;           // [points][d + 1]: barycentric

  // The same turned round: which points touch a vertex.
  Buffer<std::uint32_t> first;         // [vertices + 1]
  Buffer<std::uint32_t> entry_points;  // [points * (d + 1)]
  Buffer<float> entry_weights;

  // Blur goes axis by axis, but vertices that hang together along two axes are few where colors are noisy: such a
  // component goes through both while it is in the cache. Each group of axes has its lists: chains of vertices that
  // follow each other (see Kernels::blur), component by component, cut into chunks of similar size. Lone vertices are
  // left out, since blur does not change them. The vertices are numbered in the order of the first group, so that its
  // chunks are ranges and splat can run in the same pass.
  struct Group {
    struct Axis {
      Buffer<std::uint32_t> chains;
      std::size_t length = 0;
      std::vector<std::size_t> cuts{0};
    };
    std::vector<Axis> axes;
    std::vector<std::size_t> vertex_cuts{0};  // of the first group
    std::size_t num_chunks() const { return axes[0].cuts.size() - 1; }
  };
  std::vector<Group> groups;

  // The lattice of positions on a grid has no holes: its vertices make lines along axis 1 that lie side by side, and
  // blur needs no lists at all. Vertex `start + i` of a line has the coordinate n_1 = first + i. Empty otherwise.
  struct Line {
    std::uint32_t start = 0, first = 0, count = 0;
  };
  std::vector<Line> lines;
  std::size_t line_width = 0;  // largest n_1 and one more

  float alpha() const;  // factor that makes up for the blur's gain
  Splice splice(const float* values) const {
    return {vertices.data(), weights.data(), values, dimensions + 1};
  }
};

// `order`: internal place -> pixel, or null for identity. `ring` adds the neighbours of all vertices.
// Throws std::invalid_argument where features are not finite or lie too far out.
Lattice build_lattice(const Features& features, std::size_t num_points, const std::uint32_t* order, bool ring,
                      int threads);

// Fold the normalisation into the weights: the entries' by before[point], the points' by after[point] * factor.
void scale_weights(Lattice& lattice, const float* before, const float* after, float factor, int threads);

// values = blurred splat of source, one row a vertex.
struct FilterTimes {
  double splat = 0, blur = 0;
};
void splat_and_blur(const Lattice& lattice, const float* source, float* values, int channels, int threads,
                    FilterTimes* times = nullptr);

// One channel of ones through the lattice: [points].
Buffer<float> filter_ones(const Lattice& lattice, int threads);

}  // namespace atrous
