// ExecuTorch's values in, checked; caches written and attention computed.
//
// Sizes: caches [1, S slots, K heads, E], queries [1, T, H heads, E], masks [T, S].

#include "operators.h"

#include <executorch/runtime/core/exec_aten/util/tensor_util.h>
#include <executorch/runtime/kernel/kernel_runtime_context.h>
#include <executorch/runtime/platform/log.h>

#include <cmath>
#include <cstring>

#include "schedule.h"

namespace tinyaya {

thread_local Codes* codes = nullptr;

namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::get_op_function_from_registry;
using executorch::runtime::Kernel;
using executorch::runtime::KernelRuntimeContext;
using executorch::runtime::Span;
using Values = Span<EValue*>;

constexpr char kToCopy[] = "aten::_to_copy.out";
constexpr char kSliceCopy[] = "aten::slice_copy.Tensor_out";

bool plain(const Tensor& tensor) {
  return executorch::runtime::is_contiguous_dim_order(tensor.dim_order().data(), tensor.dim());
}

// Programs are checked for this when exported: what fails here is a broken or foreign file.
bool holds(KernelRuntimeContext& context, bool condition, const char* expected) {
  if (!condition) {
    ET_LOG(Error, "expected %s", expected);
    context.fail(Error::InvalidArgument);
  }
  return condition;
}

bool fits(KernelRuntimeContext& context, const Tensor& value, const Tensor& cache) {
  if (codes && cache.scalar_type() == ScalarType::Char) codes->add_cache(cache.const_data_ptr());
  return holds(context,
               value.dim() == 4 && cache.dim() == 4 && plain(value) && plain(cache) &&
                   value.size(0) == 1 && cache.size(0) == 1 && value.size(2) == cache.size(2) &&
                   value.size(3) == cache.size(3) && value.scalar_type() == cache.scalar_type(),
               "keys or values of the cache's heads, head size and type");
}

int64_t row_bytes(const Tensor& cache) {
  return cache.size(2) * cache.size(3) * cache.element_size();
}

// (value, cache, start) -> the cache holds value from slot `start` on
void update_cache(KernelRuntimeContext& context, Values args) {
  const Tensor& value = args[0]->toTensor();
  Tensor& cache = args[1]->toTensor();
  const int64_t start = args[2]->toInt(), count = value.dim() == 4 ? value.size(1) : 0;
  if (!fits(context, value, cache)) return;
  if (!holds(context, start >= 0 && count <= cache.size(1) - start, "slots within the cache"))
    return;
  char* to = cache.mutable_data_ptr<char>() + start * row_bytes(cache);
  std::memcpy(to, value.const_data_ptr(), count * row_bytes(cache));
}

// (value, cache, start, indices [1, T]) -> row t of value is in slot indices[t]
void update_cache_with_indices(KernelRuntimeContext& context, Values args) {
  const Tensor &value = args[0]->toTensor(), &indices = args[3]->toTensor();
  Tensor& cache = args[1]->toTensor();
  if (!fits(context, value, cache)) return;
  const int64_t count = value.size(1), bytes = row_bytes(cache);
  if (!holds(context,
             indices.scalar_type() == ScalarType::Long && indices.numel() == count &&
                 plain(indices),
             "a slot for each row"))
    return;
  const auto* slots = indices.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < count; row++) {
    const int64_t slot = slots[row];
    if (!holds(context, slot >= 0 && slot < cache.size(1), "slots within the cache")) return;
    std::memcpy(static_cast<char*>(cache.mutable_data_ptr()) + slot * bytes,
                static_cast<const char*>(value.const_data_ptr()) + row * bytes, bytes);
  }
}

bool attends(KernelRuntimeContext& context, const Tensor& q, const Tensor& keys,
             const Tensor& values) {
  const bool four = q.dim() == 4 && keys.dim() == 4 && values.dim() == 4;
  return holds(context,
               four && plain(q) && plain(keys) && plain(values) && q.size(0) == 1 &&
                   keys.size(0) == 1 && keys.sizes() == values.sizes() &&
                   q.size(3) == keys.size(3) && keys.size(2) > 0 &&
                   q.size(2) % keys.size(2) == 0 && q.scalar_type() == ScalarType::Float &&
                   keys.scalar_type() == ScalarType::Float &&
                   values.scalar_type() == ScalarType::Float,
               "float queries, keys and values of one sequence and of heads that share out");
}

Attention attention(const Tensor& q, const Tensor& keys, const Tensor& values, Values args) {
  const EValue& scale = *args[7];
  Attention call{};
  call.q = q.const_data_ptr<float>();
  call.keys = keys.const_data_ptr();
  call.values = values.const_data_ptr();
  call.tokens = q.size(1);
  call.heads = q.size(2);
  call.kv_heads = keys.size(2);
  call.size = q.size(3);
  call.start = args[3]->toInt();
  call.causal = args[6]->toBool();
  call.scale = static_cast<float>(scale.isNone() ? 1 / std::sqrt(static_cast<double>(call.size))
                                                 : scale.toDouble());
  call.slots = keys.size(1);
  return call;
}

