// Converts energies or probabilities to the rows of the unary, and expands merged classes again.
#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "inference/mean_field_internal.hpp"
#include "runtime/parallel.hpp"

namespace atrous {

// `read(block, first, count)` writes the energies of `count` pixels: block[class * kUnaryBlock + i].
template <class Read>
void MeanField::read_unary(Read read) {
  Stopwatch watch(timings_["unary"]);
  const std::size_t channels = unary_channels_;
  if (log_unary_.size() != num_points_ * channels) log_unary_ = Buffer<float>(num_points_ * channels);
  log_unary_last_ = Buffer<float>(num_points_);
  unary_shift_ = Buffer<float>(num_points_);
  parallel_ranges(threads_, num_points_, kGrain, [&](std::size_t begin, std::size_t end) {
    std::vector<float> block(kUnaryBlock * static_cast<std::size_t>(num_classes_));
    std::uint32_t places[kUnaryBlock];
    UnaryBlock unary{};
    unary.energies = block.data();
    unary.places = places;
    unary.num_classes = num_classes_;
    unary.channels = static_cast<int>(channels);
    unary.log_unary = log_unary_.data();
    unary.log_unary_last = log_unary_last_.data();
    unary.shift = unary_shift_.data();
    for (std::size_t first = begin; first < end; first += kUnaryBlock) {
      const std::size_t count = std::min<std::size_t>(kUnaryBlock, end - first);
      if (count < kUnaryBlock) std::fill(block.begin(), block.end(), 0.0f);
      read(block.data(), first, count);
      find_places(first, count, places);
      unary.count = static_cast<int>(count);
      if (!kernels().fill_unary(unary))
        throw std::invalid_argument(
            "the unary energies must be greater than -infinity and not NaN, and each point needs a finite one");
    }
  });
  has_unary_ = true;
}

void MeanField::set_unary(const float* energy) {
  read_unary([&](float* block, std::size_t first, std::size_t count) {
    for (int c = 0; c < num_classes_; ++c)
      std::memcpy(block + c * kUnaryBlock, energy + c * num_points_ + first, sizeof(float) * count);
  });
}

void MeanField::set_probabilities(const float* probabilities, std::size_t num_rows, const std::int32_t* live,
                                  std::size_t num_live) {
  std::vector<std::size_t> rows, merged;
  if (live == nullptr) {
    if (num_rows != static_cast<std::size_t>(num_classes_))
      throw std::invalid_argument("probabilities must have one row per class");
    for (std::size_t row = 0; row < num_rows; ++row) rows.push_back(row);
  } else {
    std::vector<bool> is_live(num_rows, false);
    for (std::size_t i = 0; i < num_live; ++i) {
      const auto row = static_cast<std::size_t>(live[i]);
      if (live[i] < 0 || row >= num_rows || is_live[row])
        throw std::invalid_argument("live must hold different row numbers of the probabilities");
      is_live[row] = true;
      rows.push_back(row);
    }
    for (std::size_t row = 0; row < num_rows; ++row)
      if (!is_live[row]) merged.push_back(row);
    if (num_live + 1 != static_cast<std::size_t>(num_classes_) || merged.empty())
      throw std::invalid_argument(
          "num_classes must be one more than the live rows, and at least one row must not be live");
  }
  read_unary([&](float* block, std::size_t first, std::size_t count) {
    const Kernels& run = kernels();
    const auto check = [&](const float* values) {
      int strange = 0;
      for (std::size_t i = 0; i < count; ++i) strange += values[i] != values[i];
      if (strange > 0) throw std::invalid_argument("probabilities must not be NaN");
    };
    for (std::size_t c = 0; c < rows.size(); ++c) {
      const float* from = probabilities + rows[c] * num_points_ + first;
      check(from);
      std::memcpy(block + c * kUnaryBlock, from, sizeof(float) * count);
    }
    run.energies(block, 1.0f, rows.size() * kUnaryBlock);
    if (merged.empty()) return;
    float* sum = block + rows.size() * kUnaryBlock;
    std::fill(sum, sum + count, 0.0f);
    for (const std::size_t row : merged) {
      const float* from = probabilities + row * num_points_ + first;
      run.add_clipped(from, sum, count);
    }
    check(sum);
    run.energies(sum, std::numeric_limits<float>::max(), count);
  });
}

void MeanField::clear_unary() {
  has_unary_ = false;
  log_unary_ = Buffer<float>();
}

// ---- expanding merged classes ----

void expand(const float* refined, const float* probabilities, std::size_t num_rows, std::size_t num_points,
            const std::int32_t* live, std::size_t num_live, float* output, int threads) {
  std::vector<std::size_t> place(num_rows, num_live);
  for (std::size_t i = 0; i < num_live; ++i) {
    if (live[i] < 0 || static_cast<std::size_t>(live[i]) >= num_rows)
      throw std::invalid_argument("live must hold row numbers of the probabilities");
    place[static_cast<std::size_t>(live[i])] = i;
  }
  const std::size_t columns = num_live + 1;
  parallel_ranges(threads > 0 ? threads : max_threads(), num_points, kGrain, [&](std::size_t begin, std::size_t end) {
    constexpr std::size_t kBlock = 1024;
    const Kernels& run = kernels();
    for (std::size_t first = begin; first < end; first += kBlock) {
      const std::size_t count = std::min(kBlock, end - first);
      float scale[kBlock] = {};
      for (std::size_t row = 0; row < num_rows; ++row) {
        if (place[row] < num_live) continue;
        const float* from = probabilities + row * num_points + first;
        run.add_clipped(from, scale, count);
      }
      for (std::size_t i = 0; i < count; ++i) scale[i] = refined[(first + i) * columns + num_live] / scale[i];
      for (std::size_t row = 0; row < num_rows; ++row) {
        const float* from = probabilities + row * num_points + first;
        float* to = output + row * num_points + first;
        if (place[row] < num_live) {
          for (std::size_t i = 0; i < count; ++i) to[i] = refined[(first + i) * columns + place[row]];
        } else {
          run.scale_clipped(from, scale, to, count);
        }
      }
    }
  });
}

void find_ranges(const float* rows, std::size_t num_rows, std::size_t num_points, float* low, float* high,
                 int threads) {
  constexpr std::size_t kLanes = 16;  // so that the compiler vectorises the loop
  parallel_ranges(threads > 0 ? threads : max_threads(), num_rows, 1, [&](std::size_t row, std::size_t) {
    const float* values = rows + row * num_points;
    float least[kLanes], most[kLanes], nan_marker[kLanes];
    for (std::size_t k = 0; k < kLanes; ++k) least[k] = most[k] = values[0], nan_marker[k] = 0.0f;
    const auto take = [&](std::size_t k, float value) {
      least[k] = value < least[k] ? value : least[k];
      most[k] = value > most[k] ? value : most[k];
      nan_marker[k] += value - value;  // 0 for finite numbers, else NaN
    };
    std::size_t i = 0;
    for (; i + kLanes <= num_points; i += kLanes)
      for (std::size_t k = 0; k < kLanes; ++k) take(k, values[i + k]);
    for (; i < num_points; ++i) take(0, values[i]);
    low[row] = *std::min_element(least, least + kLanes);
    high[row] = *std::max_element(most, most + kLanes);
    for (const float trace : nan_marker)
      if (trace != 0.0f) low[row] = high[row] = std::numeric_limits<float>::quiet_NaN();
  });
}

}  // namespace atrous
