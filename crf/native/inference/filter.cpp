#include "inference/filter.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "lattice/features.hpp"
#include "runtime/parallel.hpp"

namespace atrous {
namespace {

constexpr std::size_t kSliced = 1u << 12;  // points per task

// Returns the factor that compensates the blur's gain.
float alpha(int dimensions) { return 1.0f / (1.0f + std::pow(2.0f, -static_cast<float>(dimensions))); }

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Returns the blurred splat of ones: one number per vertex.
Buffer<float> blurred_ones(const Lattice& lattice, int threads) {
  Buffer<float> ones, values(lattice.num_vertices);
  if (lattice.has_parts()) {
    ones = Buffer<float>(lattice.num_points);
    ones.fill(1.0f);
  }
  splat_and_blur(lattice, ones.data(), values.data(), 1, threads);
  return values;
}

}  // namespace

void normalize(Lattice& lattice, Normalization normalization, int threads) {
  const std::size_t corners = lattice.dimensions + 1, points = lattice.num_points;
  const float gain = alpha(lattice.dimensions);
  const bool is_symmetric = normalization == Normalization::kSymmetric;
  Buffer<float> values, norm;
  if (normalization != Normalization::kNone) {
    values = blurred_ones(lattice, threads);
    norm = Buffer<float>(points);
  }
  const Slice slice{lattice.view(values.data()), norm.data(), 1};
  parallel_ranges(threads, points, kSliced, [&](std::size_t begin, std::size_t end) {
    if (!norm.empty()) kernels().slice(slice, begin, end);
    for (std::size_t p = begin; p < end; ++p) {
      float scale = gain;
      if (!norm.empty()) {
        const float sum = norm[p] * gain + 1e-20f;
        norm[p] = is_symmetric ? 1.0f / std::sqrt(sum) : 1.0f / sum;
        if (is_after(normalization)) scale *= norm[p];
      }
      for (std::size_t k = 0; k < corners; ++k) lattice.weights[p * corners + k] *= scale;
    }
  });
  if (lattice.has_parts()) {
    // Splat and slice share one set of weights, so alpha would be applied twice: undo it once here.
    for (Entry& entry : lattice.entries) entry.weight = 1.0f / gain;
  } else if (is_before(normalization)) {
    parallel_ranges(threads, points * corners, 1u << 16, [&](std::size_t begin, std::size_t end) {
      for (std::size_t e = begin; e < end; ++e) lattice.entries[e].weight *= norm[lattice.entries[e].row];
    });
  }
}

Scatter begin_part(const Lattice& lattice, std::size_t begin, float* sums, int channels) {
  const std::size_t* range = &lattice.part_sums[begin / points_of_part(lattice.num_points)];
  std::fill(sums + range[0] * channels, sums + range[1] * channels, 0.0f);
  return {lattice.places.data(), lattice.weights.data(), sums + range[0] * channels, lattice.dimensions + 1};
}

void splat_and_blur(const Lattice& lattice, const float* source, float* values, int channels, int threads,
                    FilterTimes* times) {
  if (!lattice.has_parts()) return gather_and_blur(lattice, source, values, channels, threads, times);
  const double start = seconds();
  Buffer<float> sums(lattice.part_sums.back() * channels);
  parallel_ranges(threads, lattice.num_points, points_of_part(lattice.num_points),
                  [&](std::size_t begin, std::size_t end) {
                    const Scatter part = begin_part(lattice, begin, sums.data(), channels);
                    kernels().scatter(part, source, channels, begin, end);
                  });
  if (times != nullptr) times->splat += seconds() - start;
  gather_and_blur(lattice, sums.data(), values, channels, threads, times);
}

void gather_and_blur(const Lattice& lattice, const float* sums, float* values, int channels, int threads,
                     FilterTimes* times) {
  const Kernels& run = kernels();
  const double start = seconds();
  const Splat splat{lattice.first.data(), lattice.entries.data(), sums, lattice.num_vertices, channels};
  if (!lattice.lines.empty()) {
    splat_and_blur_lines(lattice.lines, splat, values, threads);
  } else {
    parallel_ranges(threads, lattice.num_vertices, 1024, [&](std::size_t begin, std::size_t end) {
      run.splat(splat, values + begin * channels, begin, end);
    });
  }
  const double middle = seconds();
  for (const auto& group : lattice.groups) {
    parallel_ranges(threads, group.num_chunks(), 4, [&](std::size_t begin, std::size_t end) {
      for (std::size_t chunk = begin; chunk < end; ++chunk)
        for (const auto& axis : group.axes)
          run.blur(axis.chains.data(), axis.length, values, channels, axis.cuts[chunk], axis.cuts[chunk + 1]);
    });
  }
  if (times != nullptr) {
    times->splat += middle - start;
    times->blur += seconds() - middle;
  }
}

Buffer<float> filter_ones(const Lattice& lattice, int threads) {
  const Buffer<float> values = blurred_ones(lattice, threads);
  Buffer<float> filtered(lattice.num_points);
  const Slice slice{lattice.view(values.data()), filtered.data(), 1};
  parallel_ranges(threads, lattice.num_points, kSliced,
                  [&](std::size_t begin, std::size_t end) { kernels().slice(slice, begin, end); });
  return filtered;
}

void filter(const float* features, int dimensions, const float* values, int channels, std::size_t num_points,
            float* output, int threads, bool ring) {
  threads = threads > 0 ? threads : max_threads();
  const auto source = point_features(features, num_points, dimensions);
  Lattice lattice = build_lattice(*source, num_points, nullptr, ring, false, threads);
  normalize(lattice, Normalization::kNone, threads);
  const std::size_t row = padded_channels(channels);
  Buffer<float> rows(num_points * row), filtered(lattice.num_vertices * row);
  for (std::size_t p = 0; p < num_points; ++p)
    for (std::size_t c = 0; c < row; ++c)
      rows[p * row + c] = c < static_cast<std::size_t>(channels) ? values[p * channels + c] : 0.0f;
  splat_and_blur(lattice, rows.data(), filtered.data(), static_cast<int>(row), threads);
  const Slice slice{lattice.view(filtered.data()), rows.data(), static_cast<int>(row)};
  parallel_ranges(threads, num_points, kSliced,
                  [&](std::size_t begin, std::size_t end) { kernels().slice(slice, begin, end); });
  for (std::size_t p = 0; p < num_points; ++p)
    for (int c = 0; c < channels; ++c) output[p * channels + c] = rows[p * row + c];
}

}  // namespace atrous
