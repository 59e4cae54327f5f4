#include "lattice.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "parallel.hpp"

namespace atrous {
namespace {

using Index = std::uint32_t;
constexpr Index kNone = 0xffffffffu;
constexpr std::size_t kBlock = 64;          // points elevated together: the compiler makes vectors of them
constexpr std::size_t kBatch = 1u << 16;    // points whose keys stand in memory at once
constexpr std::size_t kChunk = 256;         // vertices that are blurred along several axes at once: 20 KB of 20 classes
constexpr std::size_t kBand = 64;           // lines of a two-dimensional lattice that one task filters
constexpr std::size_t kLargest = 1024;      // component for which that is worth while
constexpr std::size_t kLookAhead = 16;

#if defined(__GNUC__) || defined(__clang__)
inline void prefetch(const void* address) { __builtin_prefetch(address); }
#else
inline void prefetch(const void*) {}
#endif

// ---- keys: the n_j of a vertex in one number; stepping along an axis adds that axis's constant ----

// Mixed radix in 64 bits: exact.
struct Key64 {
  std::uint64_t a;
  Key64 operator+(Key64 o) const { return {a + o.a}; }
  Key64 operator-(Key64 o) const { return {a - o.a}; }
  bool operator==(Key64 o) const { return a == o.a; }
  std::uint64_t hash() const {
    const std::uint64_t x = a * 0x9e3779b97f4a7c15ull;
    return x ^ (x >> 32);
  }
};

// Where the ranges do not fit: two linear hashes with odd 64-bit factors. Two of even 2^31 vertices share a key with
// a probability of 2^-66.
struct Key128 {
  std::uint64_t a, b;
  Key128 operator+(Key128 o) const { return {a + o.a, b + o.b}; }
  Key128 operator-(Key128 o) const { return {a - o.a, b - o.b}; }
  bool operator==(Key128 o) const { return a == o.a && b == o.b; }
  std::uint64_t hash() const {
    const std::uint64_t x = (a ^ (b >> 29)) * 0x9e3779b97f4a7c15ull;
    return x ^ (x >> 32);
  }
};

std::uint64_t scramble(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// ---- elevation ----

// Float32 operations in the order that pydensecrf has them: another order puts some points into other simplices.
// This file is compiled without contraction to fused multiply-add.
class Elevation {
 public:
  explicit Elevation(int dimensions) : d_(dimensions), scale_(dimensions) {
    const float spread = static_cast<float>(std::sqrt(2.0 / 3.0) * (d_ + 1));
    for (int i = 0; i < d_; ++i)
      scale_[i] = static_cast<float>(1.0 / std::sqrt(double(i + 2) * double(i + 1)) * spread);
  }

  int dimensions() const { return d_; }

  // What a block of points needs on its way; one a task.
  struct Scratch {
    explicit Scratch(int d)
        : features(d * kBlock), elevated((d + 1) * kBlock), nearest((d + 1) * kBlock), rank((d + 1) * kBlock) {}
    std::vector<float> features, elevated, nearest;
    std::vector<std::int32_t> rank;
  };

  // From features to the nearest remainder-0 vertex (divided by d+1) and the ranks of the differences.
  void locate(Scratch& s) const {
    const int d = d_;
    float* elevated = s.elevated.data();
    float* nearest = s.nearest.data();
    std::int32_t* rank = s.rank.data();
    float sum[kBlock] = {};
    for (int j = d; j > 0; --j) {
      const float* feature = s.features.data() + (j - 1) * kBlock;
      float* out = elevated + j * kBlock;
      const float scale = scale_[j - 1], factor = static_cast<float>(j);
      for (std::size_t i = 0; i < kBlock; ++i) {
        const float cf = feature[i] * scale;
        out[i] = sum[i] - factor * cf;
        sum[i] += cf;
      }
    }
    for (std::size_t i = 0; i < kBlock; ++i) elevated[i] = sum[i];

    const float down = 1.0f / static_cast<float>(d + 1), up = static_cast<float>(d + 1);
    float total[kBlock] = {};
    for (int j = 0; j <= d; ++j) {
      const float* e = elevated + j * kBlock;
      float* r = nearest + j * kBlock;
      for (std::size_t i = 0; i < kBlock; ++i) {
        r[i] = (e[i] * down + 12582912.0f) - 12582912.0f;  // rounds half to even
        total[i] += r[i];
      }
    }
    std::fill(rank, rank + (d + 1) * kBlock, 0);
    for (int j = 0; j < d; ++j) {
      for (int k = j + 1; k <= d; ++k) {
        const float *ej = elevated + j * kBlock, *ek = elevated + k * kBlock;
        const float *rj = nearest + j * kBlock, *rk = nearest + k * kBlock;
        std::int32_t *aj = rank + j * kBlock, *ak = rank + k * kBlock;
        for (std::size_t i = 0; i < kBlock; ++i) {
          const std::int32_t less = ej[i] - rj[i] * up < ek[i] - rk[i] * up;
          aj[i] += less;
          ak[i] += 1 - less;
        }
      }
    }
    // Points whose nearest vertex is off the plane step back onto it.
    for (int j = 0; j <= d; ++j) {
      float* r = nearest + j * kBlock;
      std::int32_t* a = rank + j * kBlock;
      for (std::size_t i = 0; i < kBlock; ++i) {
        const std::int32_t shifted = a[i] + static_cast<std::int32_t>(total[i]);
        const std::int32_t wrap = (shifted < 0 ? 1 : 0) - (shifted > d ? 1 : 0);
        a[i] = shifted + wrap * (d + 1);
        r[i] += static_cast<float>(wrap);
      }
    }
  }

  // n_j lies within these bounds for features within low_high, with room for the corners and their neighbours.
  // Throws where positions are beyond float32's precision.
  void reach(const float* low_high, std::int64_t* low, std::int64_t* high) const {
    std::vector<double> elevated_low(d_ + 1), elevated_high(d_ + 1);
    for (int j = 0; j <= d_; ++j) {
      double lo = 0, hi = 0;
      for (int k = std::max(j, 1); k <= d_; ++k) {
        const double factor = (k == j && j > 0) ? -double(j) : 1.0;
        const double a = factor * scale_[k - 1] * low_high[2 * (k - 1)];
        const double b = factor * scale_[k - 1] * low_high[2 * (k - 1) + 1];
        lo += std::min(a, b);
        hi += std::max(a, b);
      }
      elevated_low[j] = lo / (d_ + 1);
      elevated_high[j] = hi / (d_ + 1);
      if (!(std::fabs(elevated_low[j]) <= kMaxCells) || !(std::fabs(elevated_high[j]) <= kMaxCells))
        throw std::invalid_argument(
            "features reach more than about a million cells of the lattice from the origin, where float32 cannot "
            "tell positions apart; use wider standard deviations");
    }
    for (int j = 1; j <= d_; ++j) {
      low[j - 1] = static_cast<std::int64_t>(std::floor(elevated_low[j] - elevated_high[0])) - 8;
      high[j - 1] = static_cast<std::int64_t>(std::ceil(elevated_high[j] - elevated_low[0])) + 8;
    }
  }

 private:
  int d_;
  std::vector<float> scale_;
};

// How keys are made: n_j = nearest_j - nearest_0, packed with a factor for each j.
template <class Key>
struct Packing {
  std::vector<Key> factor;  // of n_j at j; [0] is not used
  Key origin;
  std::vector<Key> step;  // a step along axis j adds this
};

Packing<Key64> pack_exactly(int d, const std::int64_t* low, const std::int64_t* high, std::uint64_t& span) {
  Packing<Key64> p{std::vector<Key64>(d + 1), {0}, std::vector<Key64>(d + 1)};
  span = 1;
  for (int j = 1; j <= d; ++j) {
    const auto range = static_cast<std::uint64_t>(high[j - 1] - low[j - 1] + 1);
    if (span > std::numeric_limits<std::uint64_t>::max() / 4 / range) {
      span = 0;  // does not fit
      return p;
    }
    p.factor[j] = {span};
    p.origin.a -= span * static_cast<std::uint64_t>(low[j - 1]);
    span *= range;
  }
  for (int j = 1; j <= d; ++j) {
    p.step[j] = p.factor[j];
    p.step[0] = p.step[0] - p.factor[j];
  }
  return p;
}

Packing<Key128> pack_hashed(int d) {
  Packing<Key128> p{std::vector<Key128>(d + 1), {0, 0}, std::vector<Key128>(d + 1)};
  p.step[0] = {0, 0};
  for (int j = 1; j <= d; ++j) {
    p.factor[j] = {scramble(2 * j) | 1, scramble(2 * j + 1) | 1};
    p.step[j] = p.factor[j];
    p.step[0] = p.step[0] - p.factor[j];
  }
  return p;
}

Key64 times(Key64 factor, std::int64_t n) { return {factor.a * static_cast<std::uint64_t>(n)}; }
Key128 times(Key128 factor, std::int64_t n) {
  return {factor.a * static_cast<std::uint64_t>(n), factor.b * static_cast<std::uint64_t>(n)};
}

// ---- tables from key to vertex ----

// Open addressing with linear probing, at most half full. A slot holds half of the key's hash; the key itself stands
// in the list of the vertices, which is seldom asked in vain.
template <class Key>
class HashTable {
 public:
  explicit HashTable(std::size_t expected) {
    std::size_t capacity = 1024;
    while (capacity < 2 * expected) capacity *= 2;
    allocate(capacity);
  }
  void prefetch_slot(Key key) const { prefetch(&slots_[key.hash() & mask_]); }
  Index find(Key key, const std::vector<Key>& keys) const {
    const std::uint64_t hash = key.hash();
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Slot slot = slots_[i];
      if (slot.vertex == kNone || (slot.tag == tag_of(hash) && keys[slot.vertex] == key)) return slot.vertex;
    }
  }
  // Returns the key's vertex, or gives it the next number and appends it to `keys`.
  Index insert(Key key, std::vector<Key>& keys) {
    const std::uint64_t hash = key.hash();
    std::size_t i = hash & mask_;
    for (; slots_[i].vertex != kNone; i = (i + 1) & mask_)
      if (slots_[i].tag == tag_of(hash) && keys[slots_[i].vertex] == key) return slots_[i].vertex;
    const auto vertex = static_cast<Index>(keys.size());
    if (vertex >= kChainEnd) throw std::length_error("the lattice has more than 2^31 vertices");
    slots_[i] = {tag_of(hash), vertex};
    keys.push_back(key);
    if (keys.size() * 2 > mask_) grow(keys);
    return vertex;
  }

 private:
  struct Slot {
    std::uint32_t tag;
    Index vertex;
  };
  static std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }
  void allocate(std::size_t capacity) {
    slots_ = Buffer<Slot>(capacity);
    mask_ = capacity - 1;
    slots_.fill({0, kNone});
  }
  void grow(const std::vector<Key>& keys) {
    allocate((mask_ + 1) * 2);
    for (std::size_t v = 0; v < keys.size(); ++v) {
      if (v + kLookAhead < keys.size()) prefetch_slot(keys[v + kLookAhead]);
      const std::uint64_t hash = keys[v].hash();
      std::size_t i = hash & mask_;
      while (slots_[i].vertex != kNone) i = (i + 1) & mask_;
      slots_[i] = {tag_of(hash), static_cast<Index>(v)};
    }
  }
  Buffer<Slot> slots_;
  std::size_t mask_ = 0;
};

// Where keys are dense, as on the grid of an image's positions, the key itself is the place.
class DirectTable {
 public:
  explicit DirectTable(std::uint64_t span) : vertex_(static_cast<std::size_t>(span)) {
    vertex_.fill(kNone);
  }
  void prefetch_slot(Key64 key) const { prefetch(&vertex_[key.a]); }
  Index find(Key64 key, const std::vector<Key64>&) const { return vertex_[key.a]; }
  Index insert(Key64 key, std::vector<Key64>& keys) {
    Index& vertex = vertex_[key.a];
    if (vertex == kNone) {
      vertex = static_cast<Index>(keys.size());
      keys.push_back(key);
    }
    return vertex;
  }

