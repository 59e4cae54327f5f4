// Filters rows of channels on a lattice (splat, blur, slice), and normalises the filter.
#pragma once

#include <cstddef>

#include "runtime/buffer.hpp"
#include "lattice/lattice.hpp"

namespace atrous {

enum class Normalization { kNone = 0, kBefore = 1, kAfter = 2, kSymmetric = 3 };

constexpr bool is_before(Normalization n) { return n == Normalization::kBefore || n == Normalization::kSymmetric; }
constexpr bool is_after(Normalization n) { return n == Normalization::kAfter || n == Normalization::kSymmetric; }

// Folds the normalisation, and the factor alpha that compensates the blur's gain, into the weights of a new lattice. A
// lattice with parts has one set of weights for splat and slice, so it allows kNone and kSymmetric only.
void normalize(Lattice& lattice, Normalization normalization, int threads);

// Returns the partial sums, cleared, of the part that begins with point `begin`.
Scatter begin_part(const Lattice& lattice, std::size_t begin, float* sums, int channels);

struct FilterTimes {
  double splat = 0, blur = 0;
};
// values = the blurred splat of the points' rows, one row per vertex.
void splat_and_blur(const Lattice& lattice, const float* source, float* values, int channels, int threads,
                    FilterTimes* times = nullptr);
// The same if `sums` already hold the partial sums of all parts. For a lattice without parts, `sums` are the points'
// rows, or null for one channel of ones.
void gather_and_blur(const Lattice& lattice, const float* sums, float* values, int channels, int threads,
                     FilterTimes* times = nullptr);

// Returns the filtered ones: [points].
Buffer<float> filter_ones(const Lattice& lattice, int threads);

// Applies the filter without normalisation (splat, blur, slice and alpha): [points][channels] in and out.
void filter(const float* features, int dimensions, const float* values, int channels, std::size_t num_points,
            float* output, int threads, bool ring);

}  // namespace atrous
