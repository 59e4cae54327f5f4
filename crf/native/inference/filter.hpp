// What a lattice does to rows of channels: splat, blur, slice, and the normalisation that goes with them.
#pragma once

#include <cstddef>

#include "runtime/buffer.hpp"
#include "lattice/lattice.hpp"

namespace atrous {

enum class Normalization { kNone = 0, kBefore = 1, kAfter = 2, kSymmetric = 3 };

constexpr bool is_before(Normalization n) { return n == Normalization::kBefore || n == Normalization::kSymmetric; }
constexpr bool is_after(Normalization n) { return n == Normalization::kAfter || n == Normalization::kSymmetric; }

// Folds the normalisation, and what makes up for the blur's gain, into the weights of a new lattice. One that allows parts
// has one set of weights for both ways: kNone or kSymmetric.
void normalize(Lattice& lattice, Normalization normalization, int threads);

// Where the part that begins with point `begin` adds up its rows, cleared.
Scatter begin_part(const Lattice& lattice, std::size_t begin, float* sums, int channels);

struct FilterTimes {
  double splat = 0, blur = 0;
};
// values = blurred splat of the points' rows, one row a vertex.
void splat_and_blur(const Lattice& lattice, const float* source, float* values, int channels, int threads,
                    FilterTimes* times = nullptr);
// The same where `sums` hold what the points of each part add up to; without parts, the points' rows again, or null for
// one channel of ones.
void gather_and_blur(const Lattice& lattice, const float* sums, float* values, int channels, int threads,
                     FilterTimes* times = nullptr);

// One channel of ones through the lattice: [points].
Buffer<float> filter_ones(const Lattice& lattice, int threads);

// The raw filter: splat, blur, slice and alpha; [points][channels] in and out.
void filter(const float* features, int dimensions, const float* values, int channels, std::size_t num_points,
            float* output, int threads, bool ring);

}  // namespace atrous
