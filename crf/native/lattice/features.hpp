// The features of a CRF's terms: pixel positions, positions and channels of an image, or any points.
#pragma once

#include <memory>

#include "lattice/elevation.hpp"

namespace atrous {

// The features (x / x_std, y / y_std) of the pixels of a grid.
std::unique_ptr<Features> grid_features(std::size_t height, std::size_t width, float x_std, float y_std);

// The same, followed by image[pixel][channel] / stds[channel]. Copies the image. Pixel is float or std::uint8_t.
template <class Pixel>
std::unique_ptr<Features> image_features(std::size_t height, std::size_t width, float x_std, float y_std,
                                         const Pixel* image, int channels, const float* stds);

// The given features[point][dimension], which are copied.
std::unique_ptr<Features> point_features(const float* features, std::size_t count, int dimensions);

}  // namespace atrous
