// Every operator on the devices: the host's own code on the very same memory, and one kernel.
#include "machine.h"

#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_local_scalar_dense_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <ATen/record_function.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

namespace sim {
namespace {

using at::Tensor;
using c10::DispatchKeySet;
using torch::jit::Stack;

constexpr auto kSim = c10::DeviceType::PrivateUse1;
const DispatchKeySet kOnSim(c10::DispatchKey::PrivateUse1);

// The host would take seconds for a matrix product of more FLOPs: its output stays as it is. Who asks
// how fast a device multiplies does not ask for the product.
constexpr double kTooMany = 1e9;

// Whether a kernel computes once more what it did when it was captured.
thread_local bool computes_again = false;

bool on_sim(const Tensor& tensor) { return tensor.defined() && tensor.device().type() == kSim; }

void check_has(at::ScalarType dtype) {
  TORCH_CHECK_TYPE(dtype != at::kDouble || !lacks("doubles"), "sim has no float64");
}

Tensor tensor_over(c10::Storage storage, DispatchKeySet keys, const Tensor& like) {
  auto tensor = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), keys, like.dtype());
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(
      like.sizes(), like.strides(), like.storage_offset());
  return tensor;
}

// What a tensor moves: an expanded one is read once.
double bytes_of(const Tensor& tensor) {
  double elements = 1;
  for (int64_t dim = 0; dim < tensor.dim(); ++dim)
    if (tensor.stride(dim) != 0) elements *= static_cast<double>(tensor.size(dim));
  return elements * static_cast<double>(tensor.element_size());
}

Moved moved(const Tensor& tensor) { return {tensor.storage().data(), bytes_of(tensor)}; }

// The tensors of one call of an operator, on their way to the host's code and back.
class Call {
 public:
  Tensor to_cpu(const Tensor& given) {
    if (!on_sim(given)) return given;
    device_ = given.device();
    for (const auto& [known, alias] : tensors_)
      if (known.is_same(given)) return alias;
    auto alias = tensor_over(alias_of(given.storage()), DispatchKeySet(c10::DispatchKey::CPU), given);
    tensors_.emplace_back(given, alias);
    return alias;
  }

  Tensor from_cpu(const Tensor& result) {
    if (!result.defined() || !result.device().is_cpu()) return result;
    for (const auto& [given, alias] : tensors_)
      if (alias.is_same(result)) return given;
    for (const auto& [given, alias] : storages_)
      if (alias.is_alias_of(result.storage())) return tensor_over(given, kOnSim, result);
    check_has(result.scalar_type());
    const c10::DeviceGuard guard(device_);
    Tensor fresh(at::detail::empty_strided_generic(
        result.sizes(), result.strides(), c10::GetAllocator(kSim), kOnSim, result.scalar_type()));
    if (const auto bytes = fresh.storage().nbytes())
      std::memcpy(fresh.mutable_data_ptr(), result.const_data_ptr(), bytes);
    written(fresh);
    return fresh;
  }

  // Makes outputs as large as the host's code has made them.
  void resize() {
    for (const auto& [given, alias] : tensors_) {
      if (given.sizes() == alias.sizes() && given.strides() == alias.strides()) continue;
      const auto& storage = given.storage();
      if (const auto bytes = alias.storage().nbytes(); storage.nbytes() < bytes) {
        const c10::DeviceGuard guard(given.device());
        storage.set_data_ptr_noswap(c10::GetAllocator(kSim)->allocate(bytes));
        storage.set_nbytes(bytes);
        std::memcpy(storage.mutable_data(), alias.storage().data(), bytes);
      }
      given.unsafeGetTensorImpl()->set_sizes_and_strides(
          alias.sizes(), alias.strides(), alias.storage_offset());
    }
  }

  void read(const Tensor& tensor) { traffic_.reads.push_back(moved(tensor)); }
  void written(const Tensor& tensor) {
    traffic_.writes.push_back(moved(tensor));
    element_size_ = tensor.element_size();
    writes_ = true;
  }

  c10::Device device() const { return device_; }
  void set_device(c10::Device device) { device_ = device; }
  bool writes() const { return writes_; }
  void launch(const std::string& name, double flops, std::function<void()> compute) const {
    if (computes_again) return;
    machine().launch(device_.index(), {name, traffic_, flops, element_size_, std::move(compute)});
  }

 private:
  c10::Storage alias_of(const c10::Storage& given) {
    for (const auto& [known, alias] : storages_)
      if (known.is_alias_of(given)) return alias;
    c10::Storage alias(
        c10::Storage::use_byte_size_t(), given.nbytes(),
        c10::DataPtr(given.mutable_data(), c10::kCPU), c10::GetAllocator(c10::kCPU), true);
    storages_.emplace_back(given, alias);
    return alias;
  }

