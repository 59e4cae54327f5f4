#include "axes.hpp"

#include <algorithm>

#include "parallel.hpp"

namespace atrous {
namespace {

constexpr std::size_t kChunk = 256;      // vertices that are blurred along two axes at once: 20 KB of 20 classes
constexpr std::size_t kLargest = 1024;   // neighbourhood for which that is worth while

// Writes a group's lists, neighbourhood by neighbourhood.
class GroupWriter {
 public:
  // `order` (or null) receives all vertices in the order of the group.
  GroupWriter(std::size_t count, std::size_t axes, Buffer<Index>* order) : order_(order) {
    group_.axes.resize(axes);
    for (auto& axis : group_.axes) axis.chains = Buffer<Index>(count);
  }

  void number(Index v) {
    if (order_ != nullptr) (*order_)[ordered_++] = v;
  }
  void link(std::size_t axis, Index v, bool is_last) {
    auto& list = group_.axes[axis];
    list.chains[list.length++] = is_last ? v | kChainEnd : v;
  }
  // After each neighbourhood, with the number of its vertices.
  void close(std::size_t vertices) {
    if (vertices > 1 || order_ != nullptr) in_chunk_ += vertices;
    if (in_chunk_ >= kChunk) cut();
  }
  AxisGroup finish() {
    if (in_chunk_ > 0) cut();
    return std::move(group_);
  }

 private:
  void cut() {
    for (auto& axis : group_.axes) axis.cuts.push_back(axis.length);
    group_.vertex_cuts.push_back(ordered_);
    in_chunk_ = 0;
  }
  AxisGroup group_;
  Buffer<Index>* order_;
  std::size_t ordered_ = 0, in_chunk_ = 0;
};

// One axis by itself, neighbours looked up.
template <class Key, class Table>
AxisGroup follow_axis(const std::vector<Key>& keys, const Table& table, Key step, Buffer<Index>* order) {
  const std::size_t count = keys.size();
  Buffer<Index> next(count);
  Buffer<std::uint8_t> follows(count);
  follows.fill(0);
  for (std::size_t v = 0; v < count; ++v) {
    if (v + kLookAhead < count) table.prefetch_slot(keys[v + kLookAhead] + step);
    next[v] = table.find(keys[v] + step, keys);
    if (next[v] != kNone) follows[next[v]] = 1;
  }
  GroupWriter writer(count, 1, order);
  for (std::size_t head = 0; head < count; ++head) {
    if (follows[head]) continue;
    std::size_t length = 0;
    for (auto v = static_cast<Index>(head); v != kNone; v = next[v], ++length) {
      writer.number(v);
      if (length > 0 || next[v] != kNone) writer.link(0, v, next[v] == kNone);
    }
    writer.close(length);
  }
  return writer.finish();
}

// Two axes at once, without looking anything up: in the order of a number whose last two digits count the steps along
// the two axes, the vertices of a plane stand together, and neighbours differ by the worth of a digit.
class PlaneWalker {
 public:
  PlaneWalker(const std::vector<Key64>& keys, const Packing<Key64>& packing, std::size_t first_axis)
      : keys_(keys), bits_(packing.field_bits), axes_(packing.step.size()), first_axis_(first_axis) {
    // In the basis of all axes but `left_out`; where that is not e_0, n_j becomes n_j - n_left_out, and n_0 is
    // -n_left_out.
    left_out_ = first_axis == 0 ? 2 : 0;
  }

  // False where a plane is too large to be worth it.
  bool walk(AxisGroup& group, Buffer<Index>* order) {
    weigh_digits();
    sort();
    Buffer<Index> plane_of(keys_.size());  // its beginning, at its first vertex
    if (!find_planes(plane_of, order == nullptr)) return false;
    GroupWriter writer(keys_.size(), 2, order);
    for (std::size_t v = 0; v < keys_.size(); ++v) {
      const Index soon = v + kLookAhead < keys_.size() ? plane_of[v + kLookAhead] : kNone;
      if (soon != kNone) prefetch(&places_[soon]);
      if (plane_of[v] != kNone) write(plane_of[v], writer);
    }
    group = writer.finish();
    return true;
  }

 private:
  struct Place {
    std::uint64_t number;
    Index vertex;
  };

  std::int32_t coordinate(std::uint64_t key, std::size_t axis) const {
    if (axis == 0) return 0;
    return static_cast<std::int32_t>((key >> (bits_ * static_cast<int>(axis - 1))) & ((std::uint64_t{1} << bits_) - 1));
  }

