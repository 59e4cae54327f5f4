// Vectors of floats, as wide as the instruction set of this translation unit allows; included inside its namespace.
// GCC and clang have vector types. For other compilers a plain array is used, which the compiler vectorises.

#if defined(_MSC_VER) && !defined(__clang__)
#define ATROUS_INLINE static __forceinline
#define ATROUS_MEMBER __forceinline
#define ATROUS_LAMBDA
#else
#define ATROUS_INLINE static inline __attribute__((always_inline))
#define ATROUS_MEMBER inline __attribute__((always_inline))
#define ATROUS_LAMBDA __attribute__((always_inline))
#endif

#if defined(__AVX512F__)
constexpr int kWidest = 16;
#elif defined(__AVX__)
constexpr int kWidest = 8;
#else
constexpr int kWidest = 4;
#endif

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define ATROUS_SHUFFLES
#endif
#endif

#if defined(__GNUC__) || defined(__clang__)

template <int LANES>
struct VecTypes {
  typedef float Float __attribute__((vector_size(4 * LANES)));
  typedef std::int32_t Int __attribute__((vector_size(4 * LANES)));
};
template <>
struct VecTypes<1> {
  typedef float Float;
  typedef std::int32_t Int;
};
template <int LANES>
using Vec = typename VecTypes<LANES>::Float;
template <int LANES>
using IntVec = typename VecTypes<LANES>::Int;

template <int LANES>
ATROUS_INLINE Vec<LANES> splat_scalar(float x) {
  return x - Vec<LANES>{};
}
template <int LANES>
ATROUS_INLINE Vec<LANES> select_greater(Vec<LANES> a, Vec<LANES> b) {
  return a > b ? a : b;
}
// Adds 1 in each lane in which x is less.
template <int LANES>
ATROUS_INLINE IntVec<LANES> count_less(IntVec<LANES> counts, std::int32_t x, IntVec<LANES> than) {
  return counts - (x < than);  // true is -1
}
ATROUS_INLINE float lane(float v, int) { return v; }
template <class V>
ATROUS_INLINE float lane(V v, int i) {
  return v[i];
}

#else

template <int LANES, class T>
struct Lanes {
  T v[LANES];
};
#define ATROUS_LANEWISE(OP)                                                            \
  template <int N, class T>                                                            \
  ATROUS_INLINE Lanes<N, T> operator OP(const Lanes<N, T>& a, const Lanes<N, T>& b) {  \
    Lanes<N, T> r;                                                                     \
    for (int i = 0; i < N; ++i) r.v[i] = a.v[i] OP b.v[i];                             \
    return r;                                                                          \
  }                                                                                    \
  template <int N>                                                                     \
  ATROUS_INLINE Lanes<N, float> operator OP(const Lanes<N, float>& a, float b) {       \
    Lanes<N, float> r;                                                                 \
    for (int i = 0; i < N; ++i) r.v[i] = a.v[i] OP b;                                  \
    return r;                                                                          \
  }                                                                                    \
  template <int N>                                                                     \
  ATROUS_INLINE Lanes<N, float> operator OP(float a, const Lanes<N, float>& b) {       \
    Lanes<N, float> r;                                                                 \
    for (int i = 0; i < N; ++i) r.v[i] = a OP b.v[i];                                  \
    return r;                                                                          \
  }
ATROUS_LANEWISE(+)
ATROUS_LANEWISE(-)
ATROUS_LANEWISE(*)
#undef ATROUS_LANEWISE
template <int N>
ATROUS_INLINE Lanes<N, std::int32_t> operator<<(const Lanes<N, std::int32_t>& a, int bits) {
  Lanes<N, std::int32_t> r;
  for (int i = 0; i < N; ++i) r.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) << bits);
  return r;
}
template <int N>
ATROUS_INLINE Lanes<N, std::int32_t> operator>>(const Lanes<N, std::int32_t>& a, int bits) {
  Lanes<N, std::int32_t> r;
  for (int i = 0; i < N; ++i) r.v[i] = a.v[i] >> bits;
  return r;
}
template <int N>
ATROUS_INLINE Lanes<N, std::int32_t> operator+(const Lanes<N, std::int32_t>& a, std::int32_t b) {
  Lanes<N, std::int32_t> r;
  for (int i = 0; i < N; ++i) r.v[i] = a.v[i] + b;
  return r;
}
template <int N>
ATROUS_INLINE Lanes<N, std::int32_t> operator&(const Lanes<N, std::int32_t>& a, std::int32_t b) {
  Lanes<N, std::int32_t> r;
  for (int i = 0; i < N; ++i) r.v[i] = a.v[i] & b;
  return r;
}
template <int LANES>
using Vec = Lanes<LANES, float>;
template <int LANES>
using IntVec = Lanes<LANES, std::int32_t>;
template <int LANES>
ATROUS_INLINE Vec<LANES> splat_scalar(float x) {
  Vec<LANES> r;
  for (int i = 0; i < LANES; ++i) r.v[i] = x;
  return r;
}
template <int LANES>
ATROUS_INLINE Vec<LANES> select_greater(const Vec<LANES>& a, const Vec<LANES>& b) {
  Vec<LANES> r;
  for (int i = 0; i < LANES; ++i) r.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return r;
}
template <int LANES>
ATROUS_INLINE IntVec<LANES> count_less(IntVec<LANES> counts, std::int32_t x, const IntVec<LANES>& than) {
  for (int i = 0; i < LANES; ++i) counts.v[i] += x < than.v[i];
  return counts;
}
template <class V>
ATROUS_INLINE float lane(const V& v, int i) {
  return v.v[i];
}