 private:
  Buffer<Index> vertex_;
};

// ---- the build ----

template <class Key>
void elevate_batch(const Features& features, const Elevation& elevation, const Packing<Key>& packing,
                   const Index* order, std::size_t first, std::size_t count, Key* keys, float* weights,
                   int threads) {
  const int d = elevation.dimensions();
  const int corners = d + 1;
  const float down = 1.0f / static_cast<float>(d + 1), up = static_cast<float>(d + 1);
  parallel_ranges(threads, count, 32 * kBlock, [&](std::size_t begin, std::size_t end) {
    Elevation::Scratch s(d);
    std::vector<int> axis_of_rank(corners);
    std::vector<float> inner(corners);
    for (std::size_t block = begin; block < end; block += kBlock) {
      const std::size_t size = std::min(kBlock, end - block);
      features.fill(order, first + block, size, s.features.data(), kBlock);
      elevation.locate(s);
      for (std::size_t i = 0; i < size; ++i) {
        const auto origin = static_cast<std::int64_t>(s.nearest[i]);
        Key key = packing.origin;
        for (int j = 0; j <= d; ++j) {
          const std::size_t at = j * kBlock + i;
          const int rank = s.rank[at];
          axis_of_rank[rank] = j;
          inner[rank] = (s.elevated[at] - s.nearest[at] * up) * down;
          if (j > 0) key = key + times(packing.factor[j], static_cast<std::int64_t>(s.nearest[at]) - origin);
        }
        float* w = weights + (block + i) * corners;
        Key* k = keys + (block + i) * corners;
        w[0] = inner[d] + (1.0f - inner[0]);
        k[0] = key;
        for (int c = 1; c <= d; ++c) {
          // One step back along the axis whose difference is next in rank.
          w[c] = inner[d - c] - inner[d - c + 1];
          key = key - packing.step[axis_of_rank[d - c + 1]];
          k[c] = key;
        }
      }
    }
  });
}

// Entries of each vertex in the order of the points.
void turn_round(Lattice& lattice, int threads) {
  const std::size_t corners = lattice.dimensions + 1;
  const std::size_t entries = lattice.num_points * corners;
  lattice.first = Buffer<Index>(lattice.num_vertices + 1);
  lattice.first.fill(0);
  lattice.entry_points = Buffer<Index>(entries);
  lattice.entry_weights = Buffer<float>(entries);
  Index* first = lattice.first.data();
  const Index* vertices = lattice.vertices.data();
  for (std::size_t e = 0; e < entries; ++e) ++first[vertices[e] + 1];
  for (std::size_t v = 0; v < lattice.num_vertices; ++v) first[v + 1] += first[v];
  Buffer<Index> cursor(lattice.num_vertices);
  std::copy(first, first + lattice.num_vertices, cursor.data());
  // Each task takes the points of a range of vertices; all read everything, so there are only as many as threads.
  const std::size_t parts = static_cast<std::size_t>(std::clamp(threads, 1, 8));
  const std::size_t grain = (lattice.num_vertices + parts - 1) / parts;
  parallel_ranges(threads, lattice.num_vertices, std::max<std::size_t>(grain, 1),
                  [&](std::size_t begin, std::size_t end) {
                    for (std::size_t p = 0; p < lattice.num_points; ++p) {
                      for (std::size_t k = 0; k < corners; ++k) {
                        const std::size_t e = p * corners + k;
                        const Index v = vertices[e];
                        if (v < begin || v >= end) continue;
                        const Index at = cursor[v]++;
                        lattice.entry_points[at] = static_cast<Index>(p);
                        lattice.entry_weights[at] = lattice.weights[e];
                      }
                    }
                  });
}

// The neighbours of each vertex along the axes of a group, side by side: whoever needs one needs all.
class Links {
 public:
  template <class Key, class Table>
  Links(const std::vector<Key>& keys, const Table& table, const Key* steps, std::size_t axes)
      : count_(keys.size()), axes_(axes), links_(2 * axes * keys.size()) {
    links_.fill(kNone);
    for (std::size_t v = 0; v < count_; ++v) {
      if (v + kLookAhead < count_)
        for (std::size_t k = 0; k < axes; ++k) table.prefetch_slot(keys[v + kLookAhead] + steps[k]);
      for (std::size_t k = 0; k < axes; ++k) {
        const Index next = table.find(keys[v] + steps[k], keys);
        if (next == kNone) continue;
        links_[2 * (v * axes + k)] = next;
        links_[2 * (next * axes + k) + 1] = static_cast<Index>(v);
      }
    }
  }
  std::size_t count() const { return count_; }
  std::size_t axes() const { return axes_; }
  Index next(Index v, std::size_t axis) const { return links_[2 * (v * axes_ + axis)]; }
  Index previous(Index v, std::size_t axis) const { return links_[2 * (v * axes_ + axis) + 1]; }

