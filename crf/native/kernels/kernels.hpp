// The inner loops of the mean field: one table of functions per instruction set.
//
// A "row" holds the channels of one point or of one lattice vertex. Its length is `padded_channels(channels)`, so that
// it consists of whole vectors. Lanes beyond `channels` hold numbers that are not used.
#pragma once

#include <cstddef>
#include <cstdint>

namespace atrous {

// Non-owning view of a lattice, as the kernels read it. `corners` is d+1, the number of vertices of the simplex around
// a point.
struct LatticeView {
  const std::uint32_t* vertices;  // [points][corners]
  const float* weights;           // [points][corners]
  const float* values;            // [vertices][row]
  int corners;
  bool is_far;  // whether the values exceed the cache, so that prefetching helps
};

struct Entry {
  std::uint32_t row;
  float weight;
};

struct Splat {
  const std::uint32_t* first;    // [vertices + 1]: index of the first entry of each vertex
  const Entry* entries;
  const float* source;           // [points][row], or null for one channel of ones
  std::size_t num_vertices;
  int channels;  // padded
};

constexpr int kUpdateBatch = 16;  // points that are updated together

// Adds the rows of points to the partial sums of their part: row `places[...]` of `sums` += weight * row of the point.
// Only one thread works on a part.
struct Scatter {
  const std::uint32_t* places;  // [points][corners]
  const float* weights;         // [points][corners]
  float* sums;                  // [places][row]
  int corners;
};

struct Slice {
  LatticeView view;
  float* target;  // [points][row]
  int channels;   // padded
};

// The classes without a channel, treated as one class without a message.
struct PrunedClasses {
  const float* log_unary;       // [points][row] of all classes
  const float* log_unary_last;  // [points]
  int channels;                 // padded length of these rows
  float limit;                  // if the sum of the pruned classes is below this, so is each of them
  float* maxima;                // [channels + 1]: updated where the sum is not below the limit
};

struct PrunedUnary {
  const float* log_unary;         // as in PrunedClasses
  const float* log_unary_last;
  int channels, num_classes;
  const std::int32_t* active_in;  // [num_active_in]: classes with a channel, ascending
  int num_active_in, channels_in;
  float* active_unary;            // [points][channels_in]: unary of the active classes
  float* pruned_unary;            // [points]: logarithm of the sum of the other classes
  float* scratch;                 // [kUpdateBatch * channels]
};

// One mean-field update if every compatibility is a Potts model. The filtered classes of a point sum to a known number,
// so the last class needs no channel: its message is that number minus the messages of the others.
struct PottsUpdate {
  const LatticeView* terms;
  const float* strengths;       // [terms]
  int num_terms;
  const float* log_unary;       // [points][row]: -energy of all classes but the last
  const float* log_unary_last;  // [points], plus last_ratio * the sum of the messages to all classes
  float last_ratio;             // strength of the last class over that of the others; 1 unless it is merged
  bool search_max;              // exponents may exceed the range of exp: subtract the largest one first
  float* marginals;             // [points][row], or null
  const Scatter* scatters;      // the new marginals are added to these at once
  int num_scatters;
  float* output;                // [points][num_classes] in the order of the image, or null
  const std::uint32_t* order;   // internal position -> pixel; null for identity
  int channels;                 // padded
  int num_classes;
  // The largest marginal of each channel, then of the last class; updated with these points. Only with more than two
  // classes.
  float* maxima;                // [channels + 1], or null
  // The classes that the last class stands for, or null. Requires `maxima`, and 4 to kMaxActive channels.
  const PrunedClasses* pruned;
};

constexpr int kMaxActive = 32;  // channels

// The same update if the terms' values have channels for some of the classes only. The messages to all other classes
// are 0. Class numbers are in ascending order. `marginals` and `scatters` take rows of the classes in active_out.
struct SparseUpdate {
  PottsUpdate all;                 // log_unary_last is the unary only
  const std::int32_t* active_in;   // [num_active_in]: the class of each channel of the values
  int num_active_in;
  int channels_in;                 // padded
  const std::int32_t* active_out;  // [num_active_out]: the class of each channel of the new marginals
  int num_active_out;
  int channels_out;                // padded
  float* scratch;                  // [kUpdateBatch * all.channels + channels_out]
};

// The energies of a block of points, class by class, which fill_unary converts to rows of the unary.
constexpr int kUnaryBlock = 64;  // points per block

struct UnaryBlock {
  const float* energies;        // [classes][kUnaryBlock]
  const std::uint32_t* places;  // [count]: the row of each point
  int count;
  int num_classes;
  int channels;                 // padded
  float* log_unary;             // [points][row]: lowest energy - energy of all classes but the last
  float* log_unary_last;        // [points]
  float* shift;                 // [points]: the lowest energy
};

// The general update: any compatibility; every class has a channel.
struct Compatibility {
  const float* vector;  // [row] or null
  const float* matrix;  // [row][row] (symmetric) or null
};

struct GeneralUpdate {
  const LatticeView* terms;
  const Compatibility* compatibilities;
  int num_terms;
  const float* log_unary;       // as in PottsUpdate
  const float* log_unary_last;
  int unary_channels;           // padded length of log_unary's rows
  float* marginals;             // [points][row], or null
  float* output;
  const std::uint32_t* order;
  int channels;                 // padded
  int num_classes;
  // If not null, the divergence of these marginals is computed instead: one sum per range.
  const float* divergence_of;   // [points][row] or null
  const float* unary_shift;     // [points]: the number that was subtracted from the energies
};

struct Kernels {
  const char* name;
  // Writes the rows of the vertices begin..end-1 to `values`, starting with vertex `begin`.
  void (*splat)(const Splat&, float* values, std::size_t begin, std::size_t end);
  // source: [points][row].
  void (*scatter)(const Scatter&, const float* source, int channels, std::size_t begin, std::size_t end);
  // `chains` lists `length` vertices along one axis; kChainEnd marks the last one of each chain. Blurs begin..end-1 of
  // the list; the remainder is used for prefetching.
  void (*blur)(const std::uint32_t* chains, std::size_t length, float* values, int channels, std::size_t begin,
               std::size_t end);
  // The same for adjacent lines of vertices: out = center + 0.5 (a + b), `count` numbers each.
  void (*blur_line)(float* out, const float* center, const float* a, const float* b, std::size_t count);
  void (*slice)(const Slice&, std::size_t begin, std::size_t end);
  void (*update_potts)(const PottsUpdate&, std::size_t begin, std::size_t end);
  void (*gather_pruned)(const PrunedUnary&, std::size_t begin, std::size_t end);
  // Requires 4 to kMaxActive channels_in.
  void (*update_sparse)(const SparseUpdate&, std::size_t begin, std::size_t end);
  // ranks[i] = how many of the numbers are smaller. count is at most kMaxRanked; both arrays are padded to whole
  // vectors.
  void (*rank)(const std::int32_t* numbers, int count, std::int32_t* ranks);
  // sums += clip(from, 1e-5, 1); to = scales * clip(from, 1e-5, 1). NaN stays NaN.
  void (*add_clipped)(const float* from, float* sums, std::size_t count);
  void (*scale_clipped)(const float* from, const float* scales, float* to, std::size_t count);
  // values = -log(clip(values, 1e-5, highest)) in place; none may be NaN.
  void (*energies)(float* values, float highest, std::size_t count);
  // False if an energy is NaN or -infinity, or if all energies of a point are infinite.
  bool (*fill_unary)(const UnaryBlock&);
  // `scratch` has room for 2 * channels floats.
  double (*update_general)(const GeneralUpdate&, float* scratch, std::size_t begin, std::size_t end);
};

inline constexpr int kMaxRanked = 128;
inline constexpr std::uint32_t kChainEnd = 0x80000000u;
inline constexpr float kLogZero = -1e30f;  // the logarithm of 0: finite, so that differences are not NaN
inline constexpr float kLogPad = -3e38f;   // the logarithm in padding channels: below that of every class

constexpr int padded_channels(int channels) { return channels <= 2 ? channels : (channels + 3) / 4 * 4; }

// Returns the fastest table that this machine can run. The environment variable ATROUS_SIMD (baseline, avx2) limits it.
const Kernels& kernels();

namespace baseline {
extern const Kernels table;
}
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}

}  // namespace atrous
