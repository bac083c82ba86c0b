// The kernels for AVX-512.
#define LANES 16
#define WIDE 4
#include "attention.inc"

namespace tinyaya {
const Kernels kernels_16 = {"avx512", attend, widen<int8_t>};
}
