// The mean-field iterations: filter the marginals for all terms, then update every point. potts.cpp has the faster
// iterations for Potts models.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "inference/mean_field_internal.hpp"
#include "runtime/parallel.hpp"

namespace atrous {

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

void MeanField::filter_terms(const float* source, const Buffer<float>* sums, int channels,
                             std::vector<Buffer<float>>& values) {
  values.resize(terms_.size());
  FilterTimes times;
  for (std::size_t t = 0; t < terms_.size(); ++t) {
    const Lattice& lattice = *terms_[t]->lattice;
    const std::size_t size = lattice.num_vertices * channels;
    if (values[t].size() != size) values[t] = Buffer<float>(size);
    if (sums != nullptr && lattice.has_parts()) {
      gather_and_blur(lattice, sums[t].data(), values[t].data(), channels, threads_, &times);
    } else {
      splat_and_blur(lattice, source, values[t].data(), channels, threads_, &times);
    }
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

// Updates all points. With `divergence_of`, computes the divergence of those marginals instead.
double MeanField::update_general(float* marginals, float* output, const float* divergence_of, bool with_terms) {
  const Kernels& run = kernels();
  const int channels = padded_channels(num_classes_);
  std::vector<Buffer<float>> values;
  std::vector<LatticeView> views;
  std::vector<Compatibility> compatibilities;
  std::vector<std::vector<float>> padded;
  if (with_terms) {
    const float* source = divergence_of != nullptr ? divergence_of : marginals;
    filter_terms(source, nullptr, channels, values);
    for (std::size_t t = 0; t < terms_.size(); ++t) {
      const CompatibilityMatrix& c = terms_[t]->compatibility;
      views.push_back(terms_[t]->lattice->view(values[t].data()));
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
  update.terms = views.data();
  update.compatibilities = compatibilities.data();
  update.num_terms = static_cast<int>(views.size());
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
  // The caller may have changed the marginals, so that they need not sum to 1: every class keeps its channel.
  Buffer<float> rows = load_marginals(marginals);
  update_general(rows.data(), marginals, nullptr, true);
}

double MeanField::kl_divergence(const float* marginals) {
  prepare();
  const Buffer<float> rows = load_marginals(marginals);
  return update_general(nullptr, nullptr, rows.data(), true);
}

}  // namespace atrous
