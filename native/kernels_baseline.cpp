#include <cmath>
#include <cstring>

#include "kernels.hpp"

#define ATROUS_SIMD_NAME "baseline"

namespace atrous::baseline {
#include "kernels.inl"
}