 private:
  std::size_t count_, axes_;
  Buffer<Index> links_;
};

// Collects the components along some axes of a group, in the order of their first vertices.
class GroupBuilder {
 public:
  GroupBuilder(const Links& links, std::size_t first_axis, std::size_t axes)
      : links_(links), first_axis_(first_axis), axes_(axes) {}

  // False where a component is too large to be worth it. `order` receives the vertices in the order of the components.
  bool build(Lattice::Group& group, Buffer<Index>* order) {
    const std::size_t count = links_.count();
    group.axes.resize(axes_);
    for (auto& axis : group.axes) axis.chains = Buffer<Index>(count);
    Buffer<std::uint8_t> seen(count);
    seen.fill(0);
    std::size_t ordered = 0, in_chunk = 0;
    for (std::size_t seed = 0; seed < count; ++seed) {
      if (seen[seed]) continue;
      if (!collect(static_cast<Index>(seed), seen)) return false;
      const bool is_alone = component_.size() == 1;
      if (order != nullptr)
        for (const Index v : component_)
          if (links_.previous(v, first_axis_) == kNone)
            for (Index u = v; u != kNone; u = links_.next(u, first_axis_)) (*order)[ordered++] = u;
      for (std::size_t k = 0; k < axes_ && !is_alone; ++k) emit(first_axis_ + k, group.axes[k]);
      if (!is_alone || order != nullptr) in_chunk += component_.size();
      if (in_chunk >= kChunk) in_chunk = cut(group, ordered);
    }
    if (in_chunk > 0) cut(group, ordered);
    return true;
  }

