// Numbers that name the vertices of a lattice, and tables from them to the vertices' indices.
//
// A vertex is n_1 e_1 + ... + n_d e_d. Its key is a sum with a factor for each n_j, so stepping along an axis adds a
// constant, and the last axis, e_0 = -(e_1 + ... + e_d), is no exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "runtime/buffer.hpp"
#include "kernels/kernels.hpp"

namespace atrous {

using Index = std::uint32_t;
constexpr Index kNone = 0xffffffffu;
constexpr std::size_t kLookAhead = 16;

#if defined(__GNUC__) || defined(__clang__)
inline void prefetch(const void* address) { __builtin_prefetch(address); }
#else
inline void prefetch(const void*) {}
#endif

// Exact: each n_j has its place in 64 bits.
struct Key64 {
  std::uint64_t a;
  Key64 operator+(Key64 o) const { return {a + o.a}; }
  Key64 operator-(Key64 o) const { return {a - o.a}; }
  bool operator==(Key64 o) const { return a == o.a; }
  Key64 times(std::int64_t n) const { return {a * static_cast<std::uint64_t>(n)}; }
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
  Key128 times(std::int64_t n) const {
    return {a * static_cast<std::uint64_t>(n), b * static_cast<std::uint64_t>(n)};
  }
  std::uint64_t hash() const {
    const std::uint64_t x = (a ^ (b >> 29)) * 0x9e3779b97f4a7c15ull;
    return x ^ (x >> 32);
  }
};

// Bounds of the n_j of a lattice's vertices and their neighbours, [d] each.
struct Reach {
  std::vector<std::int64_t> low, high;
};

template <class Key>
struct Packing {
  explicit Packing(int d) : factor(d + 1), origin{}, step(d + 1) {}
  std::vector<Key> factor;  // of n_j at j; [0] is 0
  Key origin;
  std::vector<Key> step;  // a step along axis j adds this
  std::uint64_t span = 0;     // of pack_grid: keys lie below it
  std::uint64_t width = 0;    // of pack_grid: n_1 is the key modulo this
  int field_bits = 0;         // of pack_fields

 private:
  void set_steps() {
    step[0] = {};
    for (std::size_t j = 1; j < factor.size(); ++j) {
      step[j] = factor[j];
      step[0] = step[0] - factor[j];
    }
  }
  friend bool pack_grid(const Reach&, std::uint64_t, Packing<Key64>&);
  friend bool pack_fields(const Reach&, Packing<Key64>&);
  friend void pack_hashed(Packing<Key128>&);
};

// Mixed radix without gaps, for tables that the key itself addresses. False where more than `most` keys are possible.
bool pack_grid(const Reach& reach, std::uint64_t most, Packing<Key64>& packing);

// Fields of equally many bits, one more than the n_j need, so that differences of two n_j fit too. False where 64
// bits, or the kFieldBits of which a plane has two, are too few.
constexpr int kFieldBits = 15;  // most bits of a field
bool pack_fields(const Reach& reach, Packing<Key64>& packing);

void pack_hashed(Packing<Key128>& packing);

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
    keys.push_back(key);
    slots_[i] = {tag_of(hash), vertex};
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
  explicit DirectTable(std::uint64_t span) : vertex_(static_cast<std::size_t>(span)) { vertex_.fill(kNone); }
  void add(Key64 key) { vertex_[key.a] = 0; }
  // Numbers the keys that were added and returns them, both in ascending order.
  std::vector<Key64> number() {
    std::vector<Key64> keys;
    for (std::size_t key = 0; key < vertex_.size(); ++key) {
      if (vertex_[key] == kNone) continue;
      vertex_[key] = static_cast<Index>(keys.size());
      keys.push_back({key});
    }
    return keys;
  }
  void prefetch_slot(Key64 key) const { prefetch(&vertex_[key.a]); }
  Index find(Key64 key, const std::vector<Key64>&) const { return vertex_[key.a]; }

 private:
  Buffer<Index> vertex_;
};

}  // namespace atrous
