#include "mean_field.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "features.hpp"
#include "parallel.hpp"

namespace atrous {
namespace {

constexpr std::size_t kGrain = 2048;  // points that one task works on
constexpr std::size_t kTile = 64;     // pixels along the side of a tile

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total), start_(seconds()) {}
  ~Stopwatch() { total_ += seconds() - start_; }

 private:
  double& total_;
  double start_;
};

}  // namespace

struct MeanField::Term {
  std::unique_ptr<Features> features;  // until the lattice is built
  CompatibilityMatrix compatibility;
  Normalization normalization;
  Lattice lattice;
  Buffer<float> ones;  // the filtered vector of ones: what the classes of a marginal sum to
  // Potts with strength w towards all classes but the last, w * ratio towards the last: [-w, ..., -w, -w ratio].
  bool is_potts = false;
  float strength = 0.0f, ratio = 1.0f;
};

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
  choose_order();
}

MeanField::~MeanField() = default;

void MeanField::need_grid(const char* what) const {
  if (height_ == 0) throw std::invalid_argument(std::string(what) + " needs height and width");
}

// ---- unary ----

// `read(block, first, count)` fills the energies of `count` pixels: block[class * count + i].
template <class Read>
void MeanField::read_unary(Read read) {
  Stopwatch watch(timings_["unary"]);
  const int rows = num_classes_ - 1;
  const std::size_t channels = unary_channels_;
  if (log_unary_.size() != num_points_ * channels) log_unary_ = Buffer<float>(num_points_ * channels);
  log_unary_last_ = Buffer<float>(num_points_);
  unary_shift_ = Buffer<float>(num_points_);
  constexpr std::size_t kBlock = 64;
  parallel_ranges(threads_, num_points_, kGrain, [&](std::size_t begin, std::size_t end) {
    std::vector<float> block(kBlock * num_classes_);
    for (std::size_t first = begin; first < end; first += kBlock) {
      const std::size_t count = std::min(kBlock, end - first);
      read(block.data(), first, count);
      float lowest[kBlock];
      for (std::size_t i = 0; i < count; ++i) lowest[i] = std::numeric_limits<float>::infinity();
      bool is_number = true;
      for (int c = 0; c < num_classes_; ++c) {
        const float* energy = block.data() + c * count;
        for (std::size_t i = 0; i < count; ++i) {
          is_number &= energy[i] > -std::numeric_limits<float>::infinity();
          lowest[i] = std::min(lowest[i], energy[i]);
        }
      }
      for (std::size_t i = 0; i < count; ++i) is_number &= lowest[i] < std::numeric_limits<float>::infinity();
      if (!is_number)
        throw std::invalid_argument(
            "the unary energies must be numbers above -infinity, with a finite one for each point");
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t p = place_of(first + i);
        float* row = log_unary_.data() + p * channels;
        for (int c = 0; c < rows; ++c) row[c] = std::max(lowest[i] - block[c * count + i], kLogZero);
        for (std::size_t c = rows; c < channels; ++c) row[c] = kLogPad;
        log_unary_last_[p] = std::max(lowest[i] - block[rows * count + i], kLogZero);
        unary_shift_[p] = lowest[i];
      }
    }
  });
  has_unary_ = true;
}

void MeanField::set_unary(const float* energy) {
  read_unary([&](float* block, std::size_t first, std::size_t count) {
    for (int c = 0; c < num_classes_; ++c)
      std::memcpy(block + c * count, energy + c * num_points_ + first, sizeof(float) * count);
  });
}

