// The iterations if every compatibility is a Potts model. All classes but the last have a channel; after some
// iterations, only the active classes do.
//
// In a Potts model, the message to a class depends on the marginals of that class only. So a class whose marginal is
// tiny everywhere gets a message that is tiny everywhere. Such an inactive class is left out of the filters until it
// grows again: its message is taken as 0, and its marginals come from the softmax over all classes as before.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "inference/mean_field_internal.hpp"
#include "runtime/parallel.hpp"

namespace atrous {
namespace {

// A class is inactive while its marginals are below kInactive everywhere, and so small that its message changes its
// exponent by at most kMaxExponentError. So the total probability of the inactive classes at a point has a relative
// error of at most 0.1 %. Classes are pruned only if all strengths are attractive: then a class without a message
// cannot exceed what its unary gives it.
constexpr float kInactive = 1e-4f;
constexpr float kMaxExponentError = 1e-3f;

// The classes that have a channel, in ascending order, and the padded number of channels.
struct Channels {
  std::vector<std::int32_t> classes;
  int padded;

  explicit Channels(std::vector<std::int32_t> of, int at_least = 1)
      : classes(std::move(of)), padded(std::max(at_least, padded_channels(static_cast<int>(classes.size())))) {}
  bool has(std::int32_t c) const { return std::binary_search(classes.begin(), classes.end(), c); }
};

std::vector<std::int32_t> all_but_last(int num_classes) {
  std::vector<std::int32_t> classes(static_cast<std::size_t>(num_classes - 1));
  for (std::size_t c = 0; c < classes.size(); ++c) classes[c] = static_cast<std::int32_t>(c);
  return classes;
}

}  // namespace

class MeanField::PottsRun {
 public:
  PottsRun(MeanField& field, float ratio);
  void operator()(int iterations, float* output, bool (*interrupted)());

 private:
  bool all_active_in() const { return active_in_.classes.size() == all_.classes.size(); }
  bool all_active_out() const { return active_out_.classes.size() == all_.classes.size(); }
  // Whether the pruned classes can be treated as one class: no search for the largest exponent, and no channel with a
  // strength of its own.
  bool can_merge_pruned() const { return !search_max_ && (ratio_ == 1.0f || !active_in_.has(field_.num_classes_ - 1)); }
  std::pair<float, float> add_last_messages();
  void follow_active_out();
  void update(int num_terms, float* output);
  void update_active(PottsUpdate part, std::size_t begin, std::size_t end) const;
  void allocate();
  void choose_channels(int num_terms);
  void narrow(Channels next);
  Buffer<float> pick(const Buffer<float>& rows, const float* totals, const Channels& next) const;
  Buffer<float> totals_of(const Lattice& lattice) const;