 private:
  bool collect(Index seed, Buffer<std::uint8_t>& seen) {
    component_.assign(1, seed);
    seen[seed] = 1;
    const auto visit = [&](Index v) {
      if (v == kNone || seen[v]) return;
      seen[v] = 1;
      component_.push_back(v);
    };
    for (std::size_t i = 0; i < component_.size(); ++i) {
      for (std::size_t axis = first_axis_; axis < first_axis_ + axes_; ++axis) {
        visit(links_.next(component_[i], axis));
        visit(links_.previous(component_[i], axis));
      }
      if (axes_ > 1 && component_.size() > kLargest) return false;
    }
    return true;
  }

  void emit(std::size_t axis, Lattice::Group::Axis& list) const {
    for (const Index head : component_) {
      if (links_.previous(head, axis) != kNone || links_.next(head, axis) == kNone) continue;
      for (Index v = head, next; v != kNone; v = next) {
        next = links_.next(v, axis);
        list.chains[list.length++] = next == kNone ? v | kChainEnd : v;
      }
    }
  }

  static std::size_t cut(Lattice::Group& group, std::size_t ordered) {
    for (auto& axis : group.axes) axis.cuts.push_back(axis.length);
    group.vertex_cuts.push_back(ordered);
    return 0;
  }

  const Links& links_;
  std::size_t first_axis_, axes_;
  std::vector<Index> component_;
};

// One group for `axes` axes, or one for each.
template <class Key, class Table>
std::vector<Lattice::Group> group_axes(const std::vector<Key>& keys, const Table& table, const Key* steps,
                                       std::size_t axes, Buffer<Index>* order) {
  const Links links(keys, table, steps, axes);
  std::vector<Lattice::Group> groups(1);
  if (GroupBuilder(links, 0, axes).build(groups[0], order)) return groups;
  groups = std::vector<Lattice::Group>(axes);
  for (std::size_t k = 0; k < axes; ++k) GroupBuilder(links, k, 1).build(groups[k], k == 0 ? order : nullptr);
  return groups;
}

void renumber(std::vector<Lattice::Group>& groups, const Buffer<Index>& number) {
  for (auto& group : groups)
    for (auto& axis : group.axes)
      for (std::size_t i = 0; i < axis.length; ++i)
        axis.chains[i] = number[axis.chains[i] & ~kChainEnd] | (axis.chains[i] & kChainEnd);
}

// Tries to see a two-dimensional lattice as lines without holes; gives the vertices' numbers along them.
bool find_lines(Lattice& lattice, const std::vector<Key64>& keys, std::size_t width, Buffer<Index>& number) {
  std::vector<Lattice::Line> lines;
  for (const Key64 key : keys) {
    const std::size_t row = key.a / width;
    const auto column = static_cast<Index>(key.a % width);
    if (row >= lines.size()) lines.resize(row + 1);
    Lattice::Line& line = lines[row];
    const Index end = line.count == 0 ? column + 1 : std::max(line.first + line.start, column + 1);
    line.first = line.count == 0 ? column : std::min(line.first, column);
    line.start = end - line.first;  // so far: what the count would be without holes
    ++line.count;
  }
  Index start = 0, widest = 0;
  for (auto& line : lines) {
    if (line.start != line.count) return false;
    line.start = start;
    start += line.count;
    widest = std::max(widest, line.first + line.count);
  }
  for (std::size_t v = 0; v < keys.size(); ++v) {
    const Lattice::Line& line = lines[keys[v].a / width];
    number[v] = line.start + (static_cast<Index>(keys[v].a % width) - line.first);
  }
  lattice.lines = std::move(lines);
  lattice.line_width = widest + 2;
  return true;
}

bool find_lines(Lattice&, const std::vector<Key128>&, std::size_t, Buffer<Index>&) { return false; }

// Splat and blur of lines, some of them at a time: each line passes through all axes while it is in the cache.
class LineFilter {
 public:
  LineFilter(const Lattice& lattice, const Splat& splat, float* values)
      : lattice_(lattice), splat_(splat), values_(values), row_(splat.channels), width_(lattice.line_width * row_) {}

