// Updates if only some classes have a channel. Part of kernels.inl.

// Reads and writes few channels; the softmax in between is over all classes.
template <int CHANNELS>
void update_sparse_rows(const SparseUpdate& sparse, std::size_t begin, std::size_t end) {
  const PottsUpdate& u = sparse.all;
  const int channels = u.channels, real = u.num_classes - 1;
  const int num_in = sparse.num_active_in - (sparse.active_in[sparse.num_active_in - 1] == real);
  const int num_out = sparse.num_active_out - (sparse.active_out[sparse.num_active_out - 1] == real);
  float* rows = sparse.scratch;
  float* target = rows + kUpdateBatch * channels;
  float last[kUpdateBatch];
  for (int i = 0; i < kUpdateBatch; ++i) last[i] = 0.0f;
  for (int i = 0; i < kUpdateBatch * channels; ++i) rows[i] = 0.0f;
  for (int k = 0; k < sparse.channels_out; ++k) target[k] = 0.0f;
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
      for (int k = 0; k < num_in; ++k) row[sparse.active_in[k]] += message[k];
      if (num_in < sparse.num_active_in) last[i] += u.last_ratio * message[num_in];
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
      for (int k = 0; k < num_out; ++k) target[k] = row[sparse.active_out[k]];
      if (num_out < sparse.num_active_out) target[num_out] = last[i];
      if (sparse.channels_out != CHANNELS) {
        store_marginals(u, target, p, sparse.channels_out);
        continue;
      }
      Row<CHANNELS> result;
      result.load(target);
      if (u.marginals != nullptr) result.store(u.marginals + p * CHANNELS);
      for (int s = 0; s < u.num_scatters; ++s) scatter_row(u.scatters[s], result, p, CHANNELS);
    }
  }
}

void gather_pruned(const PrunedUnary& u, std::size_t begin, std::size_t end) {
  const int num_in = u.num_active_in - (u.active_in[u.num_active_in - 1] == u.num_classes - 1);
  float last[kUpdateBatch], sums[kUpdateBatch];
  for (std::size_t first = begin; first < end; first += kUpdateBatch) {
    const int count = static_cast<int>(end - first < kUpdateBatch ? end - first : kUpdateBatch);
    for (int i = 0; i < kUpdateBatch; ++i) {
      const std::size_t p = i < count ? first + i : first;
      std::memcpy(u.scratch + i * u.channels, u.log_unary + p * u.channels, sizeof(float) * u.channels);
      last[i] = u.log_unary_last[p];
    }
    for (int i = 0; i < count; ++i) {
      float* active_unary = u.active_unary + (first + i) * u.channels_in;
      for (int k = 0; k < num_in; ++k) active_unary[k] = u.scratch[i * u.channels + u.active_in[k]];
      for (int k = num_in; k < u.channels_in; ++k) active_unary[k] = k < u.num_active_in ? last[i] : kLogPad;
    }
    exponentiate<kWidest>(u.scratch, kUpdateBatch * u.channels);
    exponentiate<kWidest>(last, kUpdateBatch);
    for (int i = 0; i < kUpdateBatch; ++i) {
      float* row = u.scratch + i * u.channels;
      for (int k = 0; k < num_in; ++k) row[u.active_in[k]] = 0.0f;
      sums[i] = max_of(sum_of(row, u.channels) + (num_in == u.num_active_in ? last[i] : 0.0f), 1e-37f);
    }
    for (int i = 0; i < kUpdateBatch; i += kWidest) {
      Vec<kWidest> x;
      std::memcpy(&x, sums + i, sizeof(x));
      x = logarithm<kWidest>(x);
      std::memcpy(sums + i, &x, sizeof(x));
    }
    std::memcpy(u.pruned_unary + first, sums, sizeof(float) * count);
  }
}
