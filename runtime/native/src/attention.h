// One attention call in numbers: queries and cached keys and values in, weighted values out.
//
// Shapes: T queries, H query heads, K key-value heads, S cache slots, E head size. Rows of a
// key-value head are the queries of all heads that share it: row = t * (H / K) + head in group.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tinyaya {

constexpr int64_t kMostRows = 128;  // of a part: its scores and sums stay in a second-level cache
constexpr int64_t kBlock = 64;      // keys whose scores are weighed together

// All of q_THE, keys_SKE, values_SKE and y_THE are contiguous; mask_TS may be null.
struct Attention {
  const float* q;
  const void* keys;
  const void* values;
  const float* mask;
  float* y;
  int64_t tokens, heads, kv_heads, size;
  int64_t slots;        // that queries may look at: the first ones
  int64_t start;        // position of the first query; causal: query t sees slots 0 to start + t
  int64_t mask_stride;  // from one query's row of the mask to the next one's
  float scale;
  bool causal;
  bool codes;  // keys and values are int8, taken as they are, else float
};

// Rows of one key-value head, and the keys that this part looks at. With `sums` the result is left
// unweighed there (acc_RE, then the largest score and the sum of each row), else it goes to y.
struct Part {
  int64_t kv_head, first_row, rows;
  int64_t first_key, end_key;
  float* scratch;
  float* sums;
};

// The same arithmetic compiled for one instruction set; scratch has `scratch_floats(size)` floats.
struct Kernels {
  const char* name;
  void (*attend)(const Attention&, const Part&);
  void (*widen)(const int8_t* codes, float* numbers, int64_t count);
};

static inline int64_t scratch_floats(int64_t size) {
  return 2 * kMostRows * size + kMostRows * kBlock + kBlock * size + 2 * kMostRows + kBlock;
}

extern const Kernels kernels_4;  // SSE2, NEON: what every CPU of the architecture has
#if defined(__x86_64__)
extern const Kernels kernels_8;   // AVX2, FMA
extern const Kernels kernels_16;  // AVX-512 F, BW, VL, DQ
#endif

}  // namespace tinyaya
