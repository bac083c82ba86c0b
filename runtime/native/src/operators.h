// The operators that ExecuTorch's libraries without torch lack, under the names that programs use.
#pragma once

#include <executorch/runtime/kernel/operator_registry.h>

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tinyaya {

// Where a program's 8-bit caches are, and which tensors stand for them while they hold nothing:
// attention reads the caches themselves. Only for programs in which nothing else reads them.
class Codes {
 public:
  void add_cache(const void* data) { caches_.insert(data); }
  bool has_cache(const void* data) const { return caches_.count(data) != 0; }
  void stand_for(const void* tensor, const void* cache) { stands_[tensor] = cache; }
  void forget(const void* tensor) { stands_.erase(tensor); }

  // The cache that a tensor stands for, once; null where it holds its own numbers.
  const void* take(const void* tensor) {
    auto found = stands_.find(tensor);
    if (found == stands_.end()) return nullptr;
    const void* cache = found->second;
    stands_.erase(found);
    return cache;
  }

 private:
  std::unordered_set<const void*> caches_;
  std::unordered_map<const void*, const void*> stands_;
};

// What the operators of this thread's program use; null where they do all that they are asked.
extern thread_local Codes* codes;

// For one method's own registry: where the official operators are in the process, too, both work.
std::vector<executorch::runtime::Kernel> operators();

}  // namespace tinyaya