#endif

// Returns the lower half of a vector plus its upper half.
template <int LANES>
ATROUS_INLINE Vec<LANES / 2> fold(const Vec<LANES>& v) {
  Vec<LANES / 2> low, high;
#if defined(ATROUS_SHUFFLES)
  if constexpr (LANES == 16) {
    low = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
    high = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    return low + high;
  } else if constexpr (LANES == 8) {
    low = __builtin_shufflevector(v, v, 0, 1, 2, 3);
    high = __builtin_shufflevector(v, v, 4, 5, 6, 7);
    return low + high;
  }
#endif
  std::memcpy(&low, &v, sizeof(low));
  std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof(low), sizeof(high));
  return low + high;
}

// The sum of four lanes.
ATROUS_INLINE float sum_quad(const Vec<4>& v) { return (lane(v, 0) + lane(v, 2)) + (lane(v, 1) + lane(v, 3)); }

template <class To, class From>
ATROUS_INLINE To same_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "only the type changes");
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

// e^x with a relative error of about 1e-7. The result is at least e^-75, because products with weights must not become
// denormal numbers, which are slow. For x above 88 it is undefined.
template <int LANES>
ATROUS_INLINE Vec<LANES> exponential(Vec<LANES> x) {
  x = select_greater<LANES>(x, splat_scalar<LANES>(-75.0f));
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
  const float magic = 12582912.0f;
  const Vec<LANES> shifted = x * 1.44269504f + magic;
  const Vec<LANES> n = shifted - magic;
  const Vec<LANES> r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // ln 2 in two parts: r is exact
  Vec<LANES> p = r * 1.9875691500e-4f + 1.3981999507e-3f;             // Cephes' polynomial for 2^-1/2 .. 2^1/2
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  const auto exponent = (same_bits<IntVec<LANES>>(shifted) << 23) + (127 << 23);  // the shift drops the bits of `magic`
  return p * same_bits<Vec<LANES>>(exponent);
}

// ln x with an error of about 1e-7, for normal positive x.
template <int LANES>
ATROUS_INLINE Vec<LANES> logarithm(Vec<LANES> x) {
  // x = m 2^e with m in sqrt(1/2) .. sqrt(2): subtracting the bits of sqrt(1/2) separates the exponent.
  const auto bits = same_bits<IntVec<LANES>>(x) + -0x3f3504f3;
  const auto exponent = bits >> 23;
  const auto mantissa = (bits - (exponent << 23)) + 0x3f3504f3;
  // An integer of at most 22 bits becomes a float by the same trick as in exponential.
  const float magic = 12582912.0f;
  const Vec<LANES> e = same_bits<Vec<LANES>>(exponent + 0x4b400000) - magic;
  const Vec<LANES> r = same_bits<Vec<LANES>>(mantissa) - 1.0f;
  const Vec<LANES> square = r * r;
  Vec<LANES> p = r * 7.0376836292e-2f + -1.1514610310e-1f;  // Cephes' polynomial
  p = p * r + 1.1676998740e-1f;
  p = p * r + -1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r + -1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r + -2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  p = p * r * square + e * -2.12194440e-4f;
  p = p + square * -0.5f;
  return (r + p) + e * 0.693359375f;
}

