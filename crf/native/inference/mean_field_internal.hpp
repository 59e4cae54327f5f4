// What the sources of MeanField share.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "lattice/features.hpp"
#include "lattice/lattice_cache.hpp"
#include "inference/mean_field.hpp"

namespace atrous {

inline constexpr std::size_t kGrain = 2048;  // points that one task works on

struct MeanField::Term {
  std::unique_ptr<Features> features;  // until the lattice is built
  CompatibilityMatrix compatibility;
  Normalization normalization;
  std::optional<PositionKey> positions;  // where the features are those of a grid
  std::shared_ptr<const Lattice> lattice;
  // Potts with strength w towards all classes but the last, w * ratio towards the last: [-w, ..., -w, -w ratio].
  bool is_potts = false;
  float strength = 0.0f, ratio = 1.0f;
};

class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total), start_(Clock::now()) {}
  ~Stopwatch() { total_ += std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  double& total_;
  Clock::time_point start_;
};

}  // namespace atrous