  // The digits, from the last: second axis, first axis, the others. Each has a value that no vertex takes, so a step
  // from the end of a line leads nowhere. The fields' spare bit makes the number fit.
  void weigh_digits() {
    std::vector<std::size_t> digits{first_axis_ + 1, first_axis_};
    for (std::size_t axis = 0; axis < axes_; ++axis)
      if (axis != left_out_ && axis != first_axis_ && axis != first_axis_ + 1) digits.push_back(axis);
    std::vector<std::int32_t> low(axes_, std::int32_t{1} << 30), high(axes_, -(std::int32_t{1} << 30));
    for (const Key64 key : keys_) {
      const std::int32_t shift = coordinate(key.a, left_out_);
      for (std::size_t axis = 0; axis < axes_; ++axis) {
        const std::int32_t n = coordinate(key.a, axis) - shift;
        low[axis] = std::min(low[axis], n);
        high[axis] = std::max(high[axis], n);
      }
    }
    worth_.assign(axes_, 0);
    span_ = 1;
    for (const std::size_t axis : digits) {
      worth_[axis] = span_;
      offset_ -= span_ * static_cast<std::uint64_t>(std::int64_t{low[axis]});
      span_ *= static_cast<std::uint64_t>(high[axis] - low[axis] + 2);
      if (axis == first_axis_) plane_ = span_;
    }
    for (const std::size_t axis : digits) worth_[left_out_] -= worth_[axis];
  }

  // By the number, in passes of kDigit bits from the lowest.
  void sort() {
    constexpr int kDigit = 11;
    const std::size_t count = keys_.size();
    places_ = Buffer<Place>(count);
    for (std::size_t v = 0; v < count; ++v) {
      std::uint64_t number = offset_;
      for (std::size_t axis = 1; axis < axes_; ++axis)
        number += worth_[axis] * static_cast<std::uint64_t>(coordinate(keys_[v].a, axis));
      places_[v] = {number, static_cast<Index>(v)};
    }
    Buffer<Place> sorted(count);
    for (int low = 0; low < 64 && span_ >> low != 0; low += kDigit) {
      const auto digit = [&](const Place& place) {
        return static_cast<std::size_t>(place.number >> low) & ((std::size_t{1} << kDigit) - 1);
      };
      std::size_t starts[std::size_t{1} << kDigit] = {};
      for (const Place& place : places_) ++starts[digit(place)];
      std::size_t sum = 0;
      for (std::size_t& start : starts) {
        const std::size_t own = start;
        start = sum;
        sum += own;
      }
      for (const Place& place : places_) sorted[starts[digit(place)]++] = place;
      places_.swap(sorted);
    }
  }

  bool find_planes(Buffer<Index>& plane_of, bool skips_lone) const {
    plane_of.fill(kNone);
    for (std::size_t begin = 0, end; begin < places_.size(); begin = end) {
      Index first = places_[begin].vertex;
      const std::uint64_t beyond = end_of_plane(places_[begin]);
      for (end = begin + 1; end < places_.size() && places_[end].number < beyond; ++end)
        first = std::min(first, places_[end].vertex);
      if (end - begin > kLargest) return false;
      if (end - begin > 1 || !skips_lone) plane_of[first] = static_cast<Index>(begin);
    }
    return true;
  }

  // Above the numbers of this place's plane.
  std::uint64_t end_of_plane(const Place& place) const { return (place.number / plane_ + 1) * plane_; }

  void write(std::size_t begin, GroupWriter& writer) {
    const Place* members = &places_[begin];
    const std::uint64_t beyond = end_of_plane(*members), row = worth_[first_axis_];
    std::size_t count = 0;
    for (; begin + count < places_.size() && members[count].number < beyond; ++count)
      writer.number(members[count].vertex);
    if (count == 1) return writer.close(1);
    // Along the first axis: the member of the next row, which a second finger finds on its way.
    next_.assign(count, kNone);
    follows_.assign(count, 0);
    for (std::size_t i = 0, j = 0; i < count; ++i) {
      while (j < count && members[j].number < members[i].number + row) ++j;
      if (j == count || members[j].number != members[i].number + row) continue;
      next_[i] = static_cast<Index>(j);
      follows_[j] = 1;
    }
    for (std::size_t head = 0; head < count; ++head)
      if (!follows_[head] && next_[head] != kNone)
        for (std::size_t i = head; i != kNone; i = next_[i])
          writer.link(0, members[i].vertex, next_[i] == kNone);
    for (std::size_t i = 0; i < count; ++i) {
      const bool follows = i > 0 && members[i - 1].number + 1 == members[i].number;
      const bool goes_on = i + 1 < count && members[i].number + 1 == members[i + 1].number;
      if (follows || goes_on) writer.link(1, members[i].vertex, !goes_on);
    }
    writer.close(count);
  }

