#include <cmath>
#include <cstring>

#include "kernels.hpp"

#define ATROUS_SIMD_NAME "avx512"

namespace atrous::avx512 {
#include "kernels.inl"
}
