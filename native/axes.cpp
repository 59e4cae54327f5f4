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

// Two axes at once, without looking anything up: the vertices of a plane along both axes share what is left of their
// keys when the steps along them are taken away. Planes hold few vertices each, and sorting those shows neighbours.
class PlaneWalker {
 public:
  PlaneWalker(const std::vector<Key64>& keys, const Packing<Key64>& packing, std::size_t first_axis)
      : keys_(keys), packing_(packing), first_axis_(first_axis), buckets_(16) {
    // In the basis of all axes but `left_out`; where that is not e_0, n_j becomes n_j - n_left_out, and n_0 is
    // -n_left_out.
    left_out_ = first_axis == 0 ? 2 : 0;
    while (buckets_ < keys.size() / 2) buckets_ *= 2;
  }

  // False where a plane is too large to be worth it.
  bool walk(AxisGroup& group, Buffer<Index>* order) {
    fill_buckets();
    const std::size_t count = keys_.size();
    GroupWriter writer(count, 2, order);
    Buffer<std::uint8_t> seen(count);
    seen.fill(0);
    for (std::size_t v = 0; v < count; ++v) {
      if (v + 2 * kLookAhead < count) prefetch(&starts_[bucket_of_[v + 2 * kLookAhead]]);
      if (v + kLookAhead < count) prefetch(&entries_[starts_[bucket_of_[v + kLookAhead]]]);
      if (seen[v]) continue;
      gather(static_cast<Index>(v), seen);
      if (members_.size() > kLargest) return false;
      write(writer);
    }
    group = writer.finish();
    return true;
  }

 private:
  // In the order of `place` the next vertex along the second axis is one more, along the first axis kRow more.
  struct Entry {
    std::uint64_t plane;
    std::uint32_t place;
    Index vertex;
  };
  static constexpr std::uint32_t kRow = 1u << (kFieldBits + 1);
  static constexpr std::int32_t kMiddle = 1 << (kFieldBits - 1);

  std::int32_t coordinate(std::uint64_t key, std::size_t axis) const {
    if (axis == 0) return 0;
    const int bits = packing_.field_bits;
    return static_cast<std::int32_t>((key >> (bits * (axis - 1))) & ((std::uint64_t{1} << bits) - 1));
  }

  Entry locate(std::size_t v) const {
    const std::uint64_t key = keys_[v].a;
    const std::int32_t shift = coordinate(key, left_out_);
    const std::int32_t first = coordinate(key, first_axis_) - shift;
    const std::int32_t second = coordinate(key, first_axis_ + 1) - shift;
    const Key64 rest = keys_[v] - packing_.step[first_axis_].times(first) - packing_.step[first_axis_ + 1].times(second);
    const auto place = static_cast<std::uint32_t>(first + kMiddle) * kRow + static_cast<std::uint32_t>(second + kMiddle);
    return {rest.a, place, static_cast<Index>(v)};
  }

  void fill_buckets() {
    starts_ = Buffer<Index>(buckets_ + 1);
    starts_.fill(0);
    bucket_of_ = Buffer<Index>(keys_.size());
    entries_ = Buffer<Entry>(keys_.size());
    for (std::size_t v = 0; v < keys_.size(); ++v) {
      const std::uint64_t plane = locate(v).plane;
      bucket_of_[v] = static_cast<Index>((plane ^ (plane >> 31)) * 0x9e3779b97f4a7c15ull >> 32) & (buckets_ - 1);
      ++starts_[bucket_of_[v]];
    }
    Index sum = 0;
    for (Index& start : starts_) start = sum += start;
    for (std::size_t v = keys_.size(); v-- > 0;) entries_[--starts_[bucket_of_[v]]] = locate(v);
  }

  // The vertices of v's plane, sorted.
  void gather(Index v, Buffer<std::uint8_t>& seen) {
    members_.clear();
    const std::uint64_t plane = locate(v).plane;
    const Entry* end = &entries_[starts_[bucket_of_[v] + 1]];
    for (const Entry* entry = &entries_[starts_[bucket_of_[v]]]; entry != end; ++entry) {
      if (entry->plane != plane) continue;
      seen[entry->vertex] = 1;
      members_.push_back(*entry);
    }
    std::sort(members_.begin(), members_.end(), [](const Entry& a, const Entry& b) { return a.place < b.place; });
  }

  void write(GroupWriter& writer) {
    const std::size_t count = members_.size();
    for (const Entry& member : members_) writer.number(member.vertex);
    // Along the first axis: the member of the next row, which a second finger finds on its way.
    next_.assign(count, kNone);
    follows_.assign(count, 0);
    for (std::size_t i = 0, j = 0; i < count; ++i) {
      while (j < count && members_[j].place < members_[i].place + kRow) ++j;
      if (j == count || members_[j].place != members_[i].place + kRow) continue;
      next_[i] = static_cast<Index>(j);
      follows_[j] = 1;
    }
    for (std::size_t head = 0; head < count; ++head)
      if (!follows_[head] && next_[head] != kNone)
        for (std::size_t i = head; i != kNone; i = next_[i])
          writer.link(0, members_[i].vertex, next_[i] == kNone);
    for (std::size_t i = 0; i < count; ++i) {
      const bool follows = i > 0 && members_[i - 1].place + 1 == members_[i].place;
      const bool goes_on = i + 1 < count && members_[i].place + 1 == members_[i + 1].place;
      if (follows || goes_on) writer.link(1, members_[i].vertex, !goes_on);
    }
    writer.close(count);
  }

  const std::vector<Key64>& keys_;
  const Packing<Key64>& packing_;
  std::size_t first_axis_, left_out_;
  Index buckets_;
  Buffer<Index> starts_, bucket_of_;
  Buffer<Entry> entries_;  // bucket by bucket
  std::vector<Entry> members_;
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
