// The iterations where every compatibility is Potts: one channel a class but the last, and after some iterations only for
// the classes that still matter.
//
// A class whose marginal is tiny everywhere sends a message that is tiny everywhere, and a Potts message to a class
// depends on nothing but the marginals of that class. So the filters leave such classes out until they grow again: their
// messages are taken as 0, their marginals come from the softmax of all classes as ever.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "inference/mean_field_internal.hpp"
#include "runtime/parallel.hpp"

namespace atrous {
namespace {

// A class is silent while its marginals are below kSilent, and below what moves its exponent by kMostMoved at most. So
// whatever part of a point the silent classes hold together is wrong by a thousandth of itself at most. Only where all
// classes attract their like: then a class without a message cannot rise above what its unary makes of it.
constexpr float kSilent = 1e-4f;
constexpr float kMostMoved = 1e-3f;

// The classes that the rows of marginals have channels for, ascending.
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
  bool hears_all() const { return heard_.classes.size() == all_.classes.size(); }
  bool sends_all() const { return sent_.classes.size() == all_.classes.size(); }
  // Without a search for the largest exponent, and where no channel has a strength of its own.
  bool can_merge_rest() const { return !search_max_ && (ratio_ == 1.0f || !heard_.has(field_.num_classes_ - 1)); }
  std::pair<float, float> add_last_messages();
  void listen();
  void update(int num_terms, float* output);
  void update_few(PottsUpdate part, std::size_t begin, std::size_t end) const;
  void allocate();
  void choose_channels(int num_terms);
  void narrow(Channels next);
  Buffer<float> pick(const Buffer<float>& rows, const float* totals, const Channels& next) const;
  Buffer<float> totals_of(const Lattice& lattice) const;

  MeanField& field_;
  const float ratio_;
  const Channels all_;
  Channels heard_, sent_;  // of the values that are sliced; of the marginals that are splatted next
  bool has_parts_ = false, stores_marginals_ = false, search_max_ = false, listens_ = false;
  float silent_ = 0.0f;
  std::vector<float> strengths_;
  std::vector<Splice> splices_;
  std::vector<Buffer<float>> values_;
  // Terms with parts take the marginals from the registers; for the others they are stored.
  std::vector<Buffer<float>> sums_;
  Buffer<float> marginals_;
  Buffer<float> last_;  // the last class's unary and what it hears where the others hear nothing
  Buffer<float> few_, few_last_;  // the unary of the classes that are heard, and of the rest as one class
  Buffer<float> maxima_;          // a row for each task: channels and the last class
};

MeanField::PottsRun::PottsRun(MeanField& field, float ratio)
    : field_(field),
      ratio_(ratio),
      all_(all_but_last(field.num_classes_)),
      heard_(all_),
      sent_(all_),
      splices_(field.terms_.size()),
      sums_(field.terms_.size()) {
  bool attracts = ratio >= 0.0f;
  for (const auto& term : field_.terms_) {
    (term->lattice->has_parts() ? has_parts_ : stores_marginals_) = true;
    strengths_.push_back(term->strength);
    attracts = attracts && term->strength >= 0.0f;
  }
  const auto [reach, largest] = add_last_messages();
  // The unary's largest exponent is 0 and messages move it by `largest` at most: e^40 times all classes fits, and e^-40
  // stands far above what channels without a class add, e^-75.
  const float factor = std::max(1.0f, std::fabs(ratio));
  search_max_ = !(largest * factor < 40.0f);
  silent_ = std::min(kSilent, kMostMoved / (reach * factor));
  listens_ = attracts && field_.unary_channels_ > 4 && silent_ > 0.0f;
  allocate();
}

// Returns how far messages of 1 from all sides move an exponent: where each term's are largest, and where all are.
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
  const auto row = static_cast<std::size_t>(sent_.padded);
  marginals_ = Buffer<float>();  // before the new one is there
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
      field_.filter_terms(marginals_.data(), sums_.data(), sent_.padded, values_);
      for (std::size_t t = 0; t < splices_.size(); ++t)
        splices_[t] = field_.terms_[t]->lattice->splice(values_[t].data());
    }
    {
      Stopwatch watch(field_.timings_["slice"]);
      if (iteration > 0) listen();
      update(num_terms, iteration == iterations ? output : nullptr);
      if (iteration < iterations && listens_) choose_channels(num_terms);
    }
    if (interrupted != nullptr && interrupted()) return;
  }
}

// The values have the channels that were sent.
void MeanField::PottsRun::listen() {
  if (heard_.classes == sent_.classes) return;
  heard_ = sent_;
  few_ = Buffer<float>();
  if (hears_all() || !can_merge_rest()) return;
  const std::size_t points = field_.num_points_;
  few_ = Buffer<float>(points * static_cast<std::size_t>(heard_.padded));
  if (few_last_.empty()) few_last_ = Buffer<float>(points);
  parallel_ranges(field_.threads_, points, kGrain, [&](std::size_t begin, std::size_t end) {
    std::vector<float> scratch(kUpdateBatch * static_cast<std::size_t>(all_.padded));
    kernels().gather_rest({field_.log_unary_.data(), field_.log_unary_last_.data(), all_.padded, field_.num_classes_,
                           heard_.classes.data(), static_cast<int>(heard_.classes.size()), heard_.padded, few_.data(),
                           few_last_.data(), scratch.data()},
                          begin, end);
  });
}