  MeanField& field_;
  const float ratio_;
  const Channels all_;
  Channels active_in_, active_out_;  // classes in the sliced values; in the marginals that are splatted next
  bool has_parts_ = false, stores_marginals_ = false, search_max_ = false, prunes_ = false;
  float inactive_below_ = 0.0f;
  std::vector<float> strengths_;
  std::vector<LatticeView> views_;
  std::vector<Buffer<float>> values_;
  // Terms with parts take the marginals from the registers. For all other terms they are stored.
  std::vector<Buffer<float>> sums_;
  Buffer<float> marginals_;
  Buffer<float> last_;  // unary of the last class, plus its message if no other class had one
  Buffer<float> active_unary_, pruned_unary_;  // unary of the active classes, and of the pruned classes as one class
  Buffer<float> maxima_;          // one row per task: the channels, then the last class
};

MeanField::PottsRun::PottsRun(MeanField& field, float ratio)
    : field_(field),
      ratio_(ratio),
      all_(all_but_last(field.num_classes_)),
      active_in_(all_),
      active_out_(all_),
      views_(field.terms_.size()),
      sums_(field.terms_.size()) {
  bool attracts = ratio >= 0.0f;
  for (const auto& term : field_.terms_) {
    (term->lattice->has_parts() ? has_parts_ : stores_marginals_) = true;
    strengths_.push_back(term->strength);
    attracts = attracts && term->strength >= 0.0f;
  }
  const auto [reach, largest] = add_last_messages();
  // The largest exponent of the unary is 0, and messages change it by at most `largest`. e^40 times the number of
  // classes does not overflow, and e^-40 is far above the e^-75 of padding channels.
  const float factor = std::max(1.0f, std::fabs(ratio));
  search_max_ = !(largest * factor < 40.0f);
  inactive_below_ = std::min(kInactive, kMaxExponentError / (reach * factor));
  prunes_ = attracts && field_.unary_channels_ > 4 && inactive_below_ > 0.0f;
  allocate();
}

// Returns how much messages of 1 from everywhere change an exponent at most: the sum of the maxima of the terms, and
// the maximum of the sum.
std::pair<float, float> MeanField::PottsRun::add_last_messages() {
  const std::size_t points = field_.num_points_, terms = field_.terms_.size();
  last_ = Buffer<float>(points);
  std::vector<std::vector<float>> most((points + kGrain - 1) / kGrain, std::vector<float>(terms + 1, 0.0f));
  parallel_ranges(field_.threads_, points, kGrain, [&](std::size_t begin, std::size_t end) {
    float* own = most[begin / kGrain].data();
    for (std::size_t p = begin; p < end; ++p) {
      float sum = 0.0f;
      for (std::size_t t = 0; t < terms; ++t) {
        const float one = field_.terms_[t]->lattice->ones[p];
        own[t] = std::max(own[t], one);
        sum += strengths_[t] * one;
      }
      own[terms] = std::max(own[terms], std::fabs(sum));
      last_[p] = field_.log_unary_last_[p] + ratio_ * sum;
    }
  });
  for (const auto& own : most)
    for (std::size_t t = 0; t <= terms; ++t) most[0][t] = std::max(most[0][t], own[t]);
  float reach = 0.0f;
  for (std::size_t t = 0; t < terms; ++t) reach += strengths_[t] * most[0][t];
  return {reach, most[0][terms]};
}

void MeanField::PottsRun::allocate() {
  const auto row = static_cast<std::size_t>(active_out_.padded);
  marginals_ = Buffer<float>();  // free the old one first
  if (stores_marginals_) marginals_ = Buffer<float>(field_.num_points_ * row);
  for (std::size_t t = 0; t < sums_.size(); ++t) {
    const Lattice& lattice = *field_.terms_[t]->lattice;
    if (lattice.has_parts()) sums_[t] = Buffer<float>(lattice.part_sums.back() * row);
  }
}

void MeanField::PottsRun::operator()(int iterations, float* output, bool (*interrupted)()) {
  for (int iteration = 0; iteration <= iterations; ++iteration) {
    const int num_terms = iteration == 0 ? 0 : static_cast<int>(field_.terms_.size());
    if (iteration > 0) {
      field_.filter_terms(marginals_.data(), sums_.data(), active_out_.padded, values_);
      for (std::size_t t = 0; t < views_.size(); ++t)
        views_[t] = field_.terms_[t]->lattice->view(values_[t].data());
    }
    {
      Stopwatch watch(field_.timings_["slice"]);
      if (iteration > 0) follow_active_out();
      update(num_terms, iteration == iterations ? output : nullptr);
      if (iteration < iterations && prunes_) choose_channels(num_terms);
    }
    if (interrupted != nullptr && interrupted()) return;
  }
}

// The values that are sliced next have the channels that were splatted.
void MeanField::PottsRun::follow_active_out() {
  if (active_in_.classes == active_out_.classes) return;
  active_in_ = active_out_;
  active_unary_ = Buffer<float>();
  if (all_active_in() || !can_merge_pruned()) return;
  const std::size_t points = field_.num_points_;
  active_unary_ = Buffer<float>(points * static_cast<std::size_t>(active_in_.padded));
  if (pruned_unary_.empty()) pruned_unary_ = Buffer<float>(points);
  parallel_ranges(field_.threads_, points, kGrain, [&](std::size_t begin, std::size_t end) {
    std::vector<float> scratch(kUpdateBatch * static_cast<std::size_t>(all_.padded));
    kernels().gather_pruned({field_.log_unary_.data(), field_.log_unary_last_.data(), all_.padded, field_.num_classes_,
                             active_in_.classes.data(), static_cast<int>(active_in_.classes.size()),
                             active_in_.padded, active_unary_.data(), pruned_unary_.data(), scratch.data()},
                          begin, end);
  });
}

void MeanField::PottsRun::update(int num_terms, float* output) {
  const Kernels& run = kernels();
  const std::size_t points = field_.num_points_;
  const bool scatters_here = output == nullptr && has_parts_;
  const std::size_t grain = scatters_here ? points_of_part(points) : kGrain;
  const auto channels = static_cast<std::size_t>(all_.padded);
  const bool measures = output == nullptr && prunes_;
  if (measures) {
    maxima_ = Buffer<float>((points + grain - 1) / grain * (channels + 1));
    maxima_.fill(0.0f);
  }
  PottsUpdate all{};
  all.terms = views_.data();
  all.strengths = strengths_.data();
  all.num_terms = num_terms;
  all.log_unary = field_.log_unary_.data();
  all.log_unary_last = field_.log_unary_last_.data();
  all.last_ratio = ratio_;
  all.search_max = search_max_;
  all.marginals = output != nullptr || !stores_marginals_ ? nullptr : marginals_.data();
  all.output = output;
  all.order = field_.order_.empty() ? nullptr : field_.order_.data();
  all.channels = all_.padded;
  all.num_classes = field_.num_classes_;
  parallel_ranges(field_.threads_, points, grain, [&](std::size_t begin, std::size_t end) {
    PottsUpdate part = all;
    std::vector<Scatter> scatters;
    for (std::size_t t = 0; t < sums_.size() && scatters_here; ++t) {
      const Lattice& lattice = *field_.terms_[t]->lattice;
      if (lattice.has_parts()) scatters.push_back(begin_part(lattice, begin, sums_[t].data(), active_out_.padded));
    }
    part.scatters = scatters.data();
    part.num_scatters = static_cast<int>(scatters.size());
    if (measures) part.maxima = &maxima_[begin / grain * (channels + 1)];
    if (all_active_in()) {
      if (num_terms > 0) part.log_unary_last = last_.data();
      return run.update_potts(part, begin, end);
    }
    if (output == nullptr && can_merge_pruned() && active_in_.classes == active_out_.classes)
      return update_active(part, begin, end);
    std::vector<float> scratch(kUpdateBatch * channels + static_cast<std::size_t>(active_out_.padded));
    const auto size = [](const Channels& of) { return static_cast<int>(of.classes.size()); };
    run.update_sparse({part, active_in_.classes.data(), size(active_in_), active_in_.padded,
                       active_out_.classes.data(), size(active_out_), active_out_.padded, scratch.data()},
                      begin, end);
  });
}

// Updates with channels for the active classes; the pruned classes take the place of the last class, without a message.
void MeanField::PottsRun::update_active(PottsUpdate part, std::size_t begin, std::size_t end) const {
  std::vector<float> maxima(static_cast<std::size_t>(active_in_.padded) + 1, 0.0f);
  const PrunedClasses pruned{part.log_unary, part.log_unary_last, part.channels, inactive_below_, part.maxima};
  part.log_unary = active_unary_.data();
  part.log_unary_last = pruned_unary_.data();
  part.last_ratio = 0.0f;
  part.channels = active_in_.padded;
  part.num_classes = active_in_.padded + 1;
  part.maxima = maxima.data();
  part.pruned = &pruned;
  kernels().update_potts(part, begin, end);
  for (std::size_t k = 0; k < active_in_.classes.size(); ++k) {
    const std::int32_t c = active_in_.classes[k];
    float& most = pruned.maxima[c + 1 < field_.num_classes_ ? c : all_.padded];
    most = std::max(most, maxima[k]);
  }
}

// After an update: chooses the classes that the next filters need.
void MeanField::PottsRun::choose_channels(int num_terms) {
  const auto channels = static_cast<std::size_t>(all_.padded);
  std::vector<std::int32_t> active;
  for (std::int32_t c = 0; c < field_.num_classes_; ++c) {
    const std::size_t at = c + 1 < field_.num_classes_ ? static_cast<std::size_t>(c) : channels;
    float most = 0.0f;
    for (std::size_t row = 0; row < maxima_.size(); row += channels + 1) most = std::max(most, maxima_[row + at]);
    if (!(most < inactive_below_)) active.push_back(c);
  }
  Channels next(std::move(active), 4);
  const bool grows = !all_active_out() && std::any_of(next.classes.begin(), next.classes.end(),
                                                 [&](std::int32_t c) { return !active_out_.has(c); });
  const auto pays = [&](int padded) { return 4 * next.padded <= 3 * padded && next.padded <= kMaxActive; };
  if (grows) {  // rare: an inactive class became active. Its marginals are needed, so the update is repeated
    if (pays(all_.padded)) {
      active_out_ = std::move(next);
    } else {
      active_out_ = all_;
    }
    allocate();
    update(num_terms, nullptr);
  } else if (!next.classes.empty() && pays(active_out_.padded)) {
    narrow(std::move(next));
  }
}

void MeanField::PottsRun::narrow(Channels next) {
  values_.clear();  // already sliced, and larger than what is needed here
  if (stores_marginals_) marginals_ = pick(marginals_, nullptr, next);
  for (std::size_t t = 0; t < sums_.size(); ++t) {
    const Lattice& lattice = *field_.terms_[t]->lattice;
    if (!lattice.has_parts()) continue;
    const Buffer<float> totals = totals_of(lattice);
    sums_[t] = pick(sums_[t], totals.data(), next);
  }
  active_out_ = std::move(next);
}

// Selects the channels of `next` from rows with the channels of active_out_. If the last class has no channel there, it
// is the total of the row (null: 1) minus the other classes.
Buffer<float> MeanField::PottsRun::pick(const Buffer<float>& rows, const float* totals, const Channels& next) const {
  const auto from = static_cast<std::size_t>(active_out_.padded), to = static_cast<std::size_t>(next.padded);
  std::vector<std::size_t> places;
  bool sums_up = false;
  for (const std::int32_t c : next.classes) {
    const auto found = std::lower_bound(active_out_.classes.begin(), active_out_.classes.end(), c);
    sums_up = found == active_out_.classes.end();  // the last class, and the last of next
    if (!sums_up) places.push_back(static_cast<std::size_t>(found - active_out_.classes.begin()));
  }
  const std::size_t size = rows.size() / from;
  Buffer<float> picked(size * to);
  parallel_ranges(field_.threads_, size, kGrain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      const float* row = &rows[r * from];
      float* out = &picked[r * to];
      std::size_t k = 0;
      for (; k < places.size(); ++k) out[k] = row[places[k]];
      if (sums_up) {
        float sum = 0.0f;
        for (std::size_t c = 0; c < active_out_.classes.size(); ++c) sum += row[c];
        out[k++] = (totals != nullptr ? totals[r] : 1.0f) - sum;
      }
      for (; k < to; ++k) out[k] = 0.0f;
    }
  });
  return picked;
}

// Returns, for each partial sum of the lattice, the total over all classes.
Buffer<float> MeanField::PottsRun::totals_of(const Lattice& lattice) const {
  Buffer<float> ones(field_.num_points_), totals(lattice.part_sums.back());
  ones.fill(1.0f);
  parallel_ranges(field_.threads_, ones.size(), points_of_part(ones.size()), [&](std::size_t begin, std::size_t end) {
    kernels().scatter(begin_part(lattice, begin, totals.data(), 1), ones.data(), 1, begin, end);
  });
  return totals;
}

void MeanField::infer_potts(int iterations, float ratio, float* output, bool (*interrupted)()) {
  PottsRun(*this, ratio)(iterations, output, interrupted);
}

}  // namespace atrous
