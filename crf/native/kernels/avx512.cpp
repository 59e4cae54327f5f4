#include <cmath>
#include <cstring>

#include "kernels/kernels.hpp"

#define ATROUS_SIMD_NAME "avx512"

namespace atrous::avx512 {
#include "kernels/kernels.inl"
}