void MeanField::PottsRun::update(int num_terms, float* output) {
  const Kernels& run = kernels();
  const std::size_t points = field_.num_points_;
  const bool scatters_here = output == nullptr && has_parts_;
  const std::size_t grain = scatters_here ? points_of_part(points) : kGrain;
  const auto channels = static_cast<std::size_t>(all_.padded);
  const bool measures = output == nullptr && listens_;
  if (measures) {
    maxima_ = Buffer<float>((points + grain - 1) / grain * (channels + 1));
    maxima_.fill(0.0f);
  }
  PottsUpdate all{};
  all.terms = splices_.data();
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
      if (lattice.has_parts()) scatters.push_back(begin_part(lattice, begin, sums_[t].data(), sent_.padded));
    }
    part.scatters = scatters.data();
    part.num_scatters = static_cast<int>(scatters.size());
    if (measures) part.maxima = &maxima_[begin / grain * (channels + 1)];
    if (hears_all()) {
      if (num_terms > 0) part.log_unary_last = last_.data();
      return run.update_potts(part, begin, end);
    }
    if (output == nullptr && can_merge_rest() && heard_.classes == sent_.classes)
      return update_few(part, begin, end);
    std::vector<float> scratch(kUpdateBatch * channels + static_cast<std::size_t>(sent_.padded));
    const auto size = [](const Channels& of) { return static_cast<int>(of.classes.size()); };
    run.update_sparse({part, heard_.classes.data(), size(heard_), heard_.padded, sent_.classes.data(), size(sent_),
                       sent_.padded, scratch.data()},
                      begin, end);
  });
}

// The rest of the classes stands in the last one's place, and hears nothing.
void MeanField::PottsRun::update_few(PottsUpdate part, std::size_t begin, std::size_t end) const {
  std::vector<float> maxima(static_cast<std::size_t>(heard_.padded) + 1, 0.0f);
  const Rest rest{part.log_unary, part.log_unary_last, part.channels, silent_, part.maxima};
  part.log_unary = few_.data();
  part.log_unary_last = few_last_.data();
  part.last_ratio = 0.0f;
  part.channels = heard_.padded;
  part.num_classes = heard_.padded + 1;
  part.maxima = maxima.data();
  part.rest = &rest;
  kernels().update_potts(part, begin, end);
  for (std::size_t k = 0; k < heard_.classes.size(); ++k) {
    const std::int32_t c = heard_.classes[k];
    float& most = rest.maxima[c + 1 < field_.num_classes_ ? c : all_.padded];
    most = std::max(most, maxima[k]);
  }
}

// After an update: which classes the next filters need.
void MeanField::PottsRun::choose_channels(int num_terms) {
  const auto channels = static_cast<std::size_t>(all_.padded);
  std::vector<std::int32_t> loud;
  for (std::int32_t c = 0; c < field_.num_classes_; ++c) {
    const std::size_t at = c + 1 < field_.num_classes_ ? static_cast<std::size_t>(c) : channels;
    float most = 0.0f;
    for (std::size_t row = 0; row < maxima_.size(); row += channels + 1) most = std::max(most, maxima_[row + at]);
    if (!(most < silent_)) loud.push_back(c);
  }
  Channels next(std::move(loud), 4);
  const bool grows = !sends_all() && std::any_of(next.classes.begin(), next.classes.end(),
                                                 [&](std::int32_t c) { return !sent_.has(c); });
  const auto pays = [&](int padded) { return 4 * next.padded <= 3 * padded && next.padded <= kMostHeard; };
  if (grows) {  // rare: the marginals of a class that was silent are wanted, so the update is done again
    if (pays(all_.padded)) {
      sent_ = std::move(next);
    } else {
      sent_ = all_;
    }
    allocate();
    update(num_terms, nullptr);
  } else if (!next.classes.empty() && pays(sent_.padded)) {
    narrow(std::move(next));
  }
}

void MeanField::PottsRun::narrow(Channels next) {
  values_.clear();  // they have been sliced, and are larger than what is needed here
  if (stores_marginals_) marginals_ = pick(marginals_, nullptr, next);
  for (std::size_t t = 0; t < sums_.size(); ++t) {
    const Lattice& lattice = *field_.terms_[t]->lattice;
    if (!lattice.has_parts()) continue;
    const Buffer<float> totals = totals_of(lattice);
    sums_[t] = pick(sums_[t], totals.data(), next);
  }
  sent_ = std::move(next);
}

// The channels of `next` out of rows that have those of sent_. All classes of a row sum to its total (null: 1), which is
// where the last one comes from if it has no channel.
Buffer<float> MeanField::PottsRun::pick(const Buffer<float>& rows, const float* totals, const Channels& next) const {
  const auto from = static_cast<std::size_t>(sent_.padded), to = static_cast<std::size_t>(next.padded);
  std::vector<std::size_t> places;
  bool sums_up = false;
  for (const std::int32_t c : next.classes) {
    const auto found = std::lower_bound(sent_.classes.begin(), sent_.classes.end(), c);
    sums_up = found == sent_.classes.end();  // the last class, and the last of next
    if (!sums_up) places.push_back(static_cast<std::size_t>(found - sent_.classes.begin()));
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
        for (std::size_t c = 0; c < sent_.classes.size(); ++c) sum += row[c];
        out[k++] = (totals != nullptr ? totals[r] : 1.0f) - sum;
      }
      for (; k < to; ++k) out[k] = 0.0f;
    }
  });
  return picked;
}

// What the rows of all classes sum to, for each of the lattice's sums of parts.
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
