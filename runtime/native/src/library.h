// The C interface: what runtime/engines/native.py calls. No exception and no C++ type crosses it.
#pragma once

#include <stdint.h>

#include "attention.h"

#define TINYAYA_API __attribute__((visibility("default")))

extern "C" {

// Functions that can fail return 0 when they did not, and else leave a line of text here.
typedef struct {
  char text[512];
} tinyaya_error;

typedef struct {
  void* data;
  int32_t type;  // ExecuTorch's ScalarType: 1 int8, 6 float
  int32_t rank;
  int64_t sizes[8];
} tinyaya_buffer;

// Load `forward` of a .pte; its caches are zeros that take memory only when written. codes: 1 where
// nothing but attention reads what 8-bit caches are turned to, so that it may read the caches.
TINYAYA_API int tinyaya_open(const char* path, int codes, void** program, tinyaya_error* error);
TINYAYA_API void tinyaya_close(void* program);

// forward(tokens [1, count], position [1]); logits [rows, vocabulary] of the last positions. Where
// the program tells of other than [1, rows, vocabulary], nothing is written.
TINYAYA_API int tinyaya_forward(void* program, const int64_t* tokens, int64_t count,
                                int64_t position, float* logits, int64_t rows, int64_t vocabulary,
                                tinyaya_error* error);

// A mutable buffer by its name: the program's own memory.
TINYAYA_API int tinyaya_find(void* program, const char* name, tinyaya_buffer* buffer,
                             tinyaya_error* error);

// What a constant method says, such as get_max_seq_len; without it, value stays as it is.
TINYAYA_API int tinyaya_constant(void* program, const char* method, int64_t* value,
                                 tinyaya_error* error);

// Threads of the process's pool; 0 leaves them as they are.
TINYAYA_API int tinyaya_threads(int count);

// The name of the kernels that are used, and the choice of others; 0 where this CPU has them.
TINYAYA_API const char* tinyaya_kernels(void);
TINYAYA_API int tinyaya_choose_kernels(const char* name);

// The attention operator by itself, for tests and benchmarks.
TINYAYA_API void tinyaya_attend(const tinyaya::Attention* call);
}
