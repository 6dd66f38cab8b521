// The CUDA half of the shim: memory of devices, and kernels that NVRTC compiled, launched on libtorch's streams. Built
// without a GPU from the headers of NVIDIA's wheels; its symbols are those of libtorch_cuda, which is opened before it.
#include "launches.h"

#include "../guarded.h"
#include <ATen/cuda/CUDAGraph.h>
#include <array>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

namespace {

// The driver's own functions: they load a compiled program, which the runtime's can do only in its newest versions.
struct Driver {
  decltype(&cuModuleLoadData) load;
  decltype(&cuModuleGetFunction) find;
  decltype(&cuLaunchKernel) launch;
  decltype(&cuCtxGetCurrent) current;
  decltype(&cuGetErrorString) describe;

  static const Driver& get() {
    static const Driver driver = open();
    return driver;
  }
  static Driver open() {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    TORCH_CHECK(library, "the driver's libcuda.so.1 does not open");
    Driver made{};
    const auto resolve = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
      TORCH_CHECK(function, "the driver has no ", name);
    };
    resolve(made.load, "cuModuleLoadData");
    resolve(made.find, "cuModuleGetFunction");
    resolve(made.launch, "cuLaunchKernel");
    resolve(made.current, "cuCtxGetCurrent");
    resolve(made.describe, "cuGetErrorString");
    return made;
  }
  void check(CUresult result, const char* doing) const {
    if (result == CUDA_SUCCESS) return;
    const char* reason = nullptr;
    describe(result, &reason);
    TORCH_CHECK(false, doing, ": ", reason ? reason : "CUDA gives no reason");
  }
  // A thread that has launched nothing yet has no context: any call of the runtime gives it libtorch's.
  void ready() const {
    CUcontext context = nullptr;
    check(current(&context), "asking for the context");
    if (!context) C10_CUDA_CHECK(cudaFree(nullptr));
  }
};

// The kernels of one device, found by name when they are first launched.
struct Program {
  CUmodule module = nullptr;
  std::unordered_map<std::string, CUfunction> kernels;
};

std::mutex programs_lock;
std::array<Program, C10_COMPILE_TIME_MAX_GPUS> programs;

CUfunction kernel_of(int device, const std::string& name) {
  std::lock_guard<std::mutex> held(programs_lock);
  auto& program = programs.at(device);
  TORCH_CHECK(program.module, "the kernels are not loaded on device ", device);
  auto& kernel = program.kernels[name];
  if (!kernel) Driver::get().check(Driver::get().find(&kernel, program.module, name.c_str()), name.c_str());
  return kernel;
}

char* memory(int device, int64_t* bytes) {
  return guarded([&] {
    const c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
    size_t free = 0, all = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &all));
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    const auto &allocated = stats.allocated_bytes[0], &reserved = stats.reserved_bytes[0];  // 0: over all pools
    const int64_t found[] = {allocated.current, reserved.current, allocated.peak, reserved.peak,
                             static_cast<int64_t>(free), static_cast<int64_t>(all)};
    std::copy(std::begin(found), std::end(found), bytes);
  });
}

char* forget_peak(int device) {
  return guarded([&] { c10::cuda::CUDACachingAllocator::resetPeakStats(static_cast<c10::DeviceIndex>(device)); });
}

char* give_back_cached() {
  return guarded([] { c10::cuda::CUDACachingAllocator::emptyCache(); });
}

char* describe(int device, char* name, size_t size, int* major, int* minor) {
  return guarded([&] {
    cudaDeviceProp properties{};
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    std::snprintf(name, size, "%s", properties.name);
    *major = properties.major;
    *minor = properties.minor;
  });
}

char* load(int device, const void* cubin) {
  return guarded([&] {
    const c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
    Driver::get().ready();
    std::lock_guard<std::mutex> held(programs_lock);
    auto& program = programs.at(device);
    if (!program.module) Driver::get().check(Driver::get().load(&program.module, cubin), "loading the kernels");
  });
}

int serves(const at::Tensor& x) {
  if (!x.is_cuda()) return 0;
  std::lock_guard<std::mutex> held(programs_lock);
  return programs.at(x.get_device()).module != nullptr;
}

// A graph, and while it is recorded the stream it is recorded from: none may be the device's default stream.
struct Graph {
  const c10::DeviceIndex device;
  const c10::MempoolId_t pool = at::cuda::graph_pool_handle();
  at::cuda::CUDAGraph recorded;
  std::optional<c10::cuda::CUDAStreamGuard> recording;
};

// libtorch leaves a recording that failed in the middle: the graph's own memory would never be given back.
void give_up(const Graph& graph) {
  try {
    c10::cuda::CUDACachingAllocator::endAllocateToPool(graph.device, graph.pool);
    c10::cuda::CUDACachingAllocator::releasePool(graph.device, graph.pool);
  } catch (const c10::Error&) {
    // It had come as far as to end by itself.
  }
}

char* begin_graph(int device, void** graph) {
  return guarded([&] {
    const c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
    std::unique_ptr<Graph> made(new Graph{.device = static_cast<c10::DeviceIndex>(device)});
    C10_CUDA_CHECK(cudaDeviceSynchronize());  // the recording's stream does not wait for what the other still does
    made->recording.emplace(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, made->device));
    made->recorded.capture_begin(made->pool);
    *graph = made.release();
  });
}

char* end_graph(void* graph) {
  return guarded([&] {
    auto& made = *static_cast<Graph*>(graph);
    const c10::cuda::CUDAGuard on(made.device);
    try {
      made.recorded.capture_end();
    } catch (...) {
      made.recording.reset();
      give_up(made);
      throw;
    }
    made.recording.reset();
  });
}

char* play_graph(void* graph) {
  return guarded([&] { static_cast<Graph*>(graph)->recorded.replay(); });
}

void free_graph(void* graph) { delete static_cast<Graph*>(graph); }

constexpr CudaHalf kHalf = launches::computing({
    .memory = memory,
    .forget_peak = forget_peak,
    .give_back_cached = give_back_cached,
    .describe = describe,
    .load = load,
    .begin_graph = begin_graph,
    .end_graph = end_graph,
    .play_graph = play_graph,
    .free_graph = free_graph,
    .serves = serves,
});

}  // namespace

void launches::run(const std::string& name, const at::Tensor& on, Grid grid, unsigned threads, void** arguments) {
  const auto device = on.get_device();
  const c10::cuda::CUDAGuard there(device);
  Driver::get().ready();
  const auto stream = c10::cuda::getCurrentCUDAStream(device).stream();
  const auto launched = Driver::get().launch(kernel_of(device, name), grid.x, grid.y, 1, threads, 1, 1, 0, stream, arguments, nullptr);
  Driver::get().check(launched, name.c_str());
}

extern "C" __attribute__((visibility("default"))) const CudaHalf* ltune_cuda_half() { return &kHalf; }