  std::vector<std::pair<Tensor, Tensor>> tensors_;
  std::vector<std::pair<c10::Storage, c10::Storage>> storages_;
  c10::Device device_{kSim, 0};
  Traffic traffic_;
  int64_t element_size_ = 4;
  bool writes_ = false;
};

// Calls a function on each tensor in a value, and puts its answer in the tensor's place.
template <typename Change>
void each_tensor(c10::IValue& value, Change change) {
  if (value.isTensor()) {
    value = change(value.toTensor());
  } else if (value.isTensorList()) {
    auto list = value.toTensorList();
    c10::List<Tensor> changed;
    for (const Tensor& tensor : list) changed.push_back(change(tensor));
    value = changed;
  } else if (value.isOptionalTensorList()) {
    auto list = value.toOptionalTensorList();
    c10::List<std::optional<Tensor>> changed;
    for (const std::optional<Tensor>& tensor : list)
      changed.push_back(tensor ? std::optional<Tensor>(change(*tensor)) : std::nullopt);
    value = changed;
  }
}

// A multiplication with an addition is two; what no matrix product or convolution is has none.
double flops_of(const std::string& name, const std::vector<Tensor>& given, const Tensor& result) {
  const auto elements = [](const Tensor& tensor) { return static_cast<double>(tensor.numel()); };
  const auto filter = [&](const Tensor& weight) { return elements(weight) / weight.size(0); };
  if (name == "aten::mm" || name == "aten::bmm") return 2 * elements(result) * given[0].size(-1);
  if (name == "aten::addmm" || name == "aten::baddbmm")
    return 2 * elements(result) * given[1].size(-1);
  if (name == "aten::convolution") return 2 * elements(result) * filter(given[1]);
  if (name == "aten::convolution_backward") return 4 * elements(given[0]) * filter(given[2]);
  return 0;
}

void run(const c10::OperatorHandle& op, Stack* stack);

// Holds a tensor's memory, and not the tensor: of one that is held autograd copies the gradient.
Tensor held(const Tensor& tensor) {
  return on_sim(tensor) ? tensor_over(tensor.storage(), kOnSim, tensor) : tensor;
}

Stack held(Stack values) {
  for (auto& value : values) each_tensor(value, [](const Tensor& tensor) { return held(tensor); });
  return values;
}

// Return what computes an operator's results once more, into what it returned when it was captured.
std::function<void()> again(
    const c10::OperatorHandle& op, const Stack& arguments, const Stack& returned) {
  return [op, arguments, returned] {
    Stack stack = arguments;
    computes_again = true;
    run(op, &stack);
    computes_again = false;
    for (size_t i = 0; i < returned.size(); ++i) {
      if (!returned[i].isTensor() || !on_sim(returned[i].toTensor())) continue;
      const Tensor target = returned[i].toTensor(), found = stack[i].toTensor();
      if (found.is_alias_of(target)) continue;
      std::memcpy(target.mutable_data_ptr(), found.const_data_ptr(), found.storage().nbytes());
    }
  };
}

void run(const c10::OperatorHandle& op, Stack* stack) {
  const auto& schema = op.schema();
  const auto& arguments = schema.arguments();
  Stack before;
  if (machine().captures()) before = held({stack->end() - arguments.size(), stack->end()});
  Call call;
  std::vector<Tensor> given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    auto& value = torch::jit::peek(*stack, i, arguments.size());
    const auto* alias = arguments[i].alias_info();
    const bool written = alias && alias->isWrite();
    each_tensor(value, [&](const Tensor& tensor) {
      if (tensor.defined()) {
        given.push_back(tensor);
        if (!(written && arguments[i].is_out())) call.read(tensor);
      }
      return call.to_cpu(tensor);
    });
    if (value.isDevice() && value.toDevice().type() == kSim) {
      call.set_device(value.toDevice());
      value = c10::Device(c10::kCPU);
    }
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    auto& value = torch::jit::peek(*stack, i, arguments.size());
    if (value.isGenerator()) {
      value = cpu_generator(value.toGenerator());
    } else if (value.isNone() && arguments[i].name() == "generator") {
      value = cpu_generator(default_generator(call.device().index()));
    }
  }
  {
    // The profiler and autograd have seen the operator already.
    const at::DisableRecordFunctionGuard unseen;
    const at::AutoDispatchBelowADInplaceOrView below;
    if (schema.overload_name() == "out" && schema.name() == "aten::mm" &&
        flops_of(schema.name(), given, given.back()) > kTooMany) {
      torch::jit::drop(*stack, arguments.size() - 1);  // leaves the output
    } else {
      op.callBoxed(stack);
      call.resize();
    }
  }
  bool waits = false;
  Tensor first;
  const size_t returned = schema.returns().size();
  for (size_t i = 0; i < returned; ++i) {
    auto& value = torch::jit::peek(*stack, i, returned);
    waits |= value.isScalar() || value.isBool();  // who is told a number has to wait for it
    const auto* alias = schema.returns()[i].alias_info();
    const bool written = alias && alias->isWrite();
    each_tensor(value, [&](const Tensor& tensor) {
      const Tensor result = call.from_cpu(tensor);
      if (written) call.written(result);
      if (!first.defined()) first = result;
      return result;
    });
  }
  if (call.writes() || waits || returned == 0) {
    std::function<void()> compute;
    if (machine().captures()) compute = again(op, before, held({stack->end() - returned, stack->end()}));
    call.launch(schema.name(), flops_of(schema.name(), given, first), std::move(compute));
  }
  if (waits) machine().wait_until(machine().free_ns(call.device().index()));
}

