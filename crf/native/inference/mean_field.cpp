// The terms of the energy, and the preparations before the first iteration. The other parts of MeanField are in
// unary.cpp, inference.cpp and potts.cpp.
#include "inference/mean_field.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "inference/mean_field_internal.hpp"
#include "runtime/parallel.hpp"

namespace atrous {
namespace {

constexpr std::size_t kTile = 64;  // pixels along the side of a tile

}  // namespace

MeanField::MeanField(int num_classes, std::size_t num_points, std::size_t height, std::size_t width, int threads,
                     bool ring)
    : num_classes_(num_classes),
      num_points_(num_points),
      height_(height),
      width_(width),
      threads_(threads > 0 ? threads : max_threads()),
      ring_(ring),
      unary_channels_(padded_channels(std::max(1, num_classes - 1))) {
  if (num_classes < 1 || num_points < 1) throw std::invalid_argument("at least one class and one point are needed");
  if (num_points >= kMaxPoints) throw std::invalid_argument("more than 2^31 points are not possible");
  if (height != 0 && (height > num_points || height * width != num_points))
    throw std::invalid_argument("height times width must be the number of points");
}

MeanField::~MeanField() = default;

void MeanField::require_grid(const char* what) const {
  if (height_ == 0) throw std::invalid_argument(std::string(what) + " needs height and width");
}

// ---- terms ----

void MeanField::add_term(std::unique_ptr<Features> features, CompatibilityMatrix compatibility,
                         Normalization normalization) {
  const auto number = static_cast<std::size_t>(num_classes_);
  const std::size_t expected[] = {1, number, number * number};
  if (compatibility.rank < 0 || compatibility.rank > 2 ||
      compatibility.values.size() != expected[compatibility.rank])
    throw std::invalid_argument("a compatibility is one number, one for each class, or a matrix of the classes");
  const int norm = static_cast<int>(normalization);
  if (norm < 0 || norm > 3) throw std::invalid_argument("normalization is 0, 1, 2 or 3");
  for (const float value : compatibility.values)
    if (!std::isfinite(value)) throw std::invalid_argument("a compatibility must be finite");
  auto term = std::make_unique<Term>();
  auto& values = compatibility.values;
  if (compatibility.rank == 0) {
    term->is_potts = true;
    term->strength = values[0];
  } else if (compatibility.rank == 1 && number >= 2) {
    term->is_potts = std::all_of(values.begin(), values.end() - 1, [&](float v) { return v == values[0]; });
    term->strength = -values[0];
    term->ratio = values[0] != 0.0f ? values.back() / values[0] : 1.0f;
    if (!std::isfinite(term->ratio) || (values[0] == 0.0f && values.back() != 0.0f)) term->is_potts = false;
  } else if (compatibility.rank == 2) {
    for (std::size_t i = 0; i < number; ++i)
      for (std::size_t j = 0; j < i; ++j)
        values[i * number + j] = values[j * number + i] = 0.5f * (values[i * number + j] + values[j * number + i]);
  }
  term->features = std::move(features);
  term->compatibility = std::move(compatibility);
  term->normalization = normalization;
  terms_.push_back(std::move(term));
}

void MeanField::add_positions(float x_std, float y_std, CompatibilityMatrix compatibility,
                              Normalization normalization) {
  require_grid("add_positions");
  add_term(grid_features(height_, width_, x_std, y_std), std::move(compatibility), normalization);
  terms_.back()->positions = PositionKey{height_, width_, x_std, y_std, ring_, static_cast<int>(normalization)};
}

template <class Pixel>
void MeanField::add_image(const Pixel* image, int channels, float x_std, float y_std, const float* stds,
                          CompatibilityMatrix compatibility, Normalization normalization) {
  require_grid("add_image");
  add_term(image_features(height_, width_, x_std, y_std, image, channels, stds), std::move(compatibility),
           normalization);
}

template void MeanField::add_image<float>(const float*, int, float, float, const float*, CompatibilityMatrix,
                                          Normalization);
template void MeanField::add_image<std::uint8_t>(const std::uint8_t*, int, float, float, const float*,
                                                 CompatibilityMatrix, Normalization);

void MeanField::add_features(const float* features, int dimensions, CompatibilityMatrix compatibility,
                             Normalization normalization) {
  add_term(point_features(features, num_points_, dimensions), std::move(compatibility), normalization);
}

// ---- preparation: everything that does not depend on the marginals ----

// Pixels are processed tile by tile, so that the vertices of a tile stay in the cache.
void MeanField::choose_order() {
  if (!order_.empty() || height_ == 0 || (height_ <= kTile && width_ <= kTile)) return;
  Buffer<std::uint32_t> order(num_points_);
  parallel_ranges(threads_, num_points_, kTile * width_, [&](std::size_t begin, std::size_t end) {
    std::vector<std::uint32_t> places(width_);
    for (std::size_t row = begin; row < end; row += width_) {
      find_places(row, width_, places.data());
      for (std::size_t x = 0; x < width_; ++x) order[places[x]] = static_cast<std::uint32_t>(row + x);
    }
  });
  order_ = std::move(order);
}

// Writes the internal positions of `count` consecutive pixels.
void MeanField::find_places(std::size_t first, std::size_t count, std::uint32_t* places) const {
  const std::size_t width = height_ == 0 ? count : width_;
  std::size_t y = height_ == 0 ? 0 : first / width, x = height_ == 0 ? 0 : first % width;
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t place = first + i;
    if (height_ != 0) {
      const std::size_t top = y / kTile * kTile, left = x / kTile * kTile;
      const std::size_t rows = std::min(kTile, height_ - top), columns = std::min(kTile, width - left);
      place = top * width + left * rows + (y - top) * columns + (x - left);
    }
    places[i] = static_cast<std::uint32_t>(place);
    if (++x == width) x = 0, ++y;
  }
}

