// Converts probabilities to energies, and energies to the rows of the unary. Part of kernels.inl.

// Clips to 1e-5..1 in two steps, which the compiler vectorises.
ATROUS_INLINE float clip(float p) {
  const float low = p < 1e-5f ? 1e-5f : p;
  return low > 1.0f ? 1.0f : low;
}

void add_clipped(const float* from, float* sums, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) sums[i] += clip(from[i]);
}

void scale_clipped(const float* from, const float* scales, float* to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] = scales[i] * clip(from[i]);
}

void energies(float* values, float highest, std::size_t count) {
  const Vec<kWidest> low = splat_scalar<kWidest>(1e-5f), high = splat_scalar<kWidest>(-highest);
  float tail[kWidest];
  for (std::size_t i = 0; i < count; i += kWidest) {
    const std::size_t size = count - i < kWidest ? count - i : kWidest;
    for (std::size_t k = size; k < kWidest; ++k) tail[k] = 1.0f;
    float* at = size < kWidest ? tail : values + i;
    if (at == tail) std::memcpy(tail, values + i, sizeof(float) * size);
    Vec<kWidest> x;
    std::memcpy(&x, at, sizeof(x));
    x = select_greater<kWidest>(x, low);
    x = select_greater<kWidest>(x * -1.0f, high) * -1.0f;
    x = logarithm<kWidest>(x) * -1.0f;
    std::memcpy(at, &x, sizeof(x));
    if (at == tail) std::memcpy(values + i, tail, sizeof(float) * size);
  }
}

// Lane k of vector i becomes lane i of vector k.
ATROUS_INLINE void transpose(Vec<4> (&v)[4]) {
#if defined(ATROUS_SHUFFLES)
  const Vec<4> a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5), b = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
  const Vec<4> c = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7), d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
  v[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  v[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  v[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  v[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
#else
  float from[4][4], to[4][4];
  std::memcpy(from, v, sizeof(from));
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < 4; ++k) to[i][k] = from[k][i];
  std::memcpy(v, to, sizeof(to));
#endif
}

bool fill_unary(const UnaryBlock& u) {
  const int real = u.num_classes - 1;
  const Vec<4> zero = splat_scalar<4>(kLogZero);
  Vec<4> nan_marker = splat_scalar<4>(0.0f);  // becomes NaN if an energy is invalid
  for (int first = 0; first < u.count; first += 4) {
    const float* energies = u.energies + first;
    Vec<4> highest = load_quad(energies) * -1.0f;  // maximum of the negated energies
    for (int c = 0; c < u.num_classes; ++c) {
      const Vec<4> negated = load_quad(energies + c * kUnaryBlock) * -1.0f;
      const Vec<4> bounded = select_greater<4>(splat_scalar<4>(-3e38f), negated);  // NaN stays NaN
      nan_marker = nan_marker + (bounded - bounded);
      highest = select_greater<4>(negated, highest);
    }
    nan_marker = nan_marker + (highest - highest);
    const auto log_unary = [&](int c) ATROUS_LAMBDA {
      return select_greater<4>(load_quad(energies + c * kUnaryBlock) * -1.0f - highest, zero);
    };
    const int count = u.count - first < 4 ? u.count - first : 4;
    const std::uint32_t* places = u.places + first;
    for (int c = 0; c < u.channels; c += 4) {
      Vec<4> quads[4];
      for (int k = 0; k < 4; ++k) quads[k] = c + k < real ? log_unary(c + k) : splat_scalar<4>(kLogPad);
      transpose(quads);
      const std::size_t size = sizeof(float) * (u.channels - c < 4 ? u.channels - c : 4);
      for (int i = 0; i < count; ++i)
        std::memcpy(u.log_unary + std::size_t{places[i]} * u.channels + c, &quads[i], size);
    }
    const Vec<4> last = log_unary(real);
    for (int i = 0; i < count; ++i) {
      u.log_unary_last[places[i]] = lane(last, i);
      u.shift[places[i]] = lane(highest, i) * -1.0f;
    }
  }
  return sum_quad(nan_marker) == 0.0f;
}
