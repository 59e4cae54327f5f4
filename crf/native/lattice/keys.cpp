#include "lattice/keys.hpp"

#include <algorithm>

namespace atrous {
namespace {

std::uint64_t scramble(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace

bool pack_grid(const Reach& reach, std::uint64_t most, Packing<Key64>& packing) {
  std::uint64_t span = 1;
  packing.origin = {};
  for (std::size_t j = 1; j <= reach.low.size(); ++j) {
    const auto range = static_cast<std::uint64_t>(reach.high[j - 1] - reach.low[j - 1] + 1);
    if (span > most / range) return false;
    packing.factor[j] = {span};
    packing.origin.a -= span * static_cast<std::uint64_t>(reach.low[j - 1]);
    span *= range;
    if (j == 1) packing.width = range;
  }
  packing.span = span;
  packing.set_steps();
  return true;
}

bool pack_fields(const Reach& reach, Packing<Key64>& packing) {
  std::uint64_t widest = 1;
  for (std::size_t j = 0; j < reach.low.size(); ++j)
    widest = std::max(widest, static_cast<std::uint64_t>(reach.high[j] - reach.low[j] + 1));
  int bits = 2;
  while (bits <= kFieldBits && (widest >> (bits - 1)) != 0) ++bits;
  if (bits > kFieldBits || static_cast<std::size_t>(bits) * reach.low.size() > 64) return false;
  packing.origin = {};
  for (std::size_t j = 1; j <= reach.low.size(); ++j) {
    packing.factor[j] = {std::uint64_t{1} << (bits * (j - 1))};
    packing.origin = packing.origin - packing.factor[j].times(reach.low[j - 1]);
  }
  packing.field_bits = bits;
  packing.set_steps();
  return true;
}

void pack_hashed(Packing<Key128>& packing) {
  for (std::size_t j = 1; j < packing.factor.size(); ++j)
    packing.factor[j] = {scramble(2 * j) | 1, scramble(2 * j + 1) | 1};
  packing.set_steps();
}

}  // namespace atrous
