// The inner loops of the mean field, one table of functions per instruction set.
//
// A "row" holds the channels of one point or of one lattice vertex. Its length is `padded_channels(channels)`, so
// that it splits into whole vectors; lanes beyond `channels` hold numbers that nobody reads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace atrous {

// What the wire between a term's lattice and the loops looks like. `corners` is d+1: a point lies in a simplex with
// that many vertices.
struct Splice {
  const std::uint32_t* vertices;  // [points][corners]
  const float* weights;           // [points][corners]
  const float* values;            // [vertices][row]
  int corners;
  bool is_far;  // the values are too many for the cache
};

struct Entry {
  std::uint32_t row;
  float weight;
};

struct Splat {
  const std::uint32_t* first;    // [vertices + 1]: where a vertex's entries begin
  const Entry* entries;
  const float* source;           // [points][row], or null for one channel of ones
  std::size_t num_vertices;
  int channels;  // padded
};

constexpr int kUpdateBatch = 16;  // points that go through each step of an update together

// Points that share few vertices add up where they stand: row `places[...]` of `sums` += weight * row of the point. The
// sums belong to one part of the points, and one thread works on it.
struct Scatter {
  const std::uint32_t* places;  // [points][corners]
  const float* weights;         // [points][corners]
  float* sums;                  // [places][row]
  int corners;
};

struct Slice {
  Splice splice;
  float* target;  // [points][row]
  int channels;   // padded
};

// Classes without a channel, as one class that hears no message: all that the channels do not name.
struct Rest {
  const float* log_unary;       // [points][row] of all classes
  const float* log_unary_last;  // [points]
  int channels;                 // padded, of these rows
  float limit;                  // where the rest together stays below this, so does each of its classes
  float* maxima;                // [channels + 1]: raised where it does not
};

struct RestUnary {
  const float* log_unary;       // as in Rest
  const float* log_unary_last;
  int channels, num_classes;
  const std::int32_t* heard;    // [num_heard]: classes with a channel, ascending
  int num_heard, heard_channels;
  float* few;                   // [points][heard_channels]: their unary
  float* few_last;              // [points]: the logarithm of what the others add up to
  float* scratch;               // [kUpdateBatch * channels]
};

// One mean-field update where every compatibility is Potts. The filtered classes of a point sum to a known number,
// so the last class needs no channel of its own: it hears what the others do not.
struct PottsUpdate {
  const Splice* terms;
  const float* strengths;       // [terms]
  int num_terms;
  const float* log_unary;       // [points][row]: -energy of all classes but the last
  const float* log_unary_last;  // [points], with last_ratio * what the messages to all classes sum to
  float last_ratio;             // strength towards the last class over that towards the others: 1 but for merged ones
  bool search_max;              // exponents may leave the range of exp: subtract the largest first
  float* marginals;             // [points][row], or null
  const Scatter* scatters;      // the new marginals are handed on to these at once
  int num_scatters;
  float* output;                // [points][num_classes] in the order of the image, or null
  const std::uint32_t* order;   // internal place -> pixel; null where they are the same
  int channels;                 // padded
  int num_classes;
  // With more than two classes. The largest marginals: raised to those of these points, the last class's behind the others.
  float* maxima;                // [channels + 1], or null
  // What the last class stands for, if it is no class; goes with `maxima`, and with 4 to kMostHeard channels.
  const Rest* rest;
};

constexpr int kMostHeard = 32;  // channels

// The same where the terms' values have channels for some of the classes only; the messages to the others are 0. Class
// numbers ascend. `marginals` and `scatters` take rows of the classes that are sent on.
struct SparseUpdate {
  PottsUpdate all;              // log_unary_last is the unary alone
  const std::int32_t* heard;    // [num_heard]: the class of each channel of the values
  int num_heard;
  int heard_channels;           // padded
  const std::int32_t* sent;     // [num_sent]
  int num_sent;
  int sent_channels;            // padded
  float* scratch;               // [kUpdateBatch * all.channels + sent_channels]
};

