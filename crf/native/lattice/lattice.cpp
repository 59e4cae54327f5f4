#include "lattice/lattice.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>

#include "runtime/parallel.hpp"

namespace atrous {
namespace {

constexpr std::size_t kBatch = 1u << 13;  // points whose vertices are numbered locally before they are merged

// ---- corners of the points ----

// Writes the keys and weights of the corners of the simplex around point i of the block.
template <class Key>
void find_corners(Elevation::Block& block, std::size_t i, const Elevation& elevation, const Packing<Key>& packing,
                  Key* corners, float* weights) {
  const int d = elevation.dimensions();
  elevation.corners(block, i, weights);
  const float* nearest = block.nearest.data() + i;
  const auto origin = static_cast<std::int64_t>(nearest[0]);
  Key key = packing.origin;
  for (int j = 1; j <= d; ++j)
    key = key + packing.factor[j].times(static_cast<std::int64_t>(nearest[j * Elevation::kBlock]) - origin);
  corners[0] = key;
  for (int c = 1; c <= d; ++c) corners[c] = key = key - packing.step[elevation.axis_to(block, c)];
}

// Calls `take(point, keys)` with the keys of the corners for each point of a range, and writes the weights.
template <class Key, class Take>
void elevate(const Features& features, const Elevation& elevation, const Packing<Key>& packing, const Index* order,
             std::size_t begin, std::size_t end, float* weights, Take take) {
  const std::size_t corners = elevation.dimensions() + 1;
  Elevation::Block block(elevation.dimensions());
  std::vector<Key> keys(Elevation::kBlock * corners);
  for (std::size_t start = begin; start < end; start += Elevation::kBlock) {
    const std::size_t size = std::min(Elevation::kBlock, end - start);
    features.fill(order, start, size, block.features.data(), Elevation::kBlock);
    elevation.locate(block);
    for (std::size_t i = 0; i < size; ++i)
      find_corners(block, i, elevation, packing, &keys[i * corners], weights + (start + i) * corners);
    for (std::size_t i = 0; i < size; ++i) take(start + i, &keys[i * corners]);
  }
}

// pydensecrf processes four points at a time and pads the last group with points at the origin. These points have no
// values, but the vertices that they touch exist and take part in the blur.
bool pads_to_four(std::size_t points, bool ring) { return !ring && points % 4 != 0; }

template <class Key>
std::vector<Key> corners_of_origin(const Elevation& elevation, const Packing<Key>& packing) {
  Elevation::Block block(elevation.dimensions());
  std::fill(block.features.begin(), block.features.end(), 0.0f);
  elevation.locate(block);
  std::vector<Key> touched(elevation.dimensions() + 1);
  std::vector<float> weights(elevation.dimensions() + 1);
  find_corners(block, 0, elevation, packing, touched.data(), weights.data());
  return touched;
}

// ---- the points of each vertex ----

// Lists the points of each vertex, in compressed sparse rows.
void build_csr_by_vertex(Lattice& lattice, int threads) {
  const std::size_t corners = lattice.dimensions + 1, points = lattice.num_points, count = lattice.num_vertices;
  lattice.first = Buffer<Index>(count + 1);
  lattice.entries = Buffer<Entry>(points * corners);
  // Each task counts the entries of a range of points and later writes them after those of the preceding ranges. So the
  // points of a vertex are in ascending order, whatever the number of tasks.
  const std::size_t parts = static_cast<std::size_t>(std::clamp(threads, 1, 8));
  const std::size_t grain = (points + parts - 1) / parts;
  Buffer<Index> cursors(parts * count);
  cursors.fill(0);
  const Index* vertices = lattice.vertices.data();
  parallel_ranges(threads, points, grain, [&](std::size_t begin, std::size_t end) {
    Index* cursor = &cursors[begin / grain * count];
    for (std::size_t e = begin * corners; e < end * corners; ++e) ++cursor[vertices[e]];
  });
  Index sum = 0;
  for (std::size_t v = 0; v < count; ++v) {
    lattice.first[v] = sum;
    for (std::size_t part = 0; part < parts; ++part) {
      const Index own = cursors[part * count + v];
      cursors[part * count + v] = sum;
      sum += own;
    }
  }
  lattice.first[count] = sum;
  parallel_ranges(threads, points, grain, [&](std::size_t begin, std::size_t end) {
    Index* cursor = &cursors[begin / grain * count];
    for (std::size_t p = begin; p < end; ++p) {
      for (std::size_t e = p * corners; e < (p + 1) * corners; ++e) {
        lattice.entries[cursor[vertices[e]]++] = {static_cast<Index>(p), lattice.weights[e]};
      }
    }
  });
}

constexpr std::size_t kNumParts = 16;
constexpr std::size_t kMinEntriesPerVertex = 12;  // from this ratio on, partial sums are faster

// Numbers the vertices that each part touches, in the order of first touch, and lists the partial sums of each vertex.
void partition_points(Lattice& lattice, int threads) {
  const std::size_t corners = lattice.dimensions + 1, points = lattice.num_points, count = lattice.num_vertices;
  const std::size_t size = points_of_part(points), parts = (points + size - 1) / size;
  lattice.places = Buffer<Index>(points * corners);
  std::vector<std::vector<Index>> touched(parts);
  parallel_ranges(threads, points, size, [&](std::size_t begin, std::size_t end) {
    std::vector<Index> place(count, kNone);
    std::vector<Index>& own = touched[begin / size];
    for (std::size_t e = begin * corners; e < end * corners; ++e) {
      const Index v = lattice.vertices[e];
      if (place[v] == kNone) {
        place[v] = static_cast<Index>(own.size());
        own.push_back(v);
      }
      lattice.places[e] = place[v];
    }
  });
  lattice.part_sums.assign(1, 0);
  for (const auto& own : touched) lattice.part_sums.push_back(lattice.part_sums.back() + own.size());
  lattice.first = Buffer<Index>(count + 1);
  lattice.entries = Buffer<Entry>(lattice.part_sums.back());
  lattice.first.fill(0);
  for (const auto& own : touched)
    for (const Index v : own) ++lattice.first[v + 1];
  for (std::size_t v = 0; v < count; ++v) lattice.first[v + 1] += lattice.first[v];
  std::vector<Index> cursor(lattice.first.begin(), lattice.first.end());
  Index row = 0;
  for (const auto& own : touched)
    for (const Index v : own) lattice.entries[cursor[v]++] = {row++, 1.0f};
}

void list_points(Lattice& lattice, bool allows_parts, int threads) {
  const std::size_t entries = lattice.num_points * (lattice.dimensions + 1);
  if (allows_parts && entries >= kMinEntriesPerVertex * lattice.num_vertices) {
    partition_points(lattice, threads);
  } else {
    build_csr_by_vertex(lattice, threads);
  }
}

// ---- the vertices ----

// Builds a lattice with dense keys, which index a table directly; no hash table is needed.
void fill_grid(Lattice& lattice, const Features& features, const Elevation& elevation, const Packing<Key64>& packing,
               const Index* order, bool ring, bool allows_parts, int threads) {
  const std::size_t corners = lattice.dimensions + 1, points = lattice.num_points;
  parallel_ranges(threads, points, kBatch, [&](std::size_t begin, std::size_t end) {
    elevate(features, elevation, packing, order, begin, end, lattice.weights.data(),
            [&](std::size_t point, const Key64* keys) {
              for (std::size_t k = 0; k < corners; ++k)
                lattice.vertices[point * corners + k] = static_cast<Index>(keys[k].a);
            });
  });
  DirectTable table(packing.span);
  for (const Index key : lattice.vertices) table.add({key});
  if (pads_to_four(points, ring))
    for (const Key64 key : corners_of_origin(elevation, packing)) table.add(key);
  std::vector<Key64> keys = table.number();
  if (ring) {
    for (const Key64 key : keys) {
      for (const Key64 step : packing.step) {
        table.add(key + step);
        table.add(key - step);
      }
    }
    keys = table.number();
  }
  lattice.num_vertices = keys.size();
  const auto find_neighbours = [&] {
    if (lattice.dimensions != 2 || !find_lines(keys, packing, lattice.lines))
      lattice.groups = group_axes(keys, table, packing, threads);
  };
  const auto find_points = [&] {
    parallel_ranges(threads, points * corners, 1u << 16, [&](std::size_t begin, std::size_t end) {
      for (std::size_t e = begin; e < end; ++e) lattice.vertices[e] = table.find({lattice.vertices[e]}, keys);
    });
    list_points(lattice, allows_parts, threads);
  };
  parallel_ranges(threads, 2, 1, [&](std::size_t task, std::size_t) { task == 0 ? find_neighbours() : find_points(); });
}

// Numbers the vertices of a batch of points locally, from 0, and returns their keys.
template <class Key>
std::vector<Key> number_batch(Lattice& lattice, const Features& features, const Elevation& elevation,
                              const Packing<Key>& packing, const Index* order, std::size_t begin, std::size_t end) {
  const std::size_t corners = lattice.dimensions + 1;
  std::vector<Key> keys, last(corners);
  keys.reserve(2 * kBatch);
  HashTable<Key> table(2 * (end - begin));  // rarely too small, and still fits the cache
  elevate(features, elevation, packing, order, begin, end, lattice.weights.data(),
          [&](std::size_t point, const Key* touched) {
            Index* vertices = &lattice.vertices[point * corners];
            const bool same = point > begin && std::equal(touched, touched + corners, last.begin());
            for (std::size_t k = 0; k < corners; ++k) {
              vertices[k] = same ? lattice.vertices[(point - 1) * corners + k] : table.insert(touched[k], keys);
              last[k] = touched[k];
            }
          });
  return keys;
}

template <class Key>
void fill_lattice(Lattice& lattice, const Features& features, const Elevation& elevation,
                  const Packing<Key>& packing, const Index* order, bool ring, bool allows_parts, int threads) {
  const std::size_t corners = lattice.dimensions + 1, points = lattice.num_points;
  const std::size_t batches = (points + kBatch - 1) / kBatch;
  // Neighbouring points share most of their vertices. So each batch first numbers its vertices locally, on all threads
  // and in tables that fit the cache. Then only the distinct vertices of a batch are looked up in the table of all
  // vertices. The batches are merged in ascending order, so that the numbers do not depend on the threads; a thread
  // that has finished a batch merges those that are ready.
  std::vector<std::vector<Key>> own(batches);
  std::vector<std::vector<Index>> shared(batches);
  std::vector<std::atomic<bool>> is_ready(batches);
  std::vector<Key> keys;
  keys.reserve(points / 2 + 1024);
  HashTable<Key> table(points / 2);
  std::mutex turn;
  std::size_t next = 0;
  bool is_broken = false;  // an exception was thrown while merging; parallel_ranges rethrows it at the end
  const auto merge_ready_batches = [&] {
    if (is_broken) return;
    is_broken = true;
    for (; next < batches && is_ready[next]; ++next) {
      const std::size_t count = own[next].size();
      shared[next].resize(count);
      for (std::size_t k = 0; k < count; ++k) {
        if (k + kLookAhead < count) table.prefetch_slot(own[next][k + kLookAhead]);
        shared[next][k] = table.insert(own[next][k], keys);
      }
      std::vector<Key>().swap(own[next]);
    }
    is_broken = false;
  };
  parallel_ranges(threads, points, kBatch, [&](std::size_t begin, std::size_t end) {
    own[begin / kBatch] = number_batch(lattice, features, elevation, packing, order, begin, end);
    is_ready[begin / kBatch] = true;
    if (const std::unique_lock<std::mutex> mine(turn, std::try_to_lock); mine) merge_ready_batches();
  }, Order::kAscending);
  merge_ready_batches();
  if (pads_to_four(points, ring))
    for (const Key key : corners_of_origin(elevation, packing)) table.insert(key, keys);
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
  const auto find_points = [&] {
    parallel_ranges(threads, points, kBatch, [&](std::size_t begin, std::size_t end) {
      const std::vector<Index>& vertices = shared[begin / kBatch];
      for (std::size_t e = begin * corners; e < end * corners; ++e) lattice.vertices[e] = vertices[lattice.vertices[e]];
    });
    std::vector<std::vector<Index>>().swap(shared);
    list_points(lattice, allows_parts, threads);
  };
  parallel_ranges(threads, 2, 1, [&](std::size_t task, std::size_t) {
    if (task == 1) return find_points();
    lattice.groups = group_axes(keys, table, packing, threads);
  });
}

}  // namespace

std::size_t points_of_part(std::size_t num_points) { return (num_points + kNumParts - 1) / kNumParts; }

std::size_t Lattice::bytes() const {
  std::size_t sum = vertices.bytes() + weights.bytes() + first.bytes() + entries.bytes() + places.bytes() +
                    ones.bytes() + sizeof(Lines::Line) * lines.lines.size();
  for (const AxisGroup& group : groups)
    for (const auto& axis : group.axes) sum += axis.chains.bytes();
  return sum;
}

Lattice build_lattice(const Features& features, std::size_t num_points, const Index* order, bool ring,
                      bool allows_parts, int threads) {
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
  const Elevation elevation(d);
  std::vector<float> bounds = find_bounds(features);
  for (int k = 0; k < d && pads_to_four(num_points, ring); ++k) {
    if (bounds[2 * k] > 0.0f) bounds[2 * k] = 0.0f;
    if (bounds[2 * k + 1] < 0.0f) bounds[2 * k + 1] = 0.0f;
  }
  const Reach reach = elevation.reach(bounds);
  lattice.vertices = Buffer<Index>(num_points * corners);
  lattice.weights = Buffer<float>(num_points * corners);
  Packing<Key64> exact(d);
  const std::uint64_t most_keys = std::clamp<std::uint64_t>(4 * std::uint64_t{num_points}, 1u << 16, kNone);
  if (d <= 2 && pack_grid(reach, most_keys, exact)) {
    fill_grid(lattice, features, elevation, exact, order, ring, allows_parts, threads);
  } else if (pack_fields(reach, exact)) {
    fill_lattice(lattice, features, elevation, exact, order, ring, allows_parts, threads);
  } else {
    Packing<Key128> hashed(d);
    pack_hashed(hashed);
    fill_lattice(lattice, features, elevation, hashed, order, ring, allows_parts, threads);
  }
  return lattice;
}

}  // namespace atrous