void MeanField::set_probabilities(const float* probabilities, std::size_t num_rows, const std::int32_t* live,
                                  std::size_t num_live) {
  std::vector<std::size_t> rows, rest;
  if (live == nullptr) {
    if (num_rows != static_cast<std::size_t>(num_classes_))
      throw std::invalid_argument("probabilities need a row for each class");
    for (std::size_t row = 0; row < num_rows; ++row) rows.push_back(row);
  } else {
    std::vector<bool> is_live(num_rows, false);
    for (std::size_t i = 0; i < num_live; ++i) {
      const auto row = static_cast<std::size_t>(live[i]);
      if (live[i] < 0 || row >= num_rows || is_live[row])
        throw std::invalid_argument("live must name different rows of the probabilities");
      is_live[row] = true;
      rows.push_back(row);
    }
    for (std::size_t row = 0; row < num_rows; ++row)
      if (!is_live[row]) rest.push_back(row);
    if (num_live + 1 != static_cast<std::size_t>(num_classes_) || rest.empty())
      throw std::invalid_argument("live classes and one for the rest must make num_classes");
  }
  read_unary([&](float* block, std::size_t first, std::size_t count) {
    const Kernels& run = kernels();
    const auto copy_row = [&](std::size_t row, float* to) {
      const float* from = probabilities + row * num_points_ + first;
      bool is_number = true;
      for (std::size_t i = 0; i < count; ++i) is_number &= from[i] == from[i];
      if (!is_number) throw std::invalid_argument("probabilities must not be NaN");
      std::memcpy(to, from, sizeof(float) * count);
    };
    for (std::size_t c = 0; c < rows.size(); ++c) copy_row(rows[c], block + c * count);
    run.energies(block, 1.0f, rows.size() * count);
    if (rest.empty()) return;
    float* sum = block + rows.size() * count;
    std::fill(sum, sum + count, 0.0f);
    std::vector<float> part(count);
    for (const std::size_t row : rest) {
      copy_row(row, part.data());
      for (std::size_t i = 0; i < count; ++i) sum[i] += std::clamp(part[i], 1e-5f, 1.0f);
    }
    run.energies(sum, std::numeric_limits<float>::max(), count);
  });
}

void MeanField::clear_unary() {
  has_unary_ = false;
  log_unary_ = Buffer<float>();
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
    if (values[0] == 0.0f && values.back() != 0.0f) term->is_potts = false;
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
  need_grid("add_positions");
  add_term(grid_features(height_, width_, x_std, y_std), std::move(compatibility), normalization);
}

