// Splat, scatter, blur, slice. Part of kernels.inl.

template <int CHANNELS>
ATROUS_INLINE void prefetch_row(const float* row) {
  // Rows begin at multiples of 16 bytes, so the last four channels are in one cache line.
  for (int c = 0; c + 4 < CHANNELS; c += 16) ATROUS_PREFETCH(row + c);
  ATROUS_PREFETCH(row + CHANNELS - 1);
}

// ---- splat: every vertex gathers its points, so that no locks are needed and the order of summation is fixed ----

template <int CHANNELS>
void splat_rows(const Splat& s, float* values, std::size_t stride, std::size_t begin, std::size_t end) {
  const Entry* entry = s.entries + s.first[begin];
  const Entry* last = s.entries + s.first[s.num_vertices];
  for (std::size_t v = begin; v < end; ++v) {
    const Entry* stop = s.entries + s.first[v + 1];
    Row<CHANNELS> sum;
    sum.zero();
    const auto add = [&]() ATROUS_LAMBDA { sum.add_scaled(entry->weight, s.source + entry->row * stride); };
    if (last - stop >= kRowsAhead<CHANNELS>) {
      for (; entry < stop; ++entry) {
        prefetch_row<CHANNELS>(s.source + entry[kRowsAhead<CHANNELS>].row * stride);
        add();
      }
    } else {
      for (; entry < stop; ++entry) add();
    }
    sum.store(values + (v - begin) * stride);
  }
}

void splat_ones(const Splat& s, float* values, std::size_t begin, std::size_t end) {
  const Entry* entry = s.entries + s.first[begin];
  for (std::size_t v = begin; v < end; ++v) {
    float sum = 0.0f;
    for (const Entry* stop = s.entries + s.first[v + 1]; entry < stop; ++entry) sum += entry->weight;
    values[v - begin] = sum;
  }
}

// ---- scatter: the points of a part, one after the other ----

template <int CHANNELS>
ATROUS_INLINE void scatter_row(const Scatter& s, const Row<CHANNELS>& row, std::size_t point, std::size_t stride) {
  const Index* places = s.places + point * s.corners;
  const float* weights = s.weights + point * s.corners;
  const auto add = [&](int k) ATROUS_LAMBDA {
    float* place = s.sums + places[k] * stride;
    Row<CHANNELS> sum;
    sum.load(place);
    sum.add_scaled(weights[k], row);
    sum.store(place);
  };
  if (s.corners == 6) {  // positions and colors
    add(0), add(1), add(2), add(3), add(4), add(5);
  } else if (s.corners == 3) {  // positions
    add(0), add(1), add(2);
  } else {
    for (int k = 0; k < s.corners; ++k) add(k);
  }
}

template <int CHANNELS>
void scatter_rows(const Scatter& s, const float* source, std::size_t stride, std::size_t begin, std::size_t end) {
  for (std::size_t p = begin; p < end; ++p) {
    Row<CHANNELS> row;
    row.load(source + p * stride);
    scatter_row(s, row, p, stride);
  }
}

// ---- blur: v + 0.5 (n1 + n2) in place ----

// Most chains are short, and their ends cannot be predicted. So the list is processed as if it were one chain, and a
// mask replaces the neighbours beyond an end by zeros.
template <int CHANNELS>
void blur_rows(const Index* chains, std::size_t length, float* values, std::size_t stride, std::size_t begin,
               std::size_t end) {
  if (begin == end) return;
  const auto row_of = [&](std::size_t i) ATROUS_LAMBDA { return values + (chains[i] & ~kChainEnd) * stride; };
  Row<CHANNELS> before, here, next;
  before.zero();
  here.load(row_of(begin));
  const auto step = [&](std::size_t i, std::size_t following) ATROUS_LAMBDA {
    const std::int32_t has_next = ~(static_cast<std::int32_t>(chains[i]) >> 31);
    next.load(row_of(following));
    Row<CHANNELS> after = next;
    after.mask(has_next);
    here.blurred(before, after).store(row_of(i));
    before = here;  // the value before the blur
    before.mask(has_next);
    here = next;
  };
  constexpr std::size_t kAhead = kRowsAhead<CHANNELS>;
  const std::size_t last = end - 1, fetching = last + kAhead <= length ? last : length > kAhead ? length - kAhead : 0;
  std::size_t i = begin;
  for (; i < fetching; ++i) {
    prefetch_row<CHANNELS>(row_of(i + kAhead));
    step(i, i + 1);
  }
  for (; i < last; ++i) step(i, i + 1);
  step(last, last);
}

// ---- slice ----

// sum += factor * the interpolated values at the point.
template <int CHANNELS>
ATROUS_INLINE void add_slice(Row<CHANNELS>& sum, const LatticeView& t, float factor, std::size_t point,
                             std::size_t stride) {
  Row<CHANNELS> slice;
  slice.zero();
  const Index* vertices = t.vertices + point * t.corners;
  const float* weights = t.weights + point * t.corners;
  const auto add = [&](int k) ATROUS_LAMBDA { slice.add_scaled(weights[k], t.values + vertices[k] * stride); };
  if (t.corners == 6) {  // positions and colors
    add(0), add(1), add(2), add(3), add(4), add(5);
  } else if (t.corners == 3) {  // positions
    add(0), add(1), add(2);
  } else {
    for (int k = 0; k < t.corners; ++k) add(k);
  }
  sum.add_scaled(factor, slice);
}

template <int CHANNELS>
void slice_rows(const Slice& s, std::size_t stride, std::size_t begin, std::size_t end) {
  for (std::size_t p = begin; p < end; ++p) {
    Row<CHANNELS> sum;
    sum.zero();
    add_slice(sum, s.view, 1.0f, p, stride);
    sum.store(s.target + p * stride);
  }
}

// Rows that do not fit the registers are processed in blocks of channels: calls `work(width, c)` for blocks of 32, 16,
// 4 and 1 channels.
template <int CHANNELS>
struct Width {
  static constexpr int value = CHANNELS;
};

template <class Work>
ATROUS_INLINE void in_blocks(int channels, Work work) {
  int c = 0;
  for (; c + kBlock <= channels; c += kBlock) work(Width<kBlock>(), c);
  for (; c + 16 <= channels; c += 16) work(Width<16>(), c);
  for (; c + 4 <= channels; c += 4) work(Width<4>(), c);
  for (; c < channels; ++c) work(Width<1>(), c);
}

ATROUS_INLINE void add_slice_blocked(float* row, const LatticeView& term, float factor, std::size_t p, int channels) {
  in_blocks(channels, [&](auto width, int c) ATROUS_LAMBDA {
    Row<decltype(width)::value> sum;
    sum.load(row + c);
    LatticeView shifted = term;
    shifted.values += c;
    add_slice(sum, shifted, factor, p, channels);
    sum.store(row + c);
  });
}
