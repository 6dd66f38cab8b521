// The kernels of kernels/cuda as plain C++ on the processor, behind the same table and the same launches as on a GPU: what
// they compute, where they read and write, and how they are launched is tested without one. Threads of a block are fibers
// that change at each barrier and each shuffle; all must stand at the same one, and from block to block they run up or
// down, so that a barrier that is missing shows. Built and opened by src/torch/imitated.rs.
#include "../../src/torch/cuda/launches.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <ucontext.h>
#include <vector>

// ---- what CUDA gives a kernel -------------------------------------------------------------------------------------------

struct Index {
  unsigned x, y;
};
static Index threadIdx, blockIdx, blockDim;

#define __global__
#define __device__
#define __constant__ static const
#define __shared__ static

namespace fibers {

enum class Stop { kNowhere, kBarrier, kShuffle, kEnd };

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(32 << 10);
  Stop at = Stop::kNowhere;
  unsigned shuffles = 0;
};

static std::vector<Fiber> all;
static ucontext_t home;
static const std::function<void()>* kernel;
static char slots[2][1024][8];  // what threads show each other, by turns

static void stop(Stop at) {
  auto& fiber = all[threadIdx.x];
  fiber.at = at;
  swapcontext(&fiber.context, &home);
}

static void begin() {
  (*kernel)();
  stop(Stop::kEnd);
}

static void run_block(const std::function<void()>& work, bool is_downward) {
  const unsigned threads = blockDim.x;
  if (all.size() < threads) all.resize(threads);
  kernel = &work;
  for (unsigned thread = 0; thread < threads; ++thread) {
    auto& fiber = all[thread];
    getcontext(&fiber.context);
    fiber.context.uc_stack = {fiber.stack.data(), 0, fiber.stack.size()};
    fiber.context.uc_link = nullptr;
    fiber.shuffles = 0;
    makecontext(&fiber.context, begin, 0);
  }
  for (Stop at = Stop::kNowhere; at != Stop::kEnd;) {
    for (unsigned turn = 0; turn < threads; ++turn) {
      threadIdx = {is_downward ? threads - 1 - turn : turn, 0};
      auto& fiber = all[threadIdx.x];
      const unsigned thread = threadIdx.x;
      swapcontext(&home, &fiber.context);
      TORCH_CHECK(turn == 0 || fiber.at == at, "thread ", thread, " stands at another barrier than the others");
      at = fiber.at;
    }
  }
}

}  // namespace fibers

static void __syncthreads() { fibers::stop(fibers::Stop::kBarrier); }

template <class T>
static T __shfl_xor_sync(unsigned, T value, int lane) {
  static_assert(sizeof(T) <= 8);
  const unsigned thread = threadIdx.x, turn = fibers::all[thread].shuffles++ % 2, other = thread ^ lane;
  TORCH_CHECK(other < blockDim.x, "a shuffle with a thread that is not there");
  std::memcpy(fibers::slots[turn][thread], &value, sizeof(T));
  fibers::stop(fibers::Stop::kShuffle);
  T found;
  std::memcpy(&found, fibers::slots[turn][other], sizeof(T));
  return found;
}

static float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// Not joined with another operation.
static float __fmul_rn(float a, float b) { return a * b; }
static float __fadd_rn(float a, float b) { return a + b; }

static unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

#include "../../kernels/cuda/common.cu"
#include "../../kernels/cuda/rms_norm.cu"
#include "../../kernels/cuda/rotate.cu"
#include "../../kernels/cuda/swiglu.cu"
#include "../../kernels/cuda/loss.cu"
#include "../../kernels/cuda/nf4_values.cu"
#include "../../kernels/cuda/nf4.cu"

// ---- launches ---------------------------------------------------------------------------------------------------------

namespace {

using Run = std::function<void(void**)>;

template <class... Arguments>
Run with_its_types(void (*kernel)(Arguments...)) {
  return [kernel](void** arguments) {
    [&]<size_t... I>(std::index_sequence<I...>) {
      kernel(*static_cast<Arguments*>(arguments[I])...);
    }(std::index_sequence_for<Arguments...>{});
  };
}

#define NAMED(name) {#name, with_its_types(name)}
#define FORMS(name) NAMED(name##_f32_1), NAMED(name##_f32_4), NAMED(name##_bf16_1), NAMED(name##_bf16_8)

const std::map<std::string, Run> kKernels = {
    FORMS(rms_norm), FORMS(rms_norm_gradient), FORMS(rotate), FORMS(swiglu), FORMS(swiglu_gradient),
    FORMS(loss_to_gradient), FORMS(losses), NAMED(rms_norm_weight_gradient_f32_1),
    NAMED(rms_norm_weight_gradient_bf16_1), NAMED(nf4_f32_2), NAMED(nf4_f32_4), NAMED(nf4_bf16_2), NAMED(nf4_bf16_8)};

std::set<std::string> launched;

int serves(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

constexpr CudaHalf kHalf = launches::computing({.serves = serves});

}  // namespace

void launches::run(const std::string& name, const at::Tensor&, Grid grid, unsigned threads, void** arguments) {
  const auto kernel = kKernels.find(name);
  TORCH_CHECK(kernel != kKernels.end(), "there is no kernel ", name);
  TORCH_CHECK(threads % 32 == 0 && threads > 0 && threads <= 1024, "blocks are whole warps, not ", threads);
  launched.insert(name);
  blockDim = {threads, 1};
  const std::function<void()> work = [&] { kernel->second(arguments); };
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y) {
    for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) fibers::run_block(work, blockIdx.x % 2 == 1);
  }
}

extern "C" const CudaHalf* ltune_cuda_half() { return &kHalf; }

// How many kernels there are, and how many of them were launched by now.
extern "C" int ltune_kernels() { return static_cast<int>(kKernels.size()); }
extern "C" int ltune_launched() { return static_cast<int>(launched.size()); }
