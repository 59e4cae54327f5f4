#include <cmath>
#include <cstring>

#include "kernels/kernels.hpp"

#define ATROUS_SIMD_NAME "baseline"

namespace atrous::baseline {
#include "kernels/kernels.inl"
}