// A row with a fixed number of channels, kept in registers: the widest vectors first, then narrower ones.
template <int CHANNELS>
struct Row {
  static constexpr int kLanes = CHANNELS >= 16 && kWidest >= 16  ? 16
                                : CHANNELS >= 8 && kWidest >= 8 ? 8
                                : CHANNELS >= 4                 ? 4
                                : CHANNELS >= 2                 ? 2
                                                                : 1;
  Vec<kLanes> head;
  Row<CHANNELS - kLanes> tail;

  ATROUS_MEMBER void zero() {
    head = splat_scalar<kLanes>(0.0f);
    tail.zero();
  }
  ATROUS_MEMBER void load(const float* p) {
    std::memcpy(&head, p, sizeof(head));
    tail.load(p + kLanes);
  }
  ATROUS_MEMBER void store(float* p) const {
    std::memcpy(p, &head, sizeof(head));
    tail.store(p + kLanes);
  }
  ATROUS_MEMBER void add(const Row& other) {
    head = head + other.head;
    tail.add(other.tail);
  }
  // *this += weight * p[...]
  ATROUS_MEMBER void add_scaled(float weight, const float* p) {
    Vec<kLanes> v;
    std::memcpy(&v, p, sizeof(v));
    head = v * weight + head;
    tail.add_scaled(weight, p + kLanes);
  }
  ATROUS_MEMBER void add_scaled(float weight, const Row& other) {
    head = other.head * weight + head;
    tail.add_scaled(weight, other.tail);
  }
  // this + 0.5 (a + b): one step of the lattice's blur.
  ATROUS_MEMBER Row blurred(const Row& a, const Row& b) const {
    Row r;
    r.head = (a.head + b.head) * 0.5f + head;
    r.tail = tail.blurred(a.tail, b.tail);
    return r;
  }
  ATROUS_MEMBER void scale(float factor) {
    head = head * factor;
    tail.scale(factor);
  }
  // Bitwise and with `bits`: all ones keeps the row, zero clears it.
  ATROUS_MEMBER void mask(std::int32_t bits) {
    head = same_bits<Vec<kLanes>>(same_bits<IntVec<kLanes>>(head) & bits);
    tail.mask(bits);
  }
  ATROUS_MEMBER void subtract(float x) {
    head = head - x;
    tail.subtract(x);
  }
  ATROUS_MEMBER void exponentiate() {
    head = exponential<kLanes>(head);
    tail.exponentiate();
  }
  ATROUS_MEMBER float sum() const {
    if constexpr (CHANNELS % 4 == 0) {
      return sum_quad(quad());
    } else {
      float total = 0.0f;
      for (int i = 0; i < kLanes; ++i) total += lane(head, i);
      return total + tail.sum();
    }
  }
  // Takes the maximum of each channel.
  ATROUS_MEMBER void raise(const Row& other) {
    head = select_greater<kLanes>(other.head, head);
    tail.raise(other.tail);
  }
  // The four sums of every fourth channel. Adding vectors is cheaper than adding lanes.
  ATROUS_MEMBER Vec<4> quad() const {
    if constexpr (kLanes == 16) {
      return fold<8>(fold<16>(head)) + tail.quad();
    } else if constexpr (kLanes == 8) {
      return fold<8>(head) + tail.quad();
    } else if constexpr (CHANNELS == 4) {
      return head;
    } else {
      return head + tail.quad();
    }
  }
  ATROUS_MEMBER float max() const {
    float m = lane(head, 0);
    for (int i = 1; i < kLanes; ++i) m = lane(head, i) > m ? lane(head, i) : m;
    const float t = tail.max();
    return t > m ? t : m;
  }
};

template <>
struct Row<0> {
  ATROUS_MEMBER void zero() {}
  ATROUS_MEMBER void load(const float*) {}
  ATROUS_MEMBER void store(float*) const {}
  ATROUS_MEMBER void add(const Row&) {}
  ATROUS_MEMBER void add_scaled(float, const float*) {}
  ATROUS_MEMBER void add_scaled(float, const Row&) {}
  ATROUS_MEMBER Row blurred(const Row&, const Row&) const { return {}; }
  ATROUS_MEMBER void scale(float) {}
  ATROUS_MEMBER void mask(std::int32_t) {}
  ATROUS_MEMBER void subtract(float) {}
  ATROUS_MEMBER void exponentiate() {}
  ATROUS_MEMBER float sum() const { return 0.0f; }
  ATROUS_MEMBER void raise(const Row&) {}
  ATROUS_MEMBER Vec<4> quad() const { return splat_scalar<4>(0.0f); }
  ATROUS_MEMBER float max() const { return -1e38f; }
};