void MeanField::build(Term& term) {
  if (term.positions) term.lattice = lattice_cache().get(*term.positions);
  if (term.lattice) return term.features.reset();
  const bool allows_parts = is_before(term.normalization) == is_after(term.normalization);
  Lattice lattice = build_lattice(*term.features, num_points_, order_.empty() ? nullptr : order_.data(), ring_,
                                  allows_parts, threads_);
  normalize(lattice, term.normalization, threads_);
  lattice.ones = filter_ones(lattice, threads_);
  term.lattice = std::make_shared<const Lattice>(std::move(lattice));
  if (term.positions) lattice_cache().put(*term.positions, term.lattice);
  term.features.reset();
}

void MeanField::prepare() {
  {
    Stopwatch watch(timings_["build"]);
    choose_order();
    // Largest lattice first, so that threads finish together: images have larger lattices than positions, and come
    // last.
    std::vector<Term*> missing;
    for (auto term = terms_.rbegin(); term != terms_.rend(); ++term)
      if ((*term)->features) missing.push_back(term->get());
    parallel_ranges(threads_, missing.size(), 1, [&](std::size_t i, std::size_t) { build(*missing[i]); },
                    Order::kAscending);
  }
  if (!log_unary_.empty()) return;
  const std::size_t channels = unary_channels_;  // without a unary, all classes are equal
  log_unary_ = Buffer<float>(num_points_ * channels);
  log_unary_last_ = Buffer<float>(num_points_);
  unary_shift_ = Buffer<float>(num_points_);
  for (std::size_t p = 0; p < num_points_; ++p) {
    for (std::size_t c = 0; c < channels; ++c)
      log_unary_[p * channels + c] = c + 1 < static_cast<std::size_t>(num_classes_) ? 0.0f : kLogPad;
    log_unary_last_[p] = unary_shift_[p] = 0.0f;
  }
}

std::vector<std::size_t> MeanField::vertices() {
  prepare();
  std::vector<std::size_t> counts;
  for (const auto& term : terms_) counts.push_back(term->lattice->num_vertices);
  return counts;
}

}  // namespace atrous
