// A .pte in, logits out: ExecuTorch's Module behind the C interface of library.h.

#include "library.h"

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/platform/platform.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "operators.h"
#include "schedule.h"

namespace {

using executorch::aten::ScalarType;
using executorch::aten::SizesType;
using executorch::extension::from_blob;
using executorch::extension::Module;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::HierarchicalAllocator;
using executorch::runtime::MethodMeta;
using executorch::runtime::Program;
using executorch::runtime::Span;

constexpr char kForward[] = "forward";

// What ExecuTorch logs while one of our calls runs.
struct Heard {
  std::string last;    // error, which says most as a rule
  std::string lacked;  // the first operator that is missing
};

thread_local Heard* heard = nullptr;

void log(et_timestamp_t, et_pal_log_level_t level, const char* file, const char*, size_t line,
         const char* message, size_t length) {
  if (heard == nullptr) {
    std::fprintf(stderr, "%c executorch:%s:%zu] %.*s\n", static_cast<char>(level), file, line,
                 static_cast<int>(length), message);
  } else if (level == kError || level == kFatal) {
    heard->last.assign(message, length);
    if (heard->lacked.empty() && heard->last.rfind("Missing operator", 0) == 0)
      heard->lacked = heard->last;
  }
}

const bool registered =
    executorch::runtime::register_pal(executorch::runtime::PalImpl::create(log, __FILE__));

// Gives each error the line that ExecuTorch logged about it.
class Listening {
 public:
  Listening() { heard = &heard_; }
  ~Listening() { heard = nullptr; }

  int result(Error found, tinyaya_error* error) const {
    if (found == Error::Ok) return 0;
    const std::string name = std::string(to_string(found)).substr(std::strlen("Error::"));
    const std::string& said = heard_.lacked.empty() ? heard_.last : heard_.lacked;
    std::snprintf(error->text, sizeof error->text, "%s%s%s", name.c_str(),
                  said.empty() ? "" : ": ", said.c_str());
    return 1;
  }

 private:
  Heard heard_;
};

struct Freed {
  void operator()(uint8_t* memory) const { std::free(memory); }
};

// The memory that a method's tensors are planned into.
struct Planned {
  std::vector<std::unique_ptr<uint8_t, Freed>> held;
  std::vector<Span<uint8_t>> spans;
  std::unique_ptr<HierarchicalAllocator> allocator;

  Error make(const MethodMeta& meta) {
    for (size_t index = 0; index < meta.num_memory_planned_buffers(); index++) {
      auto bytes = meta.memory_planned_buffer_size(index);
      if (!bytes.ok()) return bytes.error();
      const auto count = static_cast<size_t>(*bytes);
      held.emplace_back(static_cast<uint8_t*>(std::calloc(count ? count : 1, 1)));
      if (!held.back()) return Error::MemoryAllocationFailed;
      spans.emplace_back(held.back().get(), count);
    }
    allocator = std::make_unique<HierarchicalAllocator>(
        Span<Span<uint8_t>>(spans.data(), spans.size()));
    return Error::Ok;
  }
};

struct Opened {
  Planned planned;
  Module module;
  std::unique_ptr<tinyaya::Codes> codes;

  Opened(const char* path, bool reads_codes)
      : module(path, Module::LoadMode::Mmap),
        codes(reads_codes ? std::make_unique<tinyaya::Codes>() : nullptr) {}

  Error load() {
    Error error = module.load(Program::Verification::InternalConsistency);
    if (error != Error::Ok) return error;
    auto meta = module.method_meta(kForward);
    if (!meta.ok()) return meta.error();
    if (!takes_tokens(*meta)) return Error::InvalidProgram;
    error = planned.make(*meta);
    if (error != Error::Ok) return error;
    return module.load_method(kForward, planned.allocator.get(), nullptr, nullptr,
                              tinyaya::operators());
  }

