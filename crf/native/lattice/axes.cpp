#include "lattice/axes.hpp"

#include <algorithm>
#include <memory>

#include "runtime/parallel.hpp"
#include "lattice/planes.hpp"

namespace atrous {
namespace {

constexpr std::size_t kChunk = 256;  // minimum number of vertices per task

// Builds the chains of a single axis by looking up each neighbour.
template <class Key, class Table>
AxisGroup follow_axis(const std::vector<Key>& keys, const Table& table, Key step) {
  const std::size_t count = keys.size();
  Buffer<Index> next(count);
  Buffer<std::uint8_t> follows(count);
  follows.fill(0);
  for (std::size_t v = 0; v < count; ++v) {
    if (v + kLookAhead < count) table.prefetch_slot(keys[v + kLookAhead] + step);
    next[v] = table.find(keys[v] + step, keys);
    if (next[v] != kNone) follows[next[v]] = 1;
  }
  AxisGroup group;
  group.axes.resize(1);
  auto& axis = group.axes[0];
  axis.chains = Buffer<Index>(count);
  for (std::size_t head = 0; head < count; ++head) {
    if (follows[head] || next[head] == kNone) continue;
    for (auto v = static_cast<Index>(head); v != kNone; v = next[v])
      axis.chains[axis.length++] = next[v] == kNone ? v | kChainEnd : v;
    if (axis.length - axis.cuts.back() >= kChunk) axis.cuts.push_back(axis.length);
  }
  if (axis.length > axis.cuts.back()) axis.cuts.push_back(axis.length);
  return group;
}

// Builds the planes of two axes. Null if a plane is too large or the keys are not packed in fields.
std::unique_ptr<Planes> find_planes(const std::vector<Key64>& keys, const Packing<Key64>& packing,
                                    std::size_t first_axis) {
  const std::size_t axes = packing.step.size();
  if (packing.field_bits == 0 || axes <= 2 || first_axis + 1 == axes) return nullptr;
  auto planes = std::make_unique<Planes>(keys, packing, first_axis);
  return planes->are_small() ? std::move(planes) : nullptr;
}
std::unique_ptr<Planes> find_planes(const std::vector<Key128>&, const Packing<Key128>&, std::size_t) { return nullptr; }

}  // namespace

template <class Key, class Table>
std::vector<AxisGroup> group_axes(const std::vector<Key>& keys, const Table& table, const Packing<Key>& packing,
                                  int threads) {
  const std::size_t axes = packing.step.size(), pairs = (axes + 1) / 2;
  std::vector<std::unique_ptr<Planes>> planes(pairs);
  std::vector<std::vector<AxisGroup>> groups(pairs);
  parallel_ranges(threads, pairs, 1, [&](std::size_t pair, std::size_t) {
    planes[pair] = find_planes(keys, packing, 2 * pair);
    for (std::size_t axis = 2 * pair; axis < std::min(2 * pair + 2, axes) && !planes[pair]; ++axis)
      groups[pair].push_back(follow_axis(keys, table, packing.step[axis]));
  });
  std::vector<AxisGroup> all;
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    if (planes[pair]) all.push_back(planes[pair]->link(threads));
    planes[pair].reset();
    for (auto& group : groups[pair]) all.push_back(std::move(group));
  }
  return all;
}

template std::vector<AxisGroup> group_axes(const std::vector<Key64>&, const HashTable<Key64>&, const Packing<Key64>&,
                                           int);
template std::vector<AxisGroup> group_axes(const std::vector<Key64>&, const DirectTable&, const Packing<Key64>&, int);
template std::vector<AxisGroup> group_axes(const std::vector<Key128>&, const HashTable<Key128>&,
                                           const Packing<Key128>&, int);

}  // namespace atrous
