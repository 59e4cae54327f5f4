#include <cmath>
#include <cstring>

#include "kernels/kernels.hpp"

#define ATROUS_SIMD_NAME "avx2"

namespace atrous::avx2 {
#include "kernels/kernels.inl"
}
