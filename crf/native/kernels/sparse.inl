// Updates where only some classes have a channel. Part of kernels.inl.

// Few channels come in and go out; between them stand all classes.
template <int CHANNELS>
void update_sparse_rows(const SparseUpdate& sparse, std::size_t begin, std::size_t end) {
  const PottsUpdate& u = sparse.all;
  const int channels = u.channels, real = u.num_classes - 1;
  const int heard = sparse.num_heard - (sparse.heard[sparse.num_heard - 1] == real);
  const int sent = sparse.num_sent - (sparse.sent[sparse.num_sent - 1] == real);
  float* rows = sparse.scratch;
  float* target = rows + kUpdateBatch * channels;
  float last[kUpdateBatch];
  for (int i = 0; i < kUpdateBatch; ++i) last[i] = 0.0f;
  for (int i = 0; i < kUpdateBatch * channels; ++i) rows[i] = 0.0f;
  for (int k = 0; k < sparse.sent_channels; ++k) target[k] = 0.0f;
  const Messages<CHANNELS> messages(u, end);
  for (std::size_t first = begin; first < end; first += kUpdateBatch) {
    const int count = static_cast<int>(end - first < kUpdateBatch ? end - first : kUpdateBatch);
    for (int i = 0; i < count; ++i) {
      const std::size_t p = first + i;
      alignas(64) float message[CHANNELS];
      messages.to(p).store(message);
      float* row = rows + i * channels;
      std::memcpy(row, u.log_unary + p * channels, sizeof(float) * channels);
      last[i] = u.log_unary_last[p];
      for (int k = 0; k < heard; ++k) row[sparse.heard[k]] += message[k];
      if (heard < sparse.num_heard) last[i] += u.last_ratio * message[heard];
      if (u.search_max) {
        float top = last[i];
        for (int c = 0; c < real; ++c) top = max_of(top, row[c]);
        for (int c = 0; c < channels; ++c) row[c] -= top;
        last[i] -= top;
      }
    }
    exponentiate<kWidest>(rows, kUpdateBatch * channels);
    exponentiate<kWidest>(last, kUpdateBatch);
    for (int i = 0; i < count; ++i) {
      const std::size_t p = first + i;
      float* row = rows + i * channels;
      const float scale = 1.0f / (sum_of(row, channels) + last[i]);
      for (int c = 0; c < channels; c += 4) {
        const Vec<4> scaled = load_quad(row + c) * scale;
        std::memcpy(row + c, &scaled, sizeof(scaled));
      }
      last[i] *= scale;
      if (u.maxima != nullptr) {
        for (int c = 0; c < channels; c += 4) {
          const Vec<4> larger = select_greater<4>(load_quad(row + c), load_quad(u.maxima + c));
          std::memcpy(u.maxima + c, &larger, sizeof(larger));
        }
        u.maxima[channels] = max_of(u.maxima[channels], last[i]);
      }
      if (u.output != nullptr) {
        float* out = u.output + (u.order != nullptr ? u.order[p] : p) * std::size_t(u.num_classes);
        std::memcpy(out, row, sizeof(float) * real);
        out[real] = last[i];
        continue;
      }
      for (int k = 0; k < sent; ++k) target[k] = row[sparse.sent[k]];
      if (sent < sparse.num_sent) target[sent] = last[i];
      if (sparse.sent_channels != CHANNELS) {
        hand_on(u, target, p, sparse.sent_channels);
        continue;
      }
      Row<CHANNELS> result;
      result.load(target);
      if (u.marginals != nullptr) result.store(u.marginals + p * CHANNELS);
      for (int s = 0; s < u.num_scatters; ++s) scatter_row(u.scatters[s], result, p, CHANNELS);
    }
  }
}

void gather_rest(const RestUnary& u, std::size_t begin, std::size_t end) {
  const int heard = u.num_heard - (u.heard[u.num_heard - 1] == u.num_classes - 1);
  float last[kUpdateBatch], sums[kUpdateBatch];
  for (std::size_t first = begin; first < end; first += kUpdateBatch) {
    const int count = static_cast<int>(end - first < kUpdateBatch ? end - first : kUpdateBatch);
    for (int i = 0; i < kUpdateBatch; ++i) {
      const std::size_t p = i < count ? first + i : first;
      std::memcpy(u.scratch + i * u.channels, u.log_unary + p * u.channels, sizeof(float) * u.channels);
      last[i] = u.log_unary_last[p];
    }
    for (int i = 0; i < count; ++i) {
      float* few = u.few + (first + i) * u.heard_channels;
      for (int k = 0; k < heard; ++k) few[k] = u.scratch[i * u.channels + u.heard[k]];
      for (int k = heard; k < u.heard_channels; ++k) few[k] = k < u.num_heard ? last[i] : kLogPad;
    }
    exponentiate<kWidest>(u.scratch, kUpdateBatch * u.channels);
    exponentiate<kWidest>(last, kUpdateBatch);
    for (int i = 0; i < kUpdateBatch; ++i) {
      float* row = u.scratch + i * u.channels;
      for (int k = 0; k < heard; ++k) row[u.heard[k]] = 0.0f;
      sums[i] = max_of(sum_of(row, u.channels) + (heard == u.num_heard ? last[i] : 0.0f), 1e-37f);
    }
    for (int i = 0; i < kUpdateBatch; i += kWidest) {
      Vec<kWidest> x;
      std::memcpy(&x, sums + i, sizeof(x));
      x = logarithm<kWidest>(x);
      std::memcpy(sums + i, &x, sizeof(x));
    }
    std::memcpy(u.few_last + first, sums, sizeof(float) * count);
  }
}
