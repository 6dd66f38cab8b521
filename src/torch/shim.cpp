// What libtorch has and tch does not give.
#include "shim.h"

#include "guarded.h"
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Version.h>
#include <ATen/detail/AcceleratorHooksInterface.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/env.h>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <torch/csrc/autograd/autograd.h>
#include <torch/headeronly/version.h>
#include <vector>

static_assert(TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR == 11 && TORCH_VERSION_PATCH == 0,
              "ltune needs libtorch 2.11.0: run scripts/ltune to fetch it, or set LIBTORCH to a folder that holds it");

namespace {

std::vector<at::Tensor> tensors(const Handle* handles, size_t count) {
  std::vector<at::Tensor> all;
  all.reserve(count);
  for (size_t index = 0; index < count; ++index) all.push_back(*handles[index]);
  return all;
}

// A generator of its own for one fill: nothing else ever draws from it.
at::Generator generator(const at::Tensor& tensor, uint64_t seed) {
  if (tensor.device().is_cpu()) return at::make_generator<at::CPUGeneratorImpl>(seed);
  auto made = at::globalContext().getAcceleratorHooksInterface(tensor.device().type()).getNewGenerator(tensor.device().index());
  made.set_current_seed(seed);
  return made;
}

// CPU memory from the heap of heap.rs, or from malloc where that has none to give.
struct HeapAllocator final : c10::Allocator {
  const void* heap = nullptr;
  HeapTake take = nullptr;
  HeapGive give = nullptr;

  c10::DataPtr allocate(size_t bytes) override {
    void* data = take(heap, bytes);
    if (!data) data = c10::alloc_cpu(bytes);
    return {data, data, &HeapAllocator::release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &HeapAllocator::release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  static HeapAllocator& only() {
    static HeapAllocator* const allocator = new HeapAllocator;  // libtorch holds it to the end of the process
    return *allocator;
  }
  static void release(void* data) {
    auto& self = only();
    if (data && !self.give(self.heap, data)) c10::free_cpu(data);
  }
};

}  // namespace

extern "C" {

const char* ltune_torch_version() { return TORCH_VERSION; }

void ltune_free(char* message) { free(message); }

char* ltune_backward(const Handle* outputs, const Handle* gradients, size_t count) {
  return guarded([&] { torch::autograd::backward(tensors(outputs, count), tensors(gradients, count)); });
}

char* ltune_set_gradient(Handle leaf, Handle gradient) {
  return guarded([&] { leaf->mutable_grad() = gradient ? *gradient : at::Tensor(); });
}

char* ltune_fused_adamw(const Handle* parameters, const Handle* gradients, const Handle* means, const Handle* squares,
                        size_t count, int64_t step, double lr, double beta1, double beta2, double eps,
                        double weight_decay) {
  return guarded([&] {
    if (count == 0) return;
    at::NoGradGuard off;
    auto parameter = tensors(parameters, count);
    const auto at_step = at::full({}, static_cast<double>(step), parameter[0].options().dtype(at::kFloat));
    const std::vector<at::Tensor> steps(count, at_step);
    at::_fused_adamw_(parameter, tensors(gradients, count), tensors(means, count), tensors(squares, count), {}, steps, lr,
                      beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

char* ltune_fused_sgd(const Handle* parameters, const Handle* gradients, const Handle* velocities, size_t count,
                      double lr, double momentum, double weight_decay, int nesterov, int first_step) {
  return guarded([&] {
    if (count == 0) return;
    at::NoGradGuard off;
    at::_fused_sgd_(tensors(parameters, count), tensors(gradients, count), tensors(velocities, velocities ? count : 0),
                    weight_decay, momentum, lr, /*dampening=*/0.0, nesterov != 0, /*maximize=*/false, first_step != 0);
  });
}

char* ltune_attend_documents(Handle q, Handle k, Handle v, Handle starts, int64_t longest, Handle* out) {
  return guarded([&] {
    auto made = at::_flash_attention_forward(*q, *k, *v, *starts, *starts, longest, longest, /*dropout_p=*/0.0,
                                             /*is_causal=*/true, /*return_debug_mask=*/false);
    *out = new at::Tensor(std::get<0>(made));
  });
}

char* ltune_norm_of_all(const Handle* all, size_t count, Handle* out) {
  return guarded([&] {
    at::NoGradGuard off;
    const auto norms = at::stack(at::_foreach_norm(tensors(all, count))).to(at::kDouble);
    *out = new at::Tensor(norms.square().sum().sqrt());
  });
}

char* ltune_multiply_all(const Handle* all, size_t count, double factor) {
  return guarded([&] {
    at::NoGradGuard off;
    at::_foreach_mul_(tensors(all, count), factor);
  });
}

char* ltune_fill_bernoulli(Handle tensor, double probability, uint64_t seed) {
  return guarded([&] {
    at::NoGradGuard off;
    tensor->bernoulli_(probability, generator(*tensor, seed));
  });
}

char* ltune_fill_uniform(Handle tensor, double low, double high, uint64_t seed) {
  return guarded([&] {
    at::NoGradGuard off;
    tensor->uniform_(low, high, generator(*tensor, seed));
  });
}

char* ltune_fill_normal(Handle tensor, double mean, double deviation, uint64_t seed) {
  return guarded([&] {
    at::NoGradGuard off;
    tensor->normal_(mean, deviation, generator(*tensor, seed));
  });
}

// Sends float32 products to oneDNN: there "bf16" only permits reduced precision, so the caller measures what it gets.
char* ltune_set_onednn_float32(int reduced) {
  return guarded([&] {
    at::globalContext().setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL,
                                            reduced ? at::Float32Precision::BF16 : at::Float32Precision::IEEE);
  });
}

const char* ltune_cpu_capability() {
  static const std::string name = at::get_cpu_capability();
  return name.c_str();
}

void ltune_use_heap(const void* heap, HeapTake take, HeapGive give) {
  auto& allocator = HeapAllocator::only();
  allocator.heap = heap;
  allocator.take = take;
  allocator.give = give;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

const void* ltune_heap() { return HeapAllocator::only().heap; }

// What the user has set stays.
char* ltune_ready_for_cuda() {
  return guarded([] {
    const auto is_set = [](const char* name) { return c10::utils::get_env(name).has_value(); };
    if (!is_set("PYTORCH_ALLOC_CONF") && !is_set("PYTORCH_CUDA_ALLOC_CONF")) {
      c10::CachingAllocator::setAllocatorSettings("expandable_segments:True");
    }
    if (!is_set("CUBLAS_WORKSPACE_CONFIG")) c10::utils::set_env("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
  });
}

int ltune_grad_mode() { return c10::GradMode::is_enabled() ? 1 : 0; }

void ltune_set_grad_mode(int on) { c10::GradMode::set_enabled(on != 0); }

}  // extern "C"
