// The inner loops. baseline.cpp, avx2.cpp and avx512.cpp each compile them in a namespace of their own.
// Nothing here may call an inline function of the standard library (see runtime/parallel.hpp).

namespace {

#include "kernels/simd.hpp"

#if defined(__GNUC__) || defined(__clang__)
#define ATROUS_PREFETCH(address) __builtin_prefetch(address)
#else
#define ATROUS_PREFETCH(address) ((void)0)
#endif

using Index = std::uint32_t;
// Rows between prefetch and use: about as long as the memory takes. Short rows take less time each.
template <int CHANNELS>
constexpr int kRowsAhead = CHANNELS <= 8 ? 48 : 12;
constexpr int kBlock = 32;          // longer rows are processed in blocks of channels

#include "kernels/lattice.inl"
#include "kernels/update.inl"
#include "kernels/unary.inl"
#include "kernels/sparse.inl"

// ---- choosing the code for a number of channels ----

#define ATROUS_FOR_CHANNELS(CALL) \
  switch (channels) {             \
    case 1: CALL(1); return;      \
    case 2: CALL(2); return;      \
    case 4: CALL(4); return;      \
    case 8: CALL(8); return;      \
    case 12: CALL(12); return;    \
    case 16: CALL(16); return;    \
    case 20: CALL(20); return;    \
    case 24: CALL(24); return;    \
    case 28: CALL(28); return;    \
    case 32: CALL(32); return;    \
    default: break;               \
  }

void splat(const Splat& s, float* values, std::size_t begin, std::size_t end) {
  if (s.source == nullptr) return splat_ones(s, values, begin, end);
  const int channels = s.channels;
#define ATROUS_CALL(N) splat_rows<N>(s, values, N, begin, end)
  ATROUS_FOR_CHANNELS(ATROUS_CALL)
#undef ATROUS_CALL
  Splat part = s;
  int c = 0;
  for (; c + kBlock <= channels; c += kBlock, part.source += kBlock)
    splat_rows<kBlock>(part, values + c, channels, begin, end);
  for (; c + 16 <= channels; c += 16, part.source += 16) splat_rows<16>(part, values + c, channels, begin, end);
  for (; c < channels; c += 4, part.source += 4) splat_rows<4>(part, values + c, channels, begin, end);
}

void scatter(const Scatter& s, const float* source, int channels, std::size_t begin, std::size_t end) {
#define ATROUS_CALL(N) scatter_rows<N>(s, source, N, begin, end)
  ATROUS_FOR_CHANNELS(ATROUS_CALL)
#undef ATROUS_CALL
  in_blocks(channels, [&](auto width, int c) ATROUS_LAMBDA {
    Scatter shifted = s;
    shifted.sums += c;
    scatter_rows<decltype(width)::value>(shifted, source + c, channels, begin, end);
  });
}

void blur_line(float* out, const float* center, const float* a, const float* b, std::size_t count) {
  std::size_t i = 0;
  for (; i + kWidest <= count; i += kWidest) {
    Row<kWidest> here, before, after;
    here.load(center + i);
    before.load(a + i);
    after.load(b + i);
    here.blurred(before, after).store(out + i);
  }
  for (; i < count; ++i) out[i] = center[i] + 0.5f * (a[i] + b[i]);
}

void blur(const Index* chains, std::size_t length, float* values, int channels, std::size_t begin, std::size_t end) {
#define ATROUS_CALL(N) blur_rows<N>(chains, length, values, N, begin, end)
  ATROUS_FOR_CHANNELS(ATROUS_CALL)
#undef ATROUS_CALL
  int c = 0;
  for (; c + kBlock <= channels; c += kBlock) blur_rows<kBlock>(chains, length, values + c, channels, begin, end);
  for (; c + 16 <= channels; c += 16) blur_rows<16>(chains, length, values + c, channels, begin, end);
  for (; c < channels; c += 4) blur_rows<4>(chains, length, values + c, channels, begin, end);
}

void slice(const Slice& s, std::size_t begin, std::size_t end) {
  const int channels = s.channels;
#define ATROUS_CALL(N) slice_rows<N>(s, N, begin, end)
  ATROUS_FOR_CHANNELS(ATROUS_CALL)
#undef ATROUS_CALL
  for (std::size_t p = begin; p < end; ++p) {
    float* row = s.target + p * channels;
    for (int c = 0; c < channels; ++c) row[c] = 0.0f;
    add_slice_blocked(row, s.view, 1.0f, p, channels);
  }
}

void update_potts(const PottsUpdate& u, std::size_t begin, std::size_t end) {
  if (u.num_classes == 2) return update_potts_pairs(u, begin, end);
  const int channels = u.channels;
#define ATROUS_CALL(N) update_potts_rows<N>(u, begin, end)
  ATROUS_FOR_CHANNELS(ATROUS_CALL)
#undef ATROUS_CALL
  update_potts_long(u, begin, end);
}

void update_sparse(const SparseUpdate& u, std::size_t begin, std::size_t end) {
  const int channels = u.channels_in;
#define ATROUS_CALL(N) update_sparse_rows<N>(u, begin, end)
  ATROUS_FOR_CHANNELS(ATROUS_CALL)
#undef ATROUS_CALL
}

void rank(const std::int32_t* numbers, int count, std::int32_t* ranks) {
  for (int first = 0; first < count; first += kWidest) {
    IntVec<kWidest> own, smaller;
    std::memcpy(&own, numbers + first, sizeof(own));
    std::memset(&smaller, 0, sizeof(smaller));
    for (int k = 0; k < count; ++k) smaller = count_less<kWidest>(smaller, numbers[k], own);
    std::memcpy(ranks + first, &smaller, sizeof(smaller));
  }
}

}  // namespace

const Kernels table = {ATROUS_SIMD_NAME, splat, scatter, blur, blur_line, slice, update_potts, gather_pruned,
                       update_sparse, rank, add_clipped, scale_clipped, energies, fill_unary, update_general};