void convolution(const c10::OperatorHandle&, Stack* stack) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::convolution", "");
  run(op, stack);
}

void convolution_backward(const c10::OperatorHandle&, Stack* stack) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("aten::convolution_backward", "");
  // It also asks for the bias's sizes, after gradient, input and weight of ten arguments.
  const bool transposed = torch::jit::peek(*stack, 6, 10).toBool();
  TORCH_CHECK(!transposed, "sim has no backward of transposed convolutions");
  const int64_t channels = torch::jit::peek(*stack, 0, 10).toTensor().size(1);
  stack->insert(stack->end() - 7, c10::IValue(std::vector<int64_t>{channels}));
  run(op, stack);
}

c10::Device or_current(std::optional<c10::Device> device) {
  const auto* guard = c10::impl::getDeviceGuardImpl(kSim);
  return device && device->has_index() ? *device : guard->getDevice();
}

Tensor empty(
    at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  check_has(c10::dtype_or_default(dtype));
  const c10::DeviceGuard guard(or_current(device));
  return at::detail::empty_generic(
      size, c10::GetAllocator(kSim), kOnSim, c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(
    at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  check_has(c10::dtype_or_default(dtype));
  const c10::DeviceGuard guard(or_current(device));
  return at::detail::empty_strided_generic(
      size, stride, c10::GetAllocator(kSim), kOnSim, c10::dtype_or_default(dtype));
}

const Tensor& resize_(
    const Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(self.device());
  return at::native::resize_(self, size, format);
}

Tensor copy_from(const Tensor& source, const Tensor& target, bool non_blocking) {
  // A device may convert before it copies.
  check_has(target.scalar_type());
  Call call;
  call.read(source);
  const Tensor from = call.to_cpu(source), to = call.to_cpu(target);
  {
    const at::DisableRecordFunctionGuard unseen;
    const at::AutoDispatchBelowADInplaceOrView below;
    to.copy_(from);
  }
  call.written(target);
  call.launch("aten::copy_", 0, [from = held(source), to = held(target)] {
    computes_again = true;
    copy_from(from, to, true);
    computes_again = false;
  });
  // The host is to find what it has asked for.
  if (target.device().is_cpu() && !non_blocking)
    machine().wait_until(machine().free_ns(call.device().index()));
  return target;
}

at::Scalar local_scalar_dense(const Tensor& self) {
  Call call;
  const Tensor alias = call.to_cpu(self);
  machine().wait_until(machine().free_ns(self.device().index()));
  return at::native::_local_scalar_dense_cpu(alias);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("resize_", resize_);
  library.impl("_copy_from", copy_from);
  library.impl("_local_scalar_dense", local_scalar_dense);
  library.impl("as_strided", at::native::as_strided_tensorimpl);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
  library.impl("unfold", at::native::unfold);
  library.impl("set_.source_Storage_storage_offset", at::native::set_storage_cpu_);
  library.impl("set_.source_Storage", static_cast<Tensor& (*)(Tensor&, at::Storage)>(at::native::set_));
  library.impl("set_.source_Tensor", at::native::set_tensor_);
  library.impl("set_", at::native::set_cpu_);
  // For other devices than the host torch makes these of several operators.
  for (const char* name : {"silu_backward", "mish_backward", "native_channel_shuffle"})
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&run>());
  library.impl("convolution_overrideable",
               torch::CppFunction::makeFromBoxedFunction<&convolution>());
  library.impl("convolution_backward_overrideable",
               torch::CppFunction::makeFromBoxedFunction<&convolution_backward>());
}

// Under autocast: what is computed in half as many bytes, by torch's own list; the rest stays.
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFallthrough());
}

#define IN_HALF_AS_MANY(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {  // torch's macro wants the name
  AT_FORALL_LOWER_PRECISION_FP(IN_HALF_AS_MANY)
}

}  // namespace
}  // namespace sim
