// Which kernels this CPU runs, and how a call is cut into parts for the threads.

#include "schedule.h"

#include <executorch/runtime/core/function_ref.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

namespace executorch::extension::threadpool {

// Not among the headers that ExecuTorch ships; only what is called here.
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t count);
  void run(runtime::FunctionRef<void(size_t)> task, size_t range);
};

ThreadPool* get_threadpool();

}  // namespace executorch::extension::threadpool

namespace tinyaya {
namespace {

using executorch::extension::threadpool::get_threadpool;

constexpr int64_t kFewRows = 32;         // up to here keys are split, beyond it rows
constexpr int64_t kSplit = 4 * kBlock;   // keys of a part of few rows
constexpr int64_t kAlone = 1 << 16;      // products that take less time than waking a thread
constexpr int64_t kWidened = 1 << 15;    // codes of a part
constexpr int64_t kCopied = 1 << 18;     // bytes of a part

const Kernels* best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return &kernels_16;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &kernels_8;
#endif
  return &kernels_4;
}

std::atomic<const Kernels*> chosen{best()};

template <typename Task>
void share(int64_t parts, bool alone, const Task& task) {
  if (alone || parts == 1) {
    for (int64_t part = 0; part < parts; part++) task(part);
    return;
  }
  auto numbered = [&task](size_t part) { task(static_cast<int64_t>(part)); };
  get_threadpool()->run(numbered, static_cast<size_t>(parts));
}

float* scratch_of_thread(int64_t floats) {
  thread_local std::vector<float> held;
  if (static_cast<int64_t>(held.size()) < floats) held.resize(floats);
  return held.data();
}

int64_t parts_of(int64_t whole, int64_t each) { return (whole + each - 1) / each; }

// Rows of y from what `splits` parts, `stride` floats apart, have summed of them.
void join(const Attention& call, int64_t kv_head, int64_t splits, const float* sums,
          int64_t stride) {
  const int64_t group = call.heads / call.kv_heads, rows = call.tokens * group, size = call.size;
  for (int64_t r = 0; r < rows; r++) {
    float largest = -INFINITY, sum = 0;
    for (int64_t s = 0; s < splits; s++)
      largest = std::max(largest, sums[s * stride + rows * size + r]);
    float* y_E = call.y + (r / group * call.heads + kv_head * group + r % group) * size;
    std::fill(y_E, y_E + size, 0.0f);
    if (largest == -INFINITY) continue;
    for (int64_t s = 0; s < splits; s++) {
      const float* part = sums + s * stride;
      const float factor = std::exp(part[rows * size + r] - largest);
      if (factor == 0) continue;
      sum += factor * part[rows * (size + 1) + r];
      for (int64_t e = 0; e < size; e++) y_E[e] += factor * part[r * size + e];
    }
    for (int64_t e = 0; e < size; e++) y_E[e] /= sum;
  }
}

int64_t keys_seen(const Attention& call) {
  return call.causal ? std::min(call.slots, call.start + call.tokens) : call.slots;
}

void attend_few(const Attention& call, bool alone) {
  const Kernels& with = kernels();
  const int64_t rows = call.tokens * (call.heads / call.kv_heads), keys = keys_seen(call);
  const int64_t splits = std::max<int64_t>(1, parts_of(keys, kSplit));
  const int64_t stride = rows * (call.size + 2);
  thread_local std::vector<float> held;
  held.resize(std::max<size_t>(held.size(), call.kv_heads * splits * stride));
  float* sums = held.data();
  share(call.kv_heads * splits, alone, [&](int64_t index) {
    const int64_t first = index % splits * kSplit;
    Part part{index / splits,
              0,
              rows,
              first,
              std::min(first + kSplit, keys),
              scratch_of_thread(scratch_floats(call.size)),
              splits == 1 ? nullptr : sums + index * stride};
    with.attend(call, part);
  });
  if (splits == 1) return;
  for (int64_t head = 0; head < call.kv_heads; head++)
    join(call, head, splits, sums + head * splits * stride, stride);
}

void attend_many(const Attention& call, bool alone) {
  const Kernels& with = kernels();
  const int64_t rows = call.tokens * (call.heads / call.kv_heads);
  const int64_t blocks = parts_of(rows, kMostRows);
  share(call.kv_heads * blocks, alone, [&](int64_t index) {
    const int64_t first = index % blocks * kMostRows;
    Part part{index / blocks,
              first,
              std::min(kMostRows, rows - first),
              0,
              keys_seen(call),
              scratch_of_thread(scratch_floats(call.size)),
              nullptr};
    with.attend(call, part);
  });
}

}  // namespace

void attend(const Attention& call) {
  const int64_t rows = call.tokens * (call.heads / call.kv_heads);
  const bool alone = call.heads * call.tokens * keys_seen(call) * call.size < kAlone;
  rows <= kFewRows ? attend_few(call, alone) : attend_many(call, alone);
}

void widen(const int8_t* codes, float* numbers, int64_t count) {
  share(parts_of(count, kWidened), count <= kWidened, [&](int64_t part) {
    const int64_t first = part * kWidened;
    kernels().widen(codes + first, numbers + first, std::min(kWidened, count - first));
  });
}

void copy(const void* from, void* to, int64_t bytes) {
  share(parts_of(bytes, kCopied), bytes <= kCopied, [&](int64_t part) {
    const int64_t first = part * kCopied;
    std::memcpy(static_cast<char*>(to) + first, static_cast<const char*>(from) + first,
                std::min(kCopied, bytes - first));
  });
}

const Kernels& kernels() { return *chosen; }

bool choose_kernels(const char* name) {
  const Kernels* most = best();
  for (const Kernels* row : {&kernels_4,
#if defined(__x86_64__)
                             &kernels_8, &kernels_16
#endif
       }) {
    if (std::strcmp(row->name, name) == 0) {
      chosen = row;
      return true;
    }
    if (row == most) return false;  // those after it need more than this CPU has
  }
  return false;
}

int threads(int count) {
  auto* pool = get_threadpool();
  if (count > 0) pool->_unsafe_reset_threadpool(static_cast<uint32_t>(count));
  return static_cast<int>(pool->get_thread_count());
}

}  // namespace tinyaya
