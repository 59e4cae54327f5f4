#include "lattice/elevation.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <type_traits>

namespace atrous {

std::vector<float> find_bounds(const Features& features) {
  std::vector<float> low_high(2 * features.dimensions());
  features.bounds(low_high.data());
  for (const float value : low_high)
    if (!std::isfinite(value)) throw std::invalid_argument("features must be finite numbers");
  return low_high;
}

Elevation::Elevation(int dimensions) : d_(dimensions), scale_(dimensions) {
  const float spread = static_cast<float>(std::sqrt(2.0 / 3.0) * (d_ + 1));
  for (int i = 0; i < d_; ++i) scale_[i] = static_cast<float>(1.0 / std::sqrt(double(i + 2) * double(i + 1)) * spread);
}

void Elevation::locate(Block& block) const {
  const int d = d_;
  float* elevated = block.elevated.data();
  float* nearest = block.nearest.data();
  std::int32_t* rank = block.rank.data();
  float sum[kBlock] = {};
  for (int j = d; j > 0; --j) {
    const float* feature = block.features.data() + (j - 1) * kBlock;
    float* out = elevated + j * kBlock;
    const float scale = scale_[j - 1], factor = static_cast<float>(j);
    for (std::size_t i = 0; i < kBlock; ++i) {
      const float cf = feature[i] * scale;
      out[i] = sum[i] - factor * cf;
      sum[i] += cf;
    }
  }
  for (std::size_t i = 0; i < kBlock; ++i) elevated[i] = sum[i];

  const float down = 1.0f / static_cast<float>(d + 1), up = static_cast<float>(d + 1);
  float total[kBlock] = {};
  for (int j = 0; j <= d; ++j) {
    const float* e = elevated + j * kBlock;
    float* r = nearest + j * kBlock;
    for (std::size_t i = 0; i < kBlock; ++i) {
      r[i] = (e[i] * down + 12582912.0f) - 12582912.0f;  // rounds half to even
      total[i] += r[i];
    }
  }
  std::fill(rank, rank + (d + 1) * kBlock, 0);
  for (int j = 0; j < d; ++j) {
    for (int k = j + 1; k <= d; ++k) {
      const float *ej = elevated + j * kBlock, *ek = elevated + k * kBlock;
      const float *rj = nearest + j * kBlock, *rk = nearest + k * kBlock;
      std::int32_t *aj = rank + j * kBlock, *ak = rank + k * kBlock;
      for (std::size_t i = 0; i < kBlock; ++i) {
        const std::int32_t less = ej[i] - rj[i] * up < ek[i] - rk[i] * up;
        aj[i] += less;
        ak[i] += 1 - less;
      }
    }
  }
  // If the rounded vertex is not on the plane of sum zero, move it back onto the plane.
  for (int j = 0; j <= d; ++j) {
    float* r = nearest + j * kBlock;
    std::int32_t* a = rank + j * kBlock;
    for (std::size_t i = 0; i < kBlock; ++i) {
      const std::int32_t shifted = a[i] + static_cast<std::int32_t>(total[i]);
      const std::int32_t wrap = (shifted < 0 ? 1 : 0) - (shifted > d ? 1 : 0);
      a[i] = shifted + wrap * (d + 1);
      r[i] += static_cast<float>(wrap);
    }
  }
  for (int j = 0; j <= d; ++j) {
    float* e = elevated + j * kBlock;
    const float* r = nearest + j * kBlock;
    for (std::size_t i = 0; i < kBlock; ++i) e[i] = (e[i] - r[i] * up) * down;
  }
}

namespace {

// With 2 dimensions (positions) or 5 (positions and colors), the loop bounds are known at compile time.
template <class Dimensions>
inline void find_weights(Dimensions d, const Elevation::Block& block, std::size_t i, int* axis_of_rank, float* inner,
                         float* weights) {
  for (int j = 0; j <= d; ++j) {
    const int rank = block.rank[j * Elevation::kBlock + i];
    axis_of_rank[rank] = j;
    inner[rank] = block.elevated[j * Elevation::kBlock + i];
  }
  weights[0] = inner[d] + (1.0f - inner[0]);
  for (int c = 1; c <= d; ++c) weights[c] = inner[d - c] - inner[d - c + 1];
}

}  // namespace

void Elevation::corners(Block& block, std::size_t i, float* weights) const {
  int* axis_of_rank = block.axis_of_rank.data();
  float* inner = block.inner.data();
  if (d_ == 2) return find_weights(std::integral_constant<int, 2>(), block, i, axis_of_rank, inner, weights);
  if (d_ == 5) return find_weights(std::integral_constant<int, 5>(), block, i, axis_of_rank, inner, weights);
  find_weights(d_, block, i, axis_of_rank, inner, weights);
}

Reach Elevation::reach(const std::vector<float>& low_high) const {
  Reach reach{std::vector<std::int64_t>(d_), std::vector<std::int64_t>(d_)};
  std::vector<double> elevated_low(d_ + 1), elevated_high(d_ + 1);
  for (int j = 0; j <= d_; ++j) {
    double lo = 0, hi = 0;
    for (int k = std::max(j, 1); k <= d_; ++k) {
      const double factor = (k == j && j > 0) ? -double(j) : 1.0;
      const double a = factor * scale_[k - 1] * low_high[2 * (k - 1)];
      const double b = factor * scale_[k - 1] * low_high[2 * (k - 1) + 1];
      lo += std::min(a, b);
      hi += std::max(a, b);
    }
    elevated_low[j] = lo / (d_ + 1);
    elevated_high[j] = hi / (d_ + 1);
    if (!(std::fabs(elevated_low[j]) <= kMaxCells) || !(std::fabs(elevated_high[j]) <= kMaxCells))
      throw std::invalid_argument(
          "features reach more than about a million cells of the lattice from the origin, where float32 cannot "
          "tell positions apart; use wider standard deviations");
  }
  for (int j = 1; j <= d_; ++j) {
    reach.low[j - 1] = static_cast<std::int64_t>(std::floor(elevated_low[j] - elevated_high[0])) - 8;
    reach.high[j - 1] = static_cast<std::int64_t>(std::ceil(elevated_high[j] - elevated_low[0])) + 8;
  }
  return reach;
}

}  // namespace atrous
