// Where the features of a CRF's terms come from.
#pragma once

#include <memory>

#include "lattice/elevation.hpp"

namespace atrous {

// x / x_std and y / y_std of a grid's pixels.
std::unique_ptr<Features> grid_features(std::size_t height, std::size_t width, float x_std, float y_std);

// The same and image[pixel][channel] / stds[channel]; the image is copied. Pixel is float or std::uint8_t.
template <class Pixel>
std::unique_ptr<Features> image_features(std::size_t height, std::size_t width, float x_std, float y_std,
                                         const Pixel* image, int channels, const float* stds);

// features[point][dimension], copied.
std::unique_ptr<Features> point_features(const float* features, std::size_t count, int dimensions);

}  // namespace atrous