// (q, keys, values, start, mask?, dropout, causal, scale?) -> y; with a mask all slots are looked
// at, without one those up to the last query's
void custom_sdpa(KernelRuntimeContext& context, Values args) {
  const Tensor &q = args[0]->toTensor(), &keys = args[1]->toTensor(), &values = args[2]->toTensor();
  Tensor& y = args[8]->toTensor();
  if (!attends(context, q, keys, values)) return;
  Attention call = attention(q, keys, values, args);
  const bool masked = !args[4]->isNone();
  if (!holds(context, !(masked && call.causal), "a mask or causal attention, not both")) return;
  if (masked) {
    const Tensor& mask = args[4]->toTensor();
    if (!holds(context,
               mask.dim() == 2 && plain(mask) && mask.scalar_type() == ScalarType::Float &&
                   mask.size(0) == call.tokens && mask.size(1) == call.slots,
               "a mask of a row for each query and a column for each slot"))
      return;
    call.mask = mask.const_data_ptr<float>();
    call.mask_stride = mask.size(1);
  } else {
    const int64_t end = call.start + call.tokens;
    if (!holds(context, call.start >= 0 && end <= call.slots, "queries within the cache")) return;
    call.slots = end;
  }
  const bool sized = executorch::runtime::resize_tensor(y, q.sizes()) == Error::Ok;
  if (!holds(context, sized && y.scalar_type() == ScalarType::Float, "room for the result")) return;
  call.y = y.mutable_data_ptr<float>();
  if (codes) {
    const void *key_codes = codes->take(call.keys), *value_codes = codes->take(call.values);
    if (!holds(context, !key_codes == !value_codes, "keys and values of one type")) return;
    call.codes = key_codes != nullptr;
    if (call.codes) call.keys = key_codes, call.values = value_codes;
  }
  attend(call);
}

void call_official(const char* name, KernelRuntimeContext& context, Values args) {
  auto official = get_op_function_from_registry(name, {});
  if (!official.ok()) return context.fail(official.error());
  (*official)(context, args);
}

// Have `out` stand for the cache that x is or stands for; false where x is no such thing.
bool stands(const Tensor& x, const Tensor& out) {
  if (codes == nullptr) return false;
  codes->forget(out.const_data_ptr());
  const void* data = x.const_data_ptr();
  const void* cache = codes->has_cache(data) ? data : codes->take(data);
  if (cache == nullptr) return false;
  codes->stand_for(out.const_data_ptr(), cache);
  return true;
}

// (x, non_blocking, memory_format?) -> x in another type; int8 to float is done here, by all
// threads, or left to attention: caches are turned so at every step
void to_copy(KernelRuntimeContext& context, Values args) {
  const Tensor& x = args[0]->toTensor();
  Tensor& out = args[3]->toTensor();
  const bool widens = x.scalar_type() == ScalarType::Char &&
                      out.scalar_type() == ScalarType::Float && plain(x) && plain(out);
  if (!widens) return call_official(kToCopy, context, args);
  if (!holds(context, executorch::runtime::resize_tensor(out, x.sizes()) == Error::Ok,
             "room for the result"))
    return;
  if (stands(x, out)) return;
  widen(x.const_data_ptr<int8_t>(), out.mutable_data_ptr<float>(), x.numel());
}

// (x, dim, start?, end?, step) -> a slice; rows of a cache are copied by all threads, or the first
// ones left to attention
void slice_copy(KernelRuntimeContext& context, Values args) {
  const Tensor& x = args[0]->toTensor();
  Tensor& out = args[5]->toTensor();
  const bool rows = x.dim() == 4 && x.size(0) == 1 && args[1]->toInt() == 1 && plain(x) &&
                    plain(out) && args[2]->isInt() && args[3]->isInt() && args[4]->toInt() == 1 &&
                    x.scalar_type() == out.scalar_type();
  const int64_t first = rows ? args[2]->toInt() : 0, end = rows ? args[3]->toInt() : 0;
  if (!rows || first < 0 || end <= first || end > x.size(1))
    return call_official(kSliceCopy, context, args);
  executorch::aten::SizesType sizes[] = {1, static_cast<executorch::aten::SizesType>(end - first),
                                         static_cast<executorch::aten::SizesType>(x.size(2)),
                                         static_cast<executorch::aten::SizesType>(x.size(3))};
  if (!holds(context, executorch::runtime::resize_tensor(out, {sizes, 4}) == Error::Ok,
             "room for the result"))
    return;
  if (first == 0 && x.scalar_type() == ScalarType::Char && stands(x, out)) return;
  copy(static_cast<const char*>(x.const_data_ptr()) + first * row_bytes(x), out.mutable_data_ptr(),
       (end - first) * row_bytes(x));
}

}  // namespace

std::vector<Kernel> operators() {
  return {Kernel("llama::update_cache.out", update_cache),
          Kernel("llama::update_cache_with_indices.out", update_cache_with_indices),
          Kernel("llama::custom_sdpa.out", custom_sdpa), Kernel(kToCopy, to_copy),
          Kernel(kSliceCopy, slice_copy)};
}

}  // namespace tinyaya