  const std::vector<Key64>& keys_;
  const int bits_;
  const std::size_t axes_, first_axis_;
  std::size_t left_out_;
  std::vector<std::uint64_t> worth_;  // of a step along each axis
  std::uint64_t offset_ = 0, plane_ = 1, span_ = 1;
  Buffer<Place> places_;
  std::vector<Index> next_;
  std::vector<std::uint8_t> follows_;
};

void renumber(AxisGroup& group, const Buffer<Index>& number) {
  for (auto& axis : group.axes)
    for (std::size_t i = 0; i < axis.length; ++i)
      axis.chains[i] = number[axis.chains[i] & ~kChainEnd] | (axis.chains[i] & kChainEnd);
}

// `walk(first_axis, groups, order)` appends the groups of that axis and the one behind it.
template <class Walk>
std::vector<AxisGroup> group_pairs(std::size_t count, std::size_t axes, Buffer<Index>& number, int threads, Walk walk) {
  Buffer<Index> order(count);
  const std::size_t pairs = (axes + 1) / 2;
  std::vector<std::vector<AxisGroup>> groups(pairs);
  parallel_ranges(threads, pairs, 1, [&](std::size_t pair, std::size_t) {
    walk(2 * pair, groups[pair], pair == 0 ? &order : nullptr);
  });
  for (std::size_t i = 0; i < count; ++i) number[order[i]] = static_cast<Index>(i);
  parallel_ranges(threads, pairs, 1, [&](std::size_t pair, std::size_t) {
    for (auto& group : groups[pair]) renumber(group, number);
  });
  std::vector<AxisGroup> all;
  for (auto& some : groups)
    for (auto& group : some) all.push_back(std::move(group));
  return all;
}

template <class Key, class Table>
void follow_axes(const std::vector<Key>& keys, const Table& table, const Packing<Key>& packing, std::size_t first_axis,
                 std::vector<AxisGroup>& groups, Buffer<Index>* order) {
  for (std::size_t axis = first_axis; axis < std::min(first_axis + 2, packing.step.size()); ++axis)
    groups.push_back(follow_axis(keys, table, packing.step[axis], axis == first_axis ? order : nullptr));
}

}  // namespace

std::vector<AxisGroup> group_axes(const std::vector<Key64>& keys, const HashTable<Key64>& table,
                                  const Packing<Key64>& packing, Buffer<Index>& number, int threads) {
  const std::size_t axes = packing.step.size();
  return group_pairs(keys.size(), axes, number, threads,
                     [&](std::size_t first_axis, std::vector<AxisGroup>& groups, Buffer<Index>* order) {
                       AxisGroup group;
                       const bool is_plane = axes > 2 && first_axis + 1 < axes;
                       if (is_plane && PlaneWalker(keys, packing, first_axis).walk(group, order)) {
                         groups.push_back(std::move(group));
                       } else {
                         follow_axes(keys, table, packing, first_axis, groups, order);
                       }
                     });
}

std::vector<AxisGroup> group_axes(const std::vector<Key64>& keys, const DirectTable& table,
                                  const Packing<Key64>& packing, Buffer<Index>& number, int threads) {
  return group_pairs(keys.size(), packing.step.size(), number, threads,
                     [&](std::size_t first_axis, std::vector<AxisGroup>& groups, Buffer<Index>* order) {
                       follow_axes(keys, table, packing, first_axis, groups, order);
                     });
}

std::vector<AxisGroup> group_axes(const std::vector<Key128>& keys, const HashTable<Key128>& table,
                                  const Packing<Key128>& packing, Buffer<Index>& number, int threads) {
  return group_pairs(keys.size(), packing.step.size(), number, threads,
                     [&](std::size_t first_axis, std::vector<AxisGroup>& groups, Buffer<Index>* order) {
                       follow_axes(keys, table, packing, first_axis, groups, order);
                     });
}

}  // namespace atrous