  void operator()(std::size_t begin, std::size_t end) const {
    Buffer<float> memory(7 * width_);
    float* splatted = memory.data();          // three lines each: line l stands at l mod 3
    float* blurred = splatted + 3 * width_;
    float* between = splatted + 6 * width_;
    const Kernels& run = kernels();
    const auto at = [&](float* lines, std::ptrdiff_t l, std::ptrdiff_t n) {
      return lines + static_cast<std::size_t>((l + 3) % 3) * width_ + n * row_;
    };
    const auto first = static_cast<std::ptrdiff_t>(begin), last = static_cast<std::ptrdiff_t>(end);
    for (std::ptrdiff_t l = first - 2; l <= last + 1; ++l) {
      const Lattice::Line line = line_at(l);
      float* target = at(splatted, l, line.first);
      if (line.count > 0) run.splat(splat_, target, line.start, line.start + line.count);
      clear_around(at(splatted, l, 0), l);
      if (l < first) continue;

      // Axis 0 joins n_1 with n_1 - 1 of the line before and n_1 + 1 of the line behind; axis 1 runs along the line.
      const Lattice::Line middle = line_at(l - 1);
      if (middle.count > 0) {
        const std::ptrdiff_t n = middle.first;
        const std::size_t count = middle.count * row_;
        run.blur_line(between + n * row_, at(splatted, l - 1, n), at(splatted, l - 2, n - 1), at(splatted, l, n + 1),
                      count);
        clear_around(between, l - 1);
        run.blur_line(at(blurred, l - 1, n), between + n * row_, between + (n - 1) * row_, between + (n + 1) * row_,
                      count);
      }
      clear_around(at(blurred, l - 1, 0), l - 1);

      const Lattice::Line done = line_at(l - 2);
      if (l - 2 < first || done.count == 0) continue;
      const std::ptrdiff_t n = done.first;
      run.blur_line(values_ + done.start * row_, at(blurred, l - 2, n), at(blurred, l - 3, n), at(blurred, l - 1, n),
                    done.count * row_);
    }
  }

