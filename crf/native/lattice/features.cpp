#include "lattice/features.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace atrous {
namespace {

class GridFeatures : public Features {
 public:
  GridFeatures(std::size_t height, std::size_t width, float x_std, float y_std)
      : height_(height), width_(width), x_std_(x_std), y_std_(y_std) {}
  int dimensions() const override { return 2; }
  void bounds(float* low_high) const override {
    const float far[2] = {static_cast<float>(width_ - 1) / x_std_, static_cast<float>(height_ - 1) / y_std_};
    for (int k = 0; k < 2; ++k) {
      low_high[2 * k] = std::min(0.0f, far[k]);
      low_high[2 * k + 1] = std::max(0.0f, far[k]);
      if (!(std::fabs(far[k]) < 1e30f)) low_high[2 * k] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  void fill(const std::uint32_t* pixels, std::size_t first, std::size_t count, float* out,
            std::size_t stride) const override {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t pixel = pixel_at(pixels, first + i);
      const auto width = static_cast<std::uint32_t>(width_);
      out[i] = static_cast<float>(pixel % width) / x_std_;
      out[stride + i] = static_cast<float>(pixel / width) / y_std_;
    }
  }

 protected:
  static std::uint32_t pixel_at(const std::uint32_t* pixels, std::size_t i) {
    return pixels != nullptr ? pixels[i] : static_cast<std::uint32_t>(i);
  }
  std::size_t height_, width_;
  float x_std_, y_std_;
};

// Writes the lowest and highest value of each of `columns` interleaved columns; NaN if any value is not finite.
template <class Value>
void column_bounds(const Value* values, std::size_t rows, int columns, const float* stds, float* low_high) {
  // Process 16 rows at a time, so that the compiler vectorises the loops.
  const std::size_t lanes = 16 * static_cast<std::size_t>(columns), size = rows * columns;
  std::vector<Value> low(lanes), high(lanes);
  std::vector<float> nan_marker(lanes, 0.0f);  // becomes NaN if a value is not finite
  for (std::size_t k = 0; k < lanes; ++k) low[k] = high[k] = values[k % columns];
  for (std::size_t first = 0; first < size; first += lanes) {
    const std::size_t count = std::min(lanes, size - first);
    const Value* row = values + first;
    for (std::size_t k = 0; k < count; ++k) low[k] = row[k] < low[k] ? row[k] : low[k];
    for (std::size_t k = 0; k < count; ++k) high[k] = row[k] > high[k] ? row[k] : high[k];
    if constexpr (std::is_floating_point_v<Value>)
      for (std::size_t k = 0; k < count; ++k) nan_marker[k] += row[k] - row[k];
  }
  for (std::size_t k = 0; k < lanes; ++k) {
    const std::size_t column = k % columns;
    low[column] = std::min(low[column], low[k]);
    high[column] = std::max(high[column], high[k]);
    nan_marker[column] += nan_marker[k];
  }
  for (int k = 0; k < columns; ++k) {
    const float std = stds != nullptr ? stds[k] : 1.0f;
    const float a = static_cast<float>(low[k]) / std, b = static_cast<float>(high[k]) / std;
    low_high[2 * k] = nan_marker[k] == 0.0f ? std::min(a, b) : std::numeric_limits<float>::quiet_NaN();
    low_high[2 * k + 1] = std::max(a, b);
  }
}

template <class Pixel>
class ImageFeatures : public GridFeatures {
 public:
  ImageFeatures(std::size_t height, std::size_t width, float x_std, float y_std, const Pixel* image, int channels,
                const float* stds)
      : GridFeatures(height, width, x_std, y_std),
        channels_(channels),
        image_(image, image + height * width * channels),
        stds_(stds, stds + channels) {}
  int dimensions() const override { return 2 + channels_; }
  void bounds(float* low_high) const override {
    GridFeatures::bounds(low_high);
    column_bounds(image_.data(), height_ * width_, channels_, stds_.data(), low_high + 4);
  }
  void fill(const std::uint32_t* pixels, std::size_t first, std::size_t count, float* out,
            std::size_t stride) const override {
    GridFeatures::fill(pixels, first, count, out, stride);
    for (int k = 0; k < channels_; ++k) {
      const float std = stds_[k];
      float* row = out + (2 + k) * stride;
      for (std::size_t i = 0; i < count; ++i)
        row[i] = static_cast<float>(image_[std::size_t{pixel_at(pixels, first + i)} * channels_ + k]) / std;
    }
  }

 private:
  int channels_;
  std::vector<Pixel> image_;
  std::vector<float> stds_;
};

class PointFeatures : public Features {
 public:
  PointFeatures(const float* features, std::size_t count, int dimensions)
      : count_(count), dimensions_(dimensions), features_(count * dimensions) {
    std::memcpy(features_.data(), features, sizeof(float) * count * dimensions);
  }
  int dimensions() const override { return dimensions_; }
  void bounds(float* low_high) const override {
    column_bounds(features_.data(), count_, dimensions_, nullptr, low_high);
  }
  void fill(const std::uint32_t* points, std::size_t first, std::size_t count, float* out,
            std::size_t stride) const override {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t point = points != nullptr ? points[first + i] : first + i;
      for (int k = 0; k < dimensions_; ++k) out[k * stride + i] = features_[point * dimensions_ + k];
    }
  }

 private:
  std::size_t count_;
  int dimensions_;
  Buffer<float> features_;
};

}  // namespace

std::unique_ptr<Features> grid_features(std::size_t height, std::size_t width, float x_std, float y_std) {
  return std::make_unique<GridFeatures>(height, width, x_std, y_std);
}

template <class Pixel>
std::unique_ptr<Features> image_features(std::size_t height, std::size_t width, float x_std, float y_std,
                                         const Pixel* image, int channels, const float* stds) {
  return std::make_unique<ImageFeatures<Pixel>>(height, width, x_std, y_std, image, channels, stds);
}

template std::unique_ptr<Features> image_features<float>(std::size_t, std::size_t, float, float, const float*, int,
                                                         const float*);
template std::unique_ptr<Features> image_features<std::uint8_t>(std::size_t, std::size_t, float, float,
                                                                const std::uint8_t*, int, const float*);

std::unique_ptr<Features> point_features(const float* features, std::size_t count, int dimensions) {
  return std::make_unique<PointFeatures>(features, count, dimensions);
}

}  // namespace atrous
