// The operators that ExecuTorch's libraries without torch lack, under the names that programs use.
#pragma once

#include <executorch/runtime/kernel/operator_registry.h>

#include <vector>

namespace tinyaya {

// For one method's own registry: where the official operators are in the process, too, both work.
std::vector<executorch::runtime::Kernel> operators();

}  // namespace tinyaya