template <class Pixel>
void MeanField::add_image(const Pixel* image, int channels, float x_std, float y_std, const float* stds,
                          CompatibilityMatrix compatibility, Normalization normalization) {
  need_grid("add_image");
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

// ---- preparation: all that does not depend on the marginals ----

// Pixels are worked on tile by tile, so that the vertices of a tile stay in the cache while it needs them.
void MeanField::choose_order() {
  if (height_ == 0 || (height_ <= kTile && width_ <= kTile)) return;
  order_ = Buffer<std::uint32_t>(num_points_);
  for (std::size_t pixel = 0; pixel < num_points_; ++pixel) order_[place_of(pixel)] = static_cast<std::uint32_t>(pixel);
}

std::size_t MeanField::place_of(std::size_t pixel) const {
  if (height_ == 0) return pixel;
  const std::size_t y = pixel / width_, x = pixel % width_;
  const std::size_t top = y / kTile * kTile, left = x / kTile * kTile;
  const std::size_t rows = std::min(kTile, height_ - top), columns = std::min(kTile, width_ - left);
  return top * width_ + left * rows + (y - top) * columns + (x - left);
}

void MeanField::build(Term& term) {
  const bool is_symmetric = term.normalization == Normalization::kSymmetric;
  const bool before = is_symmetric || term.normalization == Normalization::kBefore;
  const bool after = is_symmetric || term.normalization == Normalization::kAfter;
  const float gain = alpha(term.features->dimensions());
  Lattice& lattice = term.lattice;
  lattice = build_lattice(*term.features, num_points_, order_.empty() ? nullptr : order_.data(), ring_, threads_);
  Buffer<float> norm;
  if (before || after) norm = filter_ones(lattice, threads_);
  for (float& value : norm) {
    const float sum = value * gain + 1e-20f;
    value = is_symmetric ? 1.0f / std::sqrt(sum) : 1.0f / sum;
  }
  scale_weights(lattice, before ? norm.data() : nullptr, after ? norm.data() : nullptr, gain, threads_);
  term.ones = filter_ones(lattice, threads_);
  term.features.reset();
}

void MeanField::prepare() {
  {
    Stopwatch watch(timings_["build"]);
    // The last term first: images make larger lattices than positions, and whoever begins with one is helped later.
    std::vector<Term*> missing;
    for (auto term = terms_.rbegin(); term != terms_.rend(); ++term)
      if ((*term)->features) missing.push_back(term->get());
    parallel_ranges(threads_, missing.size(), 1, [&](std::size_t i, std::size_t) { build(*missing[i]); });
  }
  if (!log_unary_.empty()) return;
  const std::size_t channels = unary_channels_;  // no unary: all classes alike
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
  for (const auto& term : terms_) counts.push_back(term->lattice.num_vertices);
  return counts;
}

// ---- inference ----

bool MeanField::shares_potts_path(float& ratio) const {
  ratio = 1.0f;
  bool seen = false;
  for (const auto& term : terms_) {
    if (!term->is_potts) return false;
    if (term->strength == 0.0f) continue;
    if (seen && std::fabs(term->ratio - ratio) > 1e-6f * std::fabs(ratio)) return false;
    ratio = term->ratio;
    seen = true;
  }
  return num_classes_ >= 2 && num_classes_ <= 4000;
}

void MeanField::filter_terms(const float* source, int channels, std::vector<Buffer<float>>& values) {
  values.resize(terms_.size());
  FilterTimes times;
  for (std::size_t t = 0; t < terms_.size(); ++t) {
    const std::size_t size = terms_[t]->lattice.num_vertices * channels;
    if (values[t].size() != size) values[t] = Buffer<float>(size);
    splat_and_blur(terms_[t]->lattice, source, values[t].data(), channels, threads_, &times);
  }
  timings_["splat"] += times.splat;
  timings_["blur"] += times.blur;
}

void MeanField::infer(int iterations, float* output, bool (*interrupted)()) {
  prepare();
  float ratio = 1.0f;
  if (shares_potts_path(ratio)) {
    infer_potts(iterations, ratio, output, interrupted);
  } else {
    infer_general(iterations, output, interrupted);
  }
}

void MeanField::infer_potts(int iterations, float ratio, float* output, bool (*interrupted)()) {
  const Kernels& run = kernels();
  const int channels = unary_channels_;
  const std::uint32_t* order = order_.empty() ? nullptr : order_.data();
  Buffer<float> marginals(num_points_ * channels);
  Buffer<float> potts_sum;
  float largest = 0.0f;
  if (!terms_.empty()) {
    potts_sum = Buffer<float>(num_points_);
    potts_sum.fill(0.0f);
    for (const auto& term : terms_) {
      const float strength = term->strength;
      for (std::size_t p = 0; p < num_points_; ++p) potts_sum[p] += strength * term->ones[p];
    }
    for (const float sum : potts_sum) largest = std::max(largest, std::fabs(sum));
  }
  largest *= std::max(1.0f, std::fabs(ratio));
  std::vector<Buffer<float>> values;
  std::vector<Splice> splices(terms_.size());
  std::vector<float> strengths;
  for (const auto& term : terms_) strengths.push_back(term->strength);
  for (int iteration = 0; iteration <= iterations; ++iteration) {
    const bool first = iteration == 0, last = iteration == iterations;
    if (!first) filter_terms(marginals.data(), channels, values);
    for (std::size_t t = 0; t < terms_.size() && !first; ++t)
      splices[t] = terms_[t]->lattice.splice(values[t].data());
    Stopwatch watch(timings_["slice"]);
    PottsUpdate update{};
    update.terms = splices.data();
    update.strengths = strengths.data();
    update.num_terms = first ? 0 : static_cast<int>(terms_.size());
    update.log_unary = log_unary_.data();
    update.log_unary_last = log_unary_last_.data();
    update.potts_sum = first || terms_.empty() ? nullptr : potts_sum.data();
    update.last_ratio = ratio;
    // The unary's largest exponent is 0 and messages move it by `largest` at most: e^80 times all classes fits.
    update.search_max = !(largest < 80.0f);
    update.marginals = last ? nullptr : marginals.data();
    update.output = last ? output : nullptr;
    update.order = order;
    update.channels = channels;
    update.num_classes = num_classes_;
    parallel_ranges(threads_, num_points_, kGrain,
                    [&](std::size_t begin, std::size_t end) { run.update_potts(update, begin, end); });
    if (interrupted != nullptr && interrupted()) return;
  }
}

// One pass over the points; with `divergence_of` the sum that makes the divergence.
double MeanField::update_general(float* marginals, float* output, const float* divergence_of, bool with_terms) {
  const Kernels& run = kernels();
  const int channels = padded_channels(num_classes_);
  std::vector<Buffer<float>> values;
  std::vector<Splice> splices;
  std::vector<Compatibility> compatibilities;
  std::vector<std::vector<float>> padded;
  if (with_terms) {
    const float* source = divergence_of != nullptr ? divergence_of : marginals;
    filter_terms(source, channels, values);
    for (std::size_t t = 0; t < terms_.size(); ++t) {
      const CompatibilityMatrix& c = terms_[t]->compatibility;
      splices.push_back(terms_[t]->lattice.splice(values[t].data()));
      padded.emplace_back(c.rank == 2 ? std::size_t(channels) * channels : channels, 0.0f);
      for (int i = 0; i < num_classes_; ++i) {
        if (c.rank < 2) {
          padded[t][i] = c.rank == 0 ? -c.values[0] : c.values[i];
        } else {
          std::copy_n(&c.values[std::size_t(i) * num_classes_], num_classes_,
                      &padded[t][std::size_t(i) * channels]);
        }
      }
      compatibilities.push_back({c.rank < 2 ? padded[t].data() : nullptr, c.rank == 2 ? padded[t].data() : nullptr});
    }
  }
  Stopwatch watch(timings_["slice"]);
  GeneralUpdate update{};
  update.terms = splices.data();
  update.compatibilities = compatibilities.data();
  update.num_terms = static_cast<int>(splices.size());
  update.log_unary = log_unary_.data();
  update.log_unary_last = log_unary_last_.data();
  update.unary_channels = unary_channels_;
  update.marginals = marginals;
  update.output = output;
  update.order = order_.empty() ? nullptr : order_.data();
  update.channels = channels;
  update.num_classes = num_classes_;
  update.divergence_of = divergence_of;
  update.unary_shift = unary_shift_.data();
  std::vector<double> sums((num_points_ + kGrain - 1) / kGrain);
  parallel_ranges(threads_, num_points_, kGrain, [&](std::size_t begin, std::size_t end) {
    std::vector<float> scratch(2 * channels);
    sums[begin / kGrain] = run.update_general(update, scratch.data(), begin, end);
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

void MeanField::infer_general(int iterations, float* output, bool (*interrupted)()) {
  Buffer<float> marginals(num_points_ * padded_channels(num_classes_));
  for (int iteration = 0; iteration <= iterations; ++iteration) {
    const bool last = iteration == iterations;
    update_general(marginals.data(), last ? output : nullptr, nullptr, iteration > 0);
    if (interrupted != nullptr && interrupted()) return;
  }
}

void MeanField::start(float* output) {
  if (!has_unary_) {
    std::fill(output, output + num_points_ * num_classes_, 0.0f);
    return;
  }
  prepare();
  update_general(nullptr, output, nullptr, false);
}

Buffer<float> MeanField::load_marginals(const float* marginals) {
  const std::size_t channels = padded_channels(num_classes_);
  Buffer<float> rows(num_points_ * channels);
  parallel_ranges(threads_, num_points_, kGrain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      const std::size_t pixel = order_.empty() ? p : order_[p];
      float* row = &rows[p * channels];
      std::memcpy(row, marginals + pixel * num_classes_, sizeof(float) * num_classes_);
      for (std::size_t c = num_classes_; c < channels; ++c) row[c] = 0.0f;
    }
  });
  return rows;
}

void MeanField::step(float* marginals) {
  prepare();
  // Whoever steps may have changed the marginals: they need not sum to 1, so every class keeps its channel.
  Buffer<float> rows = load_marginals(marginals);
  update_general(rows.data(), marginals, nullptr, true);
}

double MeanField::kl_divergence(const float* marginals) {
  prepare();
  const Buffer<float> rows = load_marginals(marginals);
  return update_general(nullptr, nullptr, rows.data(), true);
}

// ---- classes that were merged into one ----

void expand(const float* refined, const float* probabilities, std::size_t num_rows, std::size_t num_points,
            const std::int32_t* live, std::size_t num_live, float* output, int threads) {
  std::vector<std::size_t> place(num_rows, num_live);
  for (std::size_t i = 0; i < num_live; ++i) {
    if (live[i] < 0 || static_cast<std::size_t>(live[i]) >= num_rows)
      throw std::invalid_argument("live must name rows of the probabilities");
    place[static_cast<std::size_t>(live[i])] = i;
  }
  const std::size_t columns = num_live + 1;
  parallel_ranges(threads > 0 ? threads : max_threads(), num_points, kGrain, [&](std::size_t begin, std::size_t end) {
    constexpr std::size_t kBlock = 256;
    for (std::size_t first = begin; first < end; first += kBlock) {
      const std::size_t count = std::min(kBlock, end - first);
      float scale[kBlock] = {};
      for (std::size_t row = 0; row < num_rows; ++row) {
        if (place[row] < num_live) continue;
        const float* from = probabilities + row * num_points + first;
        for (std::size_t i = 0; i < count; ++i) scale[i] += std::clamp(from[i], 1e-5f, 1.0f);
      }
      for (std::size_t i = 0; i < count; ++i) scale[i] = refined[(first + i) * columns + num_live] / scale[i];
      for (std::size_t row = 0; row < num_rows; ++row) {
        const float* from = probabilities + row * num_points + first;
        float* to = output + row * num_points + first;
        if (place[row] < num_live) {
          for (std::size_t i = 0; i < count; ++i) to[i] = refined[(first + i) * columns + place[row]];
        } else {
          for (std::size_t i = 0; i < count; ++i) to[i] = scale[i] * std::clamp(from[i], 1e-5f, 1.0f);
        }
      }
    }
  });
}

// ---- the raw filter ----

void filter(const float* features, int dimensions, const float* values, int channels, std::size_t num_points,
            float* output, int threads, bool ring) {
  threads = threads > 0 ? threads : max_threads();
  const auto source = point_features(features, num_points, dimensions);
  Lattice lattice = build_lattice(*source, num_points, nullptr, ring, threads);
  scale_weights(lattice, nullptr, nullptr, alpha(dimensions), threads);
  const std::size_t row = padded_channels(channels);
  Buffer<float> rows(num_points * row), filtered(lattice.num_vertices * row);
  for (std::size_t p = 0; p < num_points; ++p)
    for (std::size_t c = 0; c < row; ++c)
      rows[p * row + c] = c < static_cast<std::size_t>(channels) ? values[p * channels + c] : 0.0f;
  splat_and_blur(lattice, rows.data(), filtered.data(), static_cast<int>(row), threads);
  const Slice slice{lattice.splice(filtered.data()), rows.data(), static_cast<int>(row)};
  parallel_ranges(threads, num_points, kGrain,
                  [&](std::size_t begin, std::size_t end) { kernels().slice(slice, begin, end); });
  for (std::size_t p = 0; p < num_points; ++p)
    for (int c = 0; c < channels; ++c) output[p * channels + c] = rows[p * row + c];
}

}  // namespace atrous