 private:
  Lattice::Line line_at(std::ptrdiff_t l) const {
    const bool is_inside = l >= 0 && l < static_cast<std::ptrdiff_t>(lattice_.lines.size());
    return is_inside ? lattice_.lines[static_cast<std::size_t>(l)] : Lattice::Line{};
  }

  // Zeros where the neighbours of line l look beyond its ends.
  void clear_around(float* buffer, std::ptrdiff_t l) const {
    std::size_t low = lattice_.line_width, high = 0;
    for (std::ptrdiff_t k = l - 1; k <= l + 1; ++k) {
      const Lattice::Line line = line_at(k);
      if (line.count == 0) continue;
      low = std::min<std::size_t>(low, line.first - 1);
      high = std::max<std::size_t>(high, line.first + line.count + 1);
    }
    if (low >= high) return;
    const Lattice::Line line = line_at(l);
    const std::size_t begin = line.count > 0 ? line.first : high, end = line.count > 0 ? line.first + line.count : high;
    std::fill(buffer + low * row_, buffer + begin * row_, 0.0f);
    std::fill(buffer + end * row_, buffer + high * row_, 0.0f);
  }

  const Lattice& lattice_;
  const Splat& splat_;
  float* values_;
  std::size_t row_, width_;
};

template <class Key, class Table>
void fill_lattice(Lattice& lattice, const Features& features, const Elevation& elevation,
                  const Packing<Key>& packing, Table& table, std::size_t line_width, const Index* order, bool ring,
                  int threads) {
  const std::size_t corners = lattice.dimensions + 1;
  std::vector<Key> keys;
  keys.reserve(lattice.num_points / 2 + 1024);
  const std::size_t batch = std::min(kBatch, lattice.num_points);
  Buffer<Key> batch_keys(batch * corners);
  for (std::size_t start = 0; start < lattice.num_points; start += batch) {
    const std::size_t count = std::min(batch, lattice.num_points - start);
    elevate_batch(features, elevation, packing, order, start, count, batch_keys.data(),
                  lattice.weights.data() + start * corners, threads);
    Index* vertices = lattice.vertices.data() + start * corners;
    const std::size_t entries = count * corners;
    for (std::size_t p = 0; p < count; ++p) {
      const std::size_t e = p * corners;
      if (e + 3 * corners < entries)
        for (std::size_t k = 0; k < corners; ++k) table.prefetch_slot(batch_keys[e + 2 * corners + k]);
      bool same = p > 0;
      for (std::size_t k = 0; k < corners && same; ++k) same = batch_keys[e + k] == batch_keys[e + k - corners];
      for (std::size_t k = 0; k < corners; ++k)
        vertices[e + k] = same ? vertices[e + k - corners] : table.insert(batch_keys[e + k], keys);
    }
  }
  if (ring) {
    const std::size_t occupied = keys.size();
    for (std::size_t v = 0; v < occupied; ++v) {
      const Key key = keys[v];
      for (const Key& step : packing.step) {
        table.insert(key + step, keys);
        table.insert(key - step, keys);
      }
    }
  }
  lattice.num_vertices = keys.size();

  Buffer<Index> number(keys.size());
  if (line_width == 0 || !find_lines(lattice, keys, line_width, number)) {
    Buffer<Index> order_of_first(keys.size());
    const std::size_t pairs = (corners + 1) / 2;
    std::vector<std::vector<Lattice::Group>> groups(pairs);
    parallel_ranges(threads, pairs, 1, [&](std::size_t pair, std::size_t) {
      groups[pair] = group_axes(keys, table, &packing.step[2 * pair], std::min<std::size_t>(2, corners - 2 * pair),
                                pair == 0 ? &order_of_first : nullptr);
    });
    for (std::size_t i = 0; i < keys.size(); ++i) number[order_of_first[i]] = static_cast<Index>(i);
    parallel_ranges(threads, pairs, 1, [&](std::size_t pair, std::size_t) { renumber(groups[pair], number); });
    for (auto& some : groups)
      for (auto& group : some) lattice.groups.push_back(std::move(group));
  }
  parallel_ranges(threads, lattice.num_points * corners, 1u << 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t e = begin; e < end; ++e) lattice.vertices[e] = number[lattice.vertices[e]];
  });
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

