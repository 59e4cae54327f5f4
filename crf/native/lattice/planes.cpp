#include "lattice/planes.hpp"

#include <algorithm>

#include "runtime/parallel.hpp"

namespace atrous {
namespace {

constexpr std::size_t kChunk = 256;     // vertices that are blurred along two axes at once: 20 KB with 20 classes
constexpr std::size_t kLargest = 1024;  // vertices of the largest plane for which this is faster

// Splits a key into the fields of two neighbouring axes and the remaining bits, which identify the plane.
class Split {
 public:
  Split(const Packing<Key64>& packing, std::size_t first_axis)
      : is_first_(first_axis == 0),
        bits_(packing.field_bits),
        shift_(is_first_ ? 0 : bits_ * static_cast<int>(first_axis - 1)),
        mask_(((std::uint64_t{1} << 2 * bits_) - 1) << shift_) {
    for (const Key64 factor : packing.factor) {
      ones_ += factor.a;
      middles_ += factor.a << (bits_ - 1);
    }
  }

  // If e_0 is not one of the two axes, keys are used as they are. If it is, they are rewritten in the basis without
  // e_2: n_j becomes n_j - n_2, for which the fields have a spare bit, and n_0 = -n_2 takes the field of n_2.
  std::uint64_t operator()(Key64 key) const {
    if (!is_first_) return key.a;
    const std::uint64_t n2 = (key.a >> bits_) & ((std::uint64_t{1} << bits_) - 1);
    return key.a + middles_ - n2 * ones_ - (n2 << bits_);
  }
  Key64 plane(std::uint64_t written) const { return {written & ~mask_}; }
  std::uint64_t place(std::uint64_t written) const { return (written & mask_) >> shift_; }

 private:
  bool is_first_;
  int bits_, shift_;
  std::uint64_t mask_, ones_ = 0, middles_ = 0;
};

static_assert(2 * kFieldBits < 32, "two fields of a key are a number that Kernels::rank takes");

// Sorts by the upper half. A short list is sorted by counting the smaller numbers, which needs no branches.
void sort(std::uint64_t* members, std::size_t count) {
  if (count > kMaxRanked) {
    std::sort(members, members + count);
    return;
  }
  std::int32_t places[kMaxRanked], ranks[kMaxRanked];
  std::uint64_t sorted[kMaxRanked];
  for (std::size_t i = 0; i < count; ++i) places[i] = static_cast<std::int32_t>(members[i] >> 32);
  for (std::size_t i = count; i % 16 != 0; ++i) places[i] = 0;
  kernels().rank(places, static_cast<int>(count), ranks);
  for (std::size_t i = 0; i < count; ++i) sorted[ranks[i]] = members[i];
  std::copy(sorted, sorted + count, members);
}

// Writes the chains: sorted members whose places differ by 1 are neighbours. A carry from the lower into the upper
// field is no step, and it cannot occur: the lower field never holds both its largest number and 0. Returns the end of
// the list.
Index* write_chains(const std::uint64_t* members, std::size_t count, Index* list) {
  bool has_next = false;
  for (std::size_t i = 0; i < count; ++i) {
    const bool was_followed = has_next;
    has_next = i + 1 < count && (members[i] >> 32) + 1 == members[i + 1] >> 32;
    *list = static_cast<Index>(members[i]) | (has_next ? 0 : kChainEnd);
    list += was_followed || has_next;
  }
  return list;
}

}  // namespace

Planes::Planes(const std::vector<Key64>& keys, const Packing<Key64>& packing, std::size_t first_axis)
    : bits_(packing.field_bits), low_axis_(first_axis == 0 ? 1 : 0) {
  const Split split(packing, first_axis);
  const std::size_t count = keys.size();
  HashTable<Key64> table(count / 16);
  std::vector<Key64> planes;
  std::vector<Index> counts;
  Buffer<Index> plane_of(count);
  for (std::size_t v = 0; v < count; ++v) {
    if (v + kLookAhead < count) table.prefetch_slot(split.plane(split(keys[v + kLookAhead])));
    const Index plane = table.insert(split.plane(split(keys[v])), planes);
    if (plane == counts.size()) counts.push_back(0);
    ++counts[plane];
    plane_of[v] = plane;
  }
  if (!place_planes(counts)) return;
  members_ = Buffer<std::uint64_t>(begins_.back());
  for (std::size_t v = 0; v < count; ++v) {
    Index& next = counts[plane_of[v]];
    if (next != kNone) members_[next++] = split.place(split(keys[v])) << 32 | v;
  }
}

// Replaces the number of vertices of each plane by the position of its first vertex.
bool Planes::place_planes(std::vector<Index>& counts) {
  std::size_t sum = 0, in_chunk = 0;
  std::vector<std::size_t> cuts{0};
  for (Index& count : counts) {
    if (count > kLargest) return false;
    const std::size_t size = count;
    count = size > 1 ? static_cast<Index>(sum) : kNone;
    if (size == 1) continue;
    begins_.push_back(sum += size);
    if ((in_chunk += size) < kChunk) continue;
    cuts.push_back(begins_.size() - 1);
    in_chunk = 0;
  }
  if (in_chunk > 0) cuts.push_back(begins_.size() - 1);
  cuts_ = std::move(cuts);
  return true;
}

AxisGroup Planes::link(int threads) {
  AxisGroup group;
  group.axes.resize(2);
  const std::size_t chunks = cuts_.size() - 1;
  for (auto& axis : group.axes) {
    axis.chains = Buffer<Index>(members_.size());
    axis.cuts.resize(chunks + 1);
  }
  // First write the lists of each chunk at the position where all of its vertices would fit, and note their lengths in
  // `cuts`. Then move the lists together.
  parallel_ranges(threads, chunks, 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t chunk = begin; chunk < end; ++chunk) {
      const std::size_t first = begins_[cuts_[chunk]];
      Chains chains{{group.axes[0].chains.data() + first, group.axes[1].chains.data() + first}};
      for (std::size_t plane = cuts_[chunk]; plane < cuts_[chunk + 1]; ++plane)
        link_plane(plane, chains);
      for (int axis = 0; axis < 2; ++axis) {
        const Index* written = group.axes[axis].chains.data() + first;
        group.axes[axis].cuts[chunk + 1] = static_cast<std::size_t>(chains.end[axis] - written);
      }
    }
  });
  parallel_ranges(threads, 2, 1, [&](std::size_t which, std::size_t) {
    auto& axis = group.axes[which];
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      const Index* from = axis.chains.data() + begins_[cuts_[chunk]];
      Index* to = axis.chains.data() + axis.length;
      if (to != from) std::copy(from, from + axis.cuts[chunk + 1], to);
      axis.cuts[chunk + 1] = axis.length += axis.cuts[chunk + 1];
    }
  });
  return group;
}

void Planes::link_plane(std::size_t plane, Chains& chains) {
  const std::size_t begin = begins_[plane], count = begins_[plane + 1] - begin;
  std::uint64_t* members = &members_[begin];
  sort(members, count);
  chains.end[low_axis_] = write_chains(members, count, chains.end[low_axis_]);
  const std::uint64_t low = (std::uint64_t{1} << bits_) - 1;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t place = members[i] >> 32, swapped = (place & low) << bits_ | place >> bits_;
    members[i] = swapped << 32 | static_cast<Index>(members[i]);
  }
  sort(members, count);
  chains.end[1 - low_axis_] = write_chains(members, count, chains.end[1 - low_axis_]);
}

}  // namespace atrous
