// The kernels for AVX2 and FMA.
#define LANES 8
#define WIDE 2  // 16 registers
#include "attention.inc"

namespace tinyaya {
const Kernels kernels_8 = {"avx2", attend, widen<int8_t>};
}