float Lattice::alpha() const { return 1.0f / (1.0f + std::pow(2.0f, -static_cast<float>(dimensions))); }

Lattice build_lattice(const Features& features, std::size_t num_points, const Index* order, bool ring,
                      int threads) {
  Lattice lattice;
  const int d = features.dimensions();
  if (d < 1 || d > kMaxDimensions)
    throw std::invalid_argument("features have " + std::to_string(d) + " dimensions; 1 to " +
                                std::to_string(kMaxDimensions) + " are possible");
  const std::size_t corners = d + 1;
  if (num_points == 0 || num_points >= kMaxPoints / corners * 2)
    throw std::invalid_argument("points times (dimensions + 1) must lie between 1 and 2^32");
  lattice.dimensions = d;
  lattice.num_points = num_points;
  std::vector<float> low_high(2 * d);
  features.bounds(low_high.data(), threads);
  for (const float value : low_high)
    if (!std::isfinite(value)) throw std::invalid_argument("features must be finite numbers");
  const Elevation elevation(d);
  std::vector<std::int64_t> low(d), high(d);
  elevation.reach(low_high.data(), low.data(), high.data());
  lattice.vertices = Buffer<Index>(num_points * corners);
  lattice.weights = Buffer<float>(num_points * corners);
  std::uint64_t span = 0;
  const Packing<Key64> exact = pack_exactly(d, low.data(), high.data(), span);
  if (span != 0 && span <= std::max<std::uint64_t>(1u << 16, 4 * std::uint64_t{num_points})) {
    DirectTable table(span);
    const std::size_t line_width = d == 2 ? static_cast<std::size_t>(high[0] - low[0] + 1) : 0;
    fill_lattice(lattice, features, elevation, exact, table, line_width, order, ring, threads);
  } else if (span != 0) {
    HashTable<Key64> table(num_points / 2);
    fill_lattice(lattice, features, elevation, exact, table, 0, order, ring, threads);
  } else {
    HashTable<Key128> table(num_points / 2);
    fill_lattice(lattice, features, elevation, pack_hashed(d), table, 0, order, ring, threads);
  }
  turn_round(lattice, threads);
  return lattice;
}

