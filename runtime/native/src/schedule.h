// An attention call in; its parts shared out among ExecuTorch's threads.
#pragma once

#include <cstddef>

#include "attention.h"

namespace tinyaya {

// Cuts depend on the call's sizes alone: any number of threads computes the same bits.
void attend(const Attention& call);

// As `attend` for int8 codes to float.
void widen(const int8_t* codes, float* numbers, int64_t count);

// Bytes from one place to another that does not overlap it.
void copy(const void* from, void* to, int64_t bytes);

const Kernels& kernels();

// Take kernels by name; false where this CPU does not run them. For tests: the best is the default.
bool choose_kernels(const char* name);

// Give ExecuTorch's pool so many threads (0: leave it); how many it has.
int threads(int count);

}  // namespace tinyaya
