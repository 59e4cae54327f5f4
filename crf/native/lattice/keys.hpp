// Keys, which identify the vertices of a lattice by numbers, and tables that map keys to vertex indices.
//
// A vertex is n_1 e_1 + ... + n_d e_d. Its key is the sum of the n_j, each times a fixed factor. So a step along an
// axis adds a constant to the key. This also holds for the remaining axis, e_0 = -(e_1 + ... + e_d).
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

// An exact key: each n_j has its own bits or digits in 64 bits.
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

// The key if the ranges of the n_j do not fit into 64 bits: two linear hashes with odd 64-bit factors. Even among 2^31
// vertices, the probability that any two share a key is 2^-66.
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

// Bounds of the n_j of the vertices and their neighbours: [d] each.
struct Reach {
  std::vector<std::int64_t> low, high;
};

template <class Key>
struct Packing {
  explicit Packing(int d) : factor(d + 1), origin{}, step(d + 1) {}
  std::vector<Key> factor;    // factor[j] is the factor of n_j; factor[0] is 0
  Key origin;
  std::vector<Key> step;      // a step along axis j adds step[j]
  std::uint64_t span = 0;     // pack_grid: all keys are below it
  std::uint64_t width = 0;    // pack_grid: n_1 is the key modulo width
  int field_bits = 0;         // pack_fields: bits per n_j

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

// Packs in mixed radix without gaps, so that keys can index a table. False if there would be more than `most` keys.
bool pack_grid(const Reach& reach, std::uint64_t most, Packing<Key64>& packing);

// Packs in fields of equal width, one bit more than the n_j need, so that the difference of two n_j fits as well. False
// if 64 bits are too few for all fields, or kFieldBits for one.
constexpr int kFieldBits = 15;  // maximum width of a field; a plane (see planes.hpp) uses two fields
bool pack_fields(const Reach& reach, Packing<Key64>& packing);

void pack_hashed(Packing<Key128>& packing);

// Open addressing with linear probing, at most half full. A slot holds half of the key's hash. The whole key is in the
// list `keys`, which is read only if the half hash matches.
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
  // Returns the vertex of the key. A new key gets the next index and is appended to `keys`.
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

// A table for dense keys, such as those of an image's positions: the key is the index into the table.
class DirectTable {
 public:
  explicit DirectTable(std::uint64_t span) : vertex_(static_cast<std::size_t>(span)) { vertex_.fill(kNone); }
  void add(Key64 key) { vertex_[key.a] = 0; }
  // Gives the added keys their indices in ascending order, and returns the keys in that order.
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
