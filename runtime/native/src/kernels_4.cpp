// The kernels for what every CPU of the architecture has.
#define LANES 4
#ifdef __aarch64__
#define WIDE 4
#else
#define WIDE 2  // 16 registers
#endif
#include "attention.inc"

namespace tinyaya {
const Kernels kernels_4 = {"base", attend, widen<int8_t>};
}