void scale_weights(Lattice& lattice, const float* before, const float* after, float factor, int threads) {
  const std::size_t corners = lattice.dimensions + 1;
  if (before != nullptr) {
    parallel_ranges(threads, lattice.num_points * corners, 1u << 16, [&](std::size_t begin, std::size_t end) {
      for (std::size_t e = begin; e < end; ++e) lattice.entry_weights[e] *= before[lattice.entry_points[e]];
    });
  }
  parallel_ranges(threads, lattice.num_points, 1u << 14, [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      const float scale = after != nullptr ? after[p] * factor : factor;
      for (std::size_t k = 0; k < corners; ++k) lattice.weights[p * corners + k] *= scale;
    }
  });
}

void splat_and_blur(const Lattice& lattice, const float* source, float* values, int channels, int threads,
                    FilterTimes* times) {
  const Kernels& run = kernels();
  const double start = seconds();
  const Splat splat{lattice.first.data(), lattice.entry_points.data(), lattice.entry_weights.data(),
                    source, lattice.num_vertices, channels};
  if (!lattice.lines.empty()) parallel_ranges(threads, lattice.lines.size(), kBand, LineFilter(lattice, splat, values));
  double middle = seconds();
  for (const auto& group : lattice.groups) {
    const bool is_first = &group == &lattice.groups.front();
    parallel_ranges(threads, group.num_chunks(), 16, [&](std::size_t begin, std::size_t end) {
      for (std::size_t chunk = begin; chunk < end; ++chunk) {
        if (is_first) {
          const std::size_t first = group.vertex_cuts[chunk];
          run.splat(splat, values + first * channels, first, group.vertex_cuts[chunk + 1]);
        }
        for (const auto& axis : group.axes)
          run.blur(axis.chains.data(), axis.length, values, channels, axis.cuts[chunk], axis.cuts[chunk + 1]);
      }
    });
    if (is_first) middle = seconds();
  }
  if (times != nullptr) {
    times->splat += middle - start;
    times->blur += seconds() - middle;
  }
}

Buffer<float> filter_ones(const Lattice& lattice, int threads) {
  Buffer<float> ones(lattice.num_points);
  ones.fill(1.0f);
  Buffer<float> values(lattice.num_vertices);
  splat_and_blur(lattice, ones.data(), values.data(), 1, threads);
  const Slice slice{lattice.splice(values.data()), ones.data(), 1};
  parallel_ranges(threads, lattice.num_points, 1u << 14,
                  [&](std::size_t begin, std::size_t end) { kernels().slice(slice, begin, end); });
  return ones;
}

}  // namespace atrous
