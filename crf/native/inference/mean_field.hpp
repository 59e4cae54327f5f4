// Mean-field inference in a dense CRF (Krähenbühl & Koltun 2011), filtered on permutohedral lattices.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/buffer.hpp"
#include "inference/filter.hpp"

namespace atrous {

struct CompatibilityMatrix {
  int rank = 0;               // 0: the strength of a Potts model; 1: one value per class; 2: a matrix
  std::vector<float> values;  // 1, C or C * C numbers; a matrix is symmetric
};

class MeanField {
 public:
  MeanField(int num_classes, std::size_t num_points, std::size_t height, std::size_t width, int threads, bool ring);
  ~MeanField();

  // [classes][points]; rows in the order of the image.
  void set_unary(const float* energy);
  // Sets energy = -log(clip(p, 1e-5, 1)). With `live`, class i is row live[i] of the probabilities, and the last class
  // is the sum of all other rows.
  void set_probabilities(const float* probabilities, std::size_t num_rows, const std::int32_t* live,
                         std::size_t num_live);
  void clear_unary();

  void add_positions(float x_std, float y_std, CompatibilityMatrix compatibility, Normalization normalization);
  template <class Pixel>
  void add_image(const Pixel* image, int channels, float x_std, float y_std, const float* stds,
                 CompatibilityMatrix compatibility, Normalization normalization);
  void add_features(const float* features, int dimensions, CompatibilityMatrix compatibility,
                    Normalization normalization);

  // All of these read or write [points][classes] in the order of the image. infer calls `interrupted` between
  // iterations.
  void infer(int iterations, float* output, bool (*interrupted)());
  void start(float* output);
  void step(float* marginals);
  double kl_divergence(const float* marginals);

  std::vector<std::size_t> vertices();
  std::map<std::string, double> timings() const { return timings_; }
  int num_classes() const { return num_classes_; }
  std::size_t num_points() const { return num_points_; }

 private:
  struct Term;
  class PottsRun;
  void add_term(std::unique_ptr<Features> features, CompatibilityMatrix compatibility, Normalization normalization);
  void prepare();
  void build(Term& term);
  void choose_order();
  void find_places(std::size_t first, std::size_t count, std::uint32_t* places) const;
  void require_grid(const char* what) const;
  template <class Read>
  void read_unary(Read read);
  bool shares_potts_path(float& ratio) const;
  void infer_potts(int iterations, float ratio, float* output, bool (*interrupted)());
  void infer_general(int iterations, float* output, bool (*interrupted)());
  double update_general(float* marginals, float* output, const float* divergence_of, bool with_terms);
  // `sums`: the partial sums of each term with parts, or null to compute all from `source`.
  void filter_terms(const float* source, const Buffer<float>* sums, int channels, std::vector<Buffer<float>>& values);
  Buffer<float> load_marginals(const float* marginals);

  int num_classes_;
  std::size_t num_points_, height_, width_;
  int threads_;
  bool ring_;
  int unary_channels_;              // padded length of a row with all classes but the last
  std::vector<std::unique_ptr<Term>> terms_;
  Buffer<std::uint32_t> order_;     // internal position -> pixel; empty for identity
  Buffer<float> log_unary_, log_unary_last_, unary_shift_;  // in internal order
  bool has_unary_ = false;
  std::map<std::string, double> timings_;
};

// Undoes the merging of set_probabilities(live): [rows][points] from refined [points][live + 1]. The last class is
// divided among the rows that are not live, in proportion to their clipped probabilities.
void expand(const float* refined, const float* probabilities, std::size_t num_rows, std::size_t num_points,
            const std::int32_t* live, std::size_t num_live, float* output, int threads);

// Writes the lowest and highest number of each row; both are NaN if a number is not finite.
void find_ranges(const float* rows, std::size_t num_rows, std::size_t num_points, float* low, float* high,
                 int threads);

}  // namespace atrous
