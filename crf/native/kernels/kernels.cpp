// Chooses the instruction set, once, on first use.
#include "kernels/kernels.hpp"

#include <cstdlib>
#include <cstring>
#if defined(ATROUS_X86) && defined(_MSC_VER) && !defined(__clang__)
#include <immintrin.h>
#include <intrin.h>
#endif

namespace atrous {
namespace {

#if defined(ATROUS_X86)
#if defined(_MSC_VER) && !defined(__clang__)

bool runs(bool avx512) {
  int leaf1[4], leaf7[4];
  __cpuid(leaf1, 0);
  if (leaf1[0] < 7) return false;
  __cpuid(leaf1, 1);
  __cpuidex(leaf7, 7, 0);
  const bool os_saves = (leaf1[2] & (1 << 27)) != 0;
  if (!os_saves) return false;
  const auto saved = _xgetbv(0);
  const bool fma = (leaf1[2] & (1 << 12)) != 0;
  const bool avx2 = (leaf7[1] & (1 << 5)) != 0;
  if (!fma || !avx2 || (saved & 0x6) != 0x6) return false;
  if (!avx512) return true;
  const unsigned needed = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // F, DQ, BW, VL
  return (static_cast<unsigned>(leaf7[1]) & needed) == needed && (saved & 0xe6) == 0xe6;
}

#else

bool runs(bool avx512) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
  return !avx512 || (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"));
}

#endif
#endif

const Kernels& choose() {
#if defined(ATROUS_X86)
  const char* wish = std::getenv("ATROUS_SIMD");
  const bool only_baseline = wish != nullptr && std::strcmp(wish, "baseline") == 0;
  const bool at_most_avx2 = wish != nullptr && std::strcmp(wish, "avx2") == 0;
  if (!only_baseline && !at_most_avx2 && runs(true)) return avx512::table;
  if (!only_baseline && runs(false)) return avx2::table;
#endif
  return baseline::table;
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace atrous