  static bool takes_tokens(const MethodMeta& meta) {
    if (meta.num_inputs() != 2 || meta.num_outputs() != 1) return false;
    for (size_t index = 0; index < 2; index++) {
      auto input = meta.input_tensor_meta(index);
      if (!input.ok() || input->scalar_type() != ScalarType::Long) return false;
    }
    return true;
  }
};

// Where logits go: [rows, vocabulary].
struct Logits {
  float* data;
  int64_t rows, vocabulary;

  Error take(const EValue& found) const {
    if (!found.isTensor()) return Error::InvalidProgram;
    const auto& tensor = found.toTensor();
    if (tensor.scalar_type() != ScalarType::Float || tensor.dim() != 3 || tensor.size(0) != 1 ||
        tensor.size(1) != rows || tensor.size(2) != vocabulary)
      return Error::InvalidProgram;
    std::memcpy(data, tensor.const_data_ptr(), tensor.nbytes());
    return Error::Ok;
  }
};

Error forward(Opened& opened, const int64_t* tokens, SizesType count, int64_t position,
              const Logits& logits) {
  auto ids = from_blob(const_cast<int64_t*>(tokens), {1, count}, ScalarType::Long);
  auto start = from_blob(&position, {1}, ScalarType::Long);
  tinyaya::codes = opened.codes.get();
  auto outputs = opened.module.execute(kForward, {EValue(ids), EValue(start)});
  tinyaya::codes = nullptr;
  return outputs.ok() ? logits.take(outputs->at(0)) : outputs.error();
}

Error find(Opened& opened, const char* name, tinyaya_buffer* buffer) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"  // its buffers are not to be had else
  auto method = opened.module.method(kForward);
#pragma GCC diagnostic pop
  if (!method.ok()) return method.error();
  auto found = (*method)->get_attribute(name);
  if (!found.ok()) return found.error();
  if (found->dim() > 8) return Error::NotSupported;
  buffer->data = found->mutable_data_ptr();
  buffer->type = static_cast<int32_t>(found->scalar_type());
  buffer->rank = static_cast<int32_t>(found->dim());
  for (int i = 0; i < found->dim(); i++) buffer->sizes[i] = found->size(i);
  return Error::Ok;
}

Error constant(Opened& opened, const char* method, int64_t* value) {
  auto names = opened.module.method_names();
  if (!names.ok()) return names.error();
  if (names->count(method) == 0) return Error::Ok;
  auto found = opened.module.execute(method);
  if (!found.ok()) return found.error();
  if (found->size() != 1 || !found->at(0).isInt()) return Error::InvalidType;
  *value = found->at(0).toInt();
  return Error::Ok;
}

}  // namespace

int tinyaya_open(const char* path, int codes, void** program, tinyaya_error* error) {
  Listening listening;
  auto opened = std::make_unique<Opened>(path, codes != 0);
  const Error found = opened->load();
  *program = found == Error::Ok ? opened.release() : nullptr;
  return listening.result(found, error);
}

void tinyaya_close(void* program) {
  Listening listening;
  delete static_cast<Opened*>(program);
}

int tinyaya_forward(void* program, const int64_t* tokens, int64_t count, int64_t position,
                    float* logits, int64_t rows, int64_t vocabulary, tinyaya_error* error) {
  Listening listening;
  return listening.result(
      forward(*static_cast<Opened*>(program), tokens, static_cast<SizesType>(count), position,
              Logits{logits, rows, vocabulary}),
      error);
}

int tinyaya_find(void* program, const char* name, tinyaya_buffer* buffer, tinyaya_error* error) {
  Listening listening;
  return listening.result(find(*static_cast<Opened*>(program), name, buffer), error);
}

int tinyaya_constant(void* program, const char* method, int64_t* value, tinyaya_error* error) {
  Listening listening;
  return listening.result(constant(*static_cast<Opened*>(program), method, value), error);
}

int tinyaya_threads(int count) { return tinyaya::threads(count); }

const char* tinyaya_kernels(void) { return tinyaya::kernels().name; }

int tinyaya_choose_kernels(const char* name) { return tinyaya::choose_kernels(name) ? 0 : 1; }

void tinyaya_attend(const tinyaya::Attention* call) { tinyaya::attend(*call); }
