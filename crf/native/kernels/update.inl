// Computes the new marginals of a point from its unary and its messages. Part of kernels.inl.

ATROUS_INLINE float max_of(float a, float b) { return a > b ? a : b; }

ATROUS_INLINE float exponential_scalar(float x) { return lane(exponential<4>(splat_scalar<4>(x)), 0); }

ATROUS_INLINE Vec<4> load_quad(const float* p) {
  Vec<4> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// Points between prefetch and use. Points with short rows take less time each.
template <int CHANNELS>
constexpr std::size_t kPointsAhead = CHANNELS <= 8 ? 20 : 4;

template <int CHANNELS>
ATROUS_INLINE void prefetch_slice(const LatticeView& term, std::size_t point) {
  const Index* vertices = term.vertices + point * term.corners;
  for (int k = 0; k < term.corners; ++k) prefetch_row<CHANNELS>(term.values + std::size_t{vertices[k]} * CHANNELS);
}

// A term whose number of corners is known at compile time.
template <int CHANNELS, int CORNERS>
struct FixedTerm {
  const Index* vertices;
  const float* weights;
  const float* values;
  float strength;
  bool is_far;

  FixedTerm(const LatticeView& s, float of)
      : vertices(s.vertices), weights(s.weights), values(s.values), strength(of), is_far(s.is_far) {}
  ATROUS_MEMBER void prefetch(std::size_t p) const {
    const Index* own = vertices + p * CORNERS;
    for (int k = 0; k < CORNERS; ++k) prefetch_row<CHANNELS>(values + std::size_t{own[k]} * CHANNELS);
  }
  ATROUS_MEMBER void add_to(Row<CHANNELS>& sum, std::size_t p) const {
    const Index* own = vertices + p * CORNERS;
    Row<CHANNELS> slice;
    slice.zero();
    for (int k = 0; k < CORNERS; ++k)
      slice.add_scaled(weights[p * CORNERS + k], values + std::size_t{own[k]} * CHANNELS);
    sum.add_scaled(strength, slice);
  }
};

// The sum of the messages of all terms to the points of a range. Nearly every model has two terms, positions, and
// positions with colors. For these the numbers of corners are known at compile time.
template <int CHANNELS>
class Messages {
 public:
  Messages(const PottsUpdate& u, std::size_t end)
      : u_(u),
        end_(end),
        is_usual_(u.num_terms == 2 && u.terms[0].corners == 3 && u.terms[1].corners == 6),
        positions_(is_usual_ ? u.terms[0] : LatticeView{}, is_usual_ ? u.strengths[0] : 0.0f),
        colors_(is_usual_ ? u.terms[1] : LatticeView{}, is_usual_ ? u.strengths[1] : 0.0f) {}

  ATROUS_MEMBER Row<CHANNELS> to(std::size_t p) const {
    constexpr std::size_t kAhead = kPointsAhead<CHANNELS>;
    const bool fetches = p + kAhead < end_;
    Row<CHANNELS> sum;
    sum.zero();
    if (is_usual_) {
      if (fetches && positions_.is_far) positions_.prefetch(p + kAhead);
      if (fetches && colors_.is_far) colors_.prefetch(p + kAhead);
      positions_.add_to(sum, p);
      colors_.add_to(sum, p);
      return sum;
    }
    for (int t = 0; t < u_.num_terms; ++t) {
      if (fetches && u_.terms[t].is_far) prefetch_slice<CHANNELS>(u_.terms[t], p + kAhead);
      add_slice(sum, u_.terms[t], u_.strengths[t], p, CHANNELS);
    }
    return sum;
  }

 private:
  const PottsUpdate& u_;
  std::size_t end_;
  bool is_usual_;
  FixedTerm<CHANNELS, 3> positions_;
  FixedTerm<CHANNELS, 6> colors_;
};

template <int CHANNELS, int CORNERS>
struct FixedScatter {
  const Index* places;
  const float* weights;
  float* sums;

  explicit FixedScatter(const Scatter& s) : places(s.places), weights(s.weights), sums(s.sums) {}
  ATROUS_MEMBER void add(const Row<CHANNELS>& row, std::size_t p) const {
    for (int k = 0; k < CORNERS; ++k) {
      float* place = sums + std::size_t{places[p * CORNERS + k]} * CHANNELS;
      Row<CHANNELS> sum;
      sum.load(place);
      sum.add_scaled(weights[p * CORNERS + k], row);
      sum.store(place);
    }
  }
};

// Stores the new marginals of a point: in `marginals`, and in the partial sums of the terms. Specialised as Messages
// is.
template <int CHANNELS>
class MarginalSinks {
 public:
  explicit MarginalSinks(const PottsUpdate& u)
      : u_(u),
        is_usual_(u.num_scatters == 2 && u.scatters[0].corners == 3 && u.scatters[1].corners == 6),
        positions_(is_usual_ ? u.scatters[0] : Scatter{}),
        colors_(is_usual_ ? u.scatters[1] : Scatter{}) {}

  ATROUS_MEMBER void take(const Row<CHANNELS>& row, std::size_t p) const {
    if (u_.marginals != nullptr) row.store(u_.marginals + p * CHANNELS);
    if (is_usual_) {
      positions_.add(row, p);
      colors_.add(row, p);
      return;
    }
    for (int s = 0; s < u_.num_scatters; ++s) scatter_row(u_.scatters[s], row, p, CHANNELS);
  }

 private:
  const PottsUpdate& u_;
  bool is_usual_;
  FixedScatter<CHANNELS, 3> positions_;
  FixedScatter<CHANNELS, 6> colors_;
};

template <int LANES>
ATROUS_INLINE void exponentiate(float* values, int count) {
  for (int i = 0; i < count; i += LANES) {
    Vec<LANES> x;
    std::memcpy(&x, values + i, sizeof(x));
    x = exponential<LANES>(x);
    std::memcpy(values + i, &x, sizeof(x));
  }
}

// Raises the maxima of the pruned classes to their marginals at a point. `factor` is 1 / the sum over all classes.
ATROUS_INLINE void raise_pruned_maxima(const PrunedClasses& pruned, std::size_t p, float factor) {
  const float* unary = pruned.log_unary + p * pruned.channels;
  for (int c = 0; c < pruned.channels; c += 4) {
    const Vec<4> marginals = exponential<4>(load_quad(unary + c)) * factor;
    const Vec<4> larger = select_greater<4>(marginals, load_quad(pruned.maxima + c));
    std::memcpy(pruned.maxima + c, &larger, sizeof(larger));
  }
  float& last = pruned.maxima[pruned.channels];
  last = max_of(last, exponential_scalar(pruned.log_unary_last[p]) * factor);
}

// For rows that fit the registers: gathers the messages of all terms, applies the softmax and stores the marginals, in
// batches of points. A single point is one chain of dependent operations, during which the processor would wait.
template <int CHANNELS>
void update_potts_rows(const PottsUpdate& u, std::size_t begin, std::size_t end) {
  constexpr int kBatch = kUpdateBatch;
  static_assert(kBatch % kWidest == 0, "whole vectors of points");
  const int real = u.num_classes - 1;
  Row<CHANNELS> maxima;
  maxima.zero();
  float maximum_of_last = 0.0f;
  alignas(64) float rows[kBatch * CHANNELS];
  alignas(64) float last[kBatch];
  for (int i = 0; i < kBatch; ++i) last[i] = 0.0f;
  for (int i = 0; i < kBatch * CHANNELS; ++i) rows[i] = 0.0f;
  const Messages<CHANNELS> messages(u, end);
  const MarginalSinks<CHANNELS> sinks(u);
  for (std::size_t first = begin; first < end; first += kBatch) {
    const int count = static_cast<int>(end - first < kBatch ? end - first : kBatch);
    for (int i = 0; i < count; ++i) {
      const std::size_t p = first + i;
      Row<CHANNELS> row = messages.to(p);
      last[i] = u.log_unary_last[p] - u.last_ratio * row.sum();
      Row<CHANNELS> unary;
      unary.load(u.log_unary + p * CHANNELS);
      row.add(unary);
      if (u.search_max) {
        const float top = max_of(row.max(), last[i]);
        row.subtract(top);
        last[i] -= top;
      }
      row.store(rows + i * CHANNELS);
    }
    exponentiate<kWidest>(rows, kBatch * CHANNELS);
    exponentiate<kWidest>(last, kBatch);
    for (int i = 0; i < count; ++i) {
      const std::size_t p = first + i;
      Row<CHANNELS> row;
      row.load(rows + i * CHANNELS);
      const float scale = 1.0f / (row.sum() + last[i]);
      row.scale(scale);
      maxima.raise(row);
      maximum_of_last = max_of(maximum_of_last, last[i] * scale);
      if (u.pruned != nullptr && last[i] * scale >= u.pruned->limit) raise_pruned_maxima(*u.pruned, p, scale);
      sinks.take(row, p);
      if (u.output != nullptr) {
        float* out = u.output + (u.order != nullptr ? u.order[p] : p) * std::size_t(u.num_classes);
        row.store(rows + i * CHANNELS);
        std::memcpy(out, rows + i * CHANNELS, sizeof(float) * real);
        out[real] = last[i] * scale;
      }
    }
  }
  if (u.maxima == nullptr) return;
  Row<CHANNELS> before;
  before.load(u.maxima);
  maxima.raise(before);
  maxima.store(u.maxima);
  u.maxima[CHANNELS] = max_of(u.maxima[CHANNELS], maximum_of_last);
}

// Two classes need one channel, so a vector holds several points.
void update_potts_pairs(const PottsUpdate& u, std::size_t begin, std::size_t end) {
  constexpr int kBatch = 64;
  constexpr int kLanes = kWidest;
  for (std::size_t first = begin; first < end; first += kBatch) {
    const int count = static_cast<int>(end - first < kBatch ? end - first : kBatch);
    float difference[kBatch];  // log of the odds of the last class
    for (int i = 0; i < count; ++i) {
      const std::size_t p = first + i;
      float message = 0.0f;
      for (int t = 0; t < u.num_terms; ++t) {
        const LatticeView& term = u.terms[t];
        const Index* vertices = term.vertices + p * term.corners;
        const float* weights = term.weights + p * term.corners;
        float sum = 0.0f;
        for (int k = 0; k < term.corners; ++k) sum += weights[k] * term.values[vertices[k]];
        message += u.strengths[t] * sum;
      }
      const float odds = (u.log_unary_last[p] - u.log_unary[p]) - (u.last_ratio * message + message);
      difference[i] = odds < 87.0f ? odds : 87.0f;
    }
    for (int i = count; i < kBatch; ++i) difference[i] = 0.0f;
    for (int i = 0; i < kBatch; i += kLanes) {
      Vec<kLanes> x;
      std::memcpy(&x, difference + i, sizeof(x));
      x = exponential<kLanes>(x) + 1.0f;
      std::memcpy(difference + i, &x, sizeof(x));
    }
    for (int i = 0; i < count; ++i) {
      const std::size_t p = first + i;
      const float probability = 1.0f / difference[i];
      if (u.marginals != nullptr) u.marginals[p] = probability;
      for (int s = 0; s < u.num_scatters; ++s) {
        Row<1> row;
        row.load(&probability);
        scatter_row(u.scatters[s], row, p, 1);
      }
      if (u.output != nullptr) {
        float* out = u.output + (u.order != nullptr ? u.order[p] : p) * std::size_t{2};
        out[0] = probability;
        out[1] = (difference[i] - 1.0f) * probability;
      }
    }
  }
}

// For rows that do not fit the registers: the same, with the row in memory.

ATROUS_INLINE void softmax_in_place(float* row, int channels, float& last, bool has_last, bool search_max) {
  float top = 0.0f;
  if (search_max) {
    top = has_last ? last : row[0];
    in_blocks(channels, [&](auto width, int c) ATROUS_LAMBDA {
      Row<decltype(width)::value> part;
      part.load(row + c);
      top = max_of(top, part.max());
    });
  }
  float sum = 0.0f;
  in_blocks(channels, [&](auto width, int c) ATROUS_LAMBDA {
    Row<decltype(width)::value> part;
    part.load(row + c);
    part.subtract(top);
    part.exponentiate();
    part.store(row + c);
    sum += part.sum();
  });
  if (has_last) {
    last = exponential_scalar(last - top);
    sum += last;
  }
  const float scale = 1.0f / sum;
  for (int c = 0; c < channels; ++c) row[c] *= scale;
  last *= scale;
}

// Sums block by block, so that a few large numbers do not round many small ones away.
ATROUS_INLINE float sum_of(const float* row, int channels) {
  float sum = 0.0f;
  in_blocks(channels, [&](auto width, int c) ATROUS_LAMBDA {
    Row<decltype(width)::value> part;
    part.load(row + c);
    sum += part.sum();
  });
  return sum;
}

// Stores the new marginals of a point: in `marginals`, and in the partial sums of the terms.
ATROUS_INLINE void store_marginals(const PottsUpdate& u, const float* row, std::size_t p, int channels) {
  if (u.marginals != nullptr) std::memcpy(u.marginals + p * channels, row, sizeof(float) * channels);
  for (int s = 0; s < u.num_scatters; ++s) {
    in_blocks(channels, [&](auto width, int c) ATROUS_LAMBDA {
      Row<decltype(width)::value> part;
      part.load(row + c);
      Scatter shifted = u.scatters[s];
      shifted.sums += c;
      scatter_row(shifted, part, p, channels);
    });
  }
}

constexpr int kLongest = 4096;  // longest row that fits on the stack; the general update handles longer ones

void update_potts_long(const PottsUpdate& u, std::size_t begin, std::size_t end) {
  alignas(64) float row[kLongest];
  const int channels = u.channels;
  const int real = u.num_classes - 1;
  for (std::size_t p = begin; p < end; ++p) {
    for (int c = 0; c < channels; ++c) row[c] = 0.0f;
    for (int t = 0; t < u.num_terms; ++t) {
      const LatticeView& term = u.terms[t];
      if (p + 1 < end) {
        const Index* next = term.vertices + (p + 1) * term.corners;
        for (int k = 0; k < term.corners; ++k)
          for (int c = 0; c < channels; c += 16) ATROUS_PREFETCH(term.values + std::size_t{next[k]} * channels + c);
      }
      add_slice_blocked(row, term, u.strengths[t], p, channels);
    }
    float last = u.log_unary_last[p] - u.last_ratio * sum_of(row, channels);
    const float* unary = u.log_unary + p * channels;
    for (int c = 0; c < channels; ++c) row[c] += unary[c];
    softmax_in_place(row, channels, last, true, u.search_max);
    if (u.maxima != nullptr) {
      for (int c = 0; c < channels; ++c) u.maxima[c] = max_of(u.maxima[c], row[c]);
      u.maxima[channels] = max_of(u.maxima[channels], last);
    }
    store_marginals(u, row, p, channels);
    if (u.output != nullptr) {
      float* out = u.output + (u.order != nullptr ? u.order[p] : p) * std::size_t(u.num_classes);
      for (int c = 0; c < real; ++c) out[c] = row[c];
      out[real] = last;
    }
  }
}

// ---- the general update ----

void add_compatible(float* exponent, const float* filtered, const Compatibility& compatibility, int channels,
                    int num_classes) {
  if (compatibility.vector != nullptr) {
    for (int c = 0; c < num_classes; ++c) exponent[c] -= compatibility.vector[c] * filtered[c];
    return;
  }
  for (int from = 0; from < num_classes; ++from) {
    const float* column = compatibility.matrix + std::size_t(from) * channels;
    const float value = filtered[from];
    for (int c = 0; c < num_classes; ++c) exponent[c] -= column[c] * value;
  }
}

double update_general(const GeneralUpdate& u, float* scratch, std::size_t begin, std::size_t end) {
  float* exponent = scratch;
  float* filtered = scratch + u.channels;
  double divergence = 0.0;
  for (std::size_t p = begin; p < end; ++p) {
    for (int c = 0; c < u.channels; ++c) exponent[c] = c < u.num_classes ? 0.0f : kLogPad;
    for (int t = 0; t < u.num_terms; ++t) {
      for (int c = 0; c < u.channels; ++c) filtered[c] = 0.0f;
      add_slice_blocked(filtered, u.terms[t], 1.0f, p, u.channels);
      add_compatible(exponent, filtered, u.compatibilities[t], u.channels, u.num_classes);
    }
    const float* unary = u.log_unary + p * u.unary_channels;
    const float unary_last = u.log_unary_last[p];
    if (u.divergence_of != nullptr) {
      // Here the exponent is minus the pairwise energy, and log_unary is minus the unary energy (shifted).
      const float* q = u.divergence_of + p * u.channels;
      for (int c = 0; c < u.num_classes; ++c) {
        const float log_unary = c + 1 < u.num_classes ? unary[c] : unary_last;
        const double energy = double(u.unary_shift[p]) - log_unary - exponent[c];
        const double probability = q[c];
        divergence += probability * (energy + std::log(probability > 1e-20 ? probability : 1e-20));
      }
      continue;
    }
    for (int c = 0; c + 1 < u.num_classes; ++c) exponent[c] += unary[c];
    exponent[u.num_classes - 1] += unary_last;
    float none = 0.0f;
    softmax_in_place(exponent, u.channels, none, false, true);
    if (u.marginals != nullptr) std::memcpy(u.marginals + p * u.channels, exponent, sizeof(float) * u.channels);
    if (u.output != nullptr) {
      float* out = u.output + (u.order != nullptr ? u.order[p] : p) * std::size_t(u.num_classes);
      for (int c = 0; c < u.num_classes; ++c) out[c] = exponent[c];
    }
  }
  return divergence;
}