// The energies of some points, class by class, on their way to the rows of the unary.
constexpr int kUnaryBlock = 64;  // points at once

struct UnaryBlock {
  const float* energies;        // [classes][kUnaryBlock]
  const std::uint32_t* places;  // [count]: which rows the points have
  int count;
  int num_classes;
  int channels;                 // padded
  float* log_unary;             // [points][row]: lowest energy - energy of all classes but the last
  float* log_unary_last;        // [points]
  float* shift;                 // [points]: the lowest energy
};

// The general update: every class has its channel, any compatibility.
struct Compatibility {
  const float* vector;  // [row] or null
  const float* matrix;  // [row][row] (symmetric) or null
};

struct GeneralUpdate {
  const Splice* terms;
  const Compatibility* compatibilities;
  int num_terms;
  const float* log_unary;       // as above
  const float* log_unary_last;
  int unary_channels;           // padded length of log_unary's rows
  float* marginals;             // [points][row], or null
  float* output;
  const std::uint32_t* order;
  int channels;                 // padded
  int num_classes;
  // Where the divergence is wanted instead: marginals in, one sum a range out.
  const float* divergence_of;   // [points][row] or null
  const float* unary_shift;     // [points]: what was subtracted from the energies
};

struct Kernels {
  const char* name;
  // `values` receives the row of vertex `begin` first.
  void (*splat)(const Splat&, float* values, std::size_t begin, std::size_t end);
  // source: [points][row].
  void (*scatter)(const Scatter&, const float* source, int channels, std::size_t begin, std::size_t end);
  // `chains` lists vertices along one axis, up to `length`; kChainEnd marks the last of each chain. What begin..end
  // names is blurred, what follows is fetched ahead.
  void (*blur)(const std::uint32_t* chains, std::size_t length, float* values, int channels, std::size_t begin,
               std::size_t end);
  // The same for lines of vertices that lie side by side: out = center + 0.5 (a + b), `count` numbers each.
  void (*blur_line)(float* out, const float* center, const float* a, const float* b, std::size_t count);
  void (*slice)(const Slice&, std::size_t begin, std::size_t end);
  void (*update_potts)(const PottsUpdate&, std::size_t begin, std::size_t end);
  void (*gather_rest)(const RestUnary&, std::size_t begin, std::size_t end);
  // `heard_channels` is 4 to kMostHeard.
  void (*update_sparse)(const SparseUpdate&, std::size_t begin, std::size_t end);
  // ranks[i] = how many of the numbers are smaller; count is at most kMostRanked, and both have room for whole vectors.
  void (*rank)(const std::int32_t* numbers, int count, std::int32_t* ranks);
  // sums += clip(from, 1e-5, 1); to = scales * clip(from, 1e-5, 1). NaN stays.
  void (*add_clipped)(const float* from, float* sums, std::size_t count);
  void (*scale_clipped)(const float* from, const float* scales, float* to, std::size_t count);
  // values = -log(clip(values, 1e-5, highest)) in place; none may be NaN.
  void (*energies)(float* values, float highest, std::size_t count);
  // False where an energy is NaN or -infinity, or all energies of a point are infinite.
  bool (*fill_unary)(const UnaryBlock&);
  // `scratch` holds 2 * channels floats.
  double (*update_general)(const GeneralUpdate&, float* scratch, std::size_t begin, std::size_t end);
};

inline constexpr int kMostRanked = 128;
inline constexpr std::uint32_t kChainEnd = 0x80000000u;
inline constexpr float kLogZero = -1e30f;  // the logarithm of "never": finite, so that differences stay numbers
inline constexpr float kLogPad = -3e38f;   // of channels that only fill a row up: below every class

constexpr int padded_channels(int channels) { return channels <= 2 ? channels : (channels + 3) / 4 * 4; }

// The best table that this machine runs; the environment variable ATROUS_SIMD (baseline, avx2) lowers it.
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
