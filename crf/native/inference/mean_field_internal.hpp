// Declarations that are shared by the source files of MeanField.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "lattice/features.hpp"
#include "lattice/lattice_cache.hpp"
#include "inference/mean_field.hpp"

namespace atrous {

inline constexpr std::size_t kGrain = 2048;  // points per task

struct MeanField::Term {
  std::unique_ptr<Features> features;  // null once the lattice is built
  CompatibilityMatrix compatibility;
  Normalization normalization;
  std::optional<PositionKey> positions;  // set if the features are the positions on a grid
  std::shared_ptr<const Lattice> lattice;
  // A Potts model with strength w for all classes but the last, and w * ratio for the last: [-w, ..., -w, -w ratio].
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
