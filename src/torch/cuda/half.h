// The CUDA half of the shim as the other half sees it: one table of C functions, exported under one name by a library of
// its own, since what it stands on is opened at run time. src/torch/cuda.rs repeats the first fields.
#pragma once
#include "../shim.h"

struct CudaHalf {
  // allocated, reserved, most allocated, most reserved by libtorch; free and all of the device: bytes.
  char* (*memory)(int device, int64_t* bytes);
  char* (*forget_peak)(int device);
  char* (*give_back_cached)();
  // Name, and major and minor of the capability.
  char* (*describe)(int device, char* name, size_t size, int* major, int* minor);
  // The compiled kernels of kernels/cuda for a device; until then it serves nothing there.
  char* (*load)(int device, const void* cubin);
  // A CUDA graph: all that is asked of the device between the first two is recorded instead of done; `play` does it.
  char* (*begin_graph)(int device, void** graph);
  char* (*end_graph)(void* graph);
  char* (*play_graph)(void* graph);
  void (*free_graph)(void* graph);
  int (*serves)(const at::Tensor& x);

  // Inputs are contiguous and outputs are there already, on one device. `residual`, `sum` and `more` may be null.
  void (*rms_norm)(const at::Tensor& x, const at::Tensor* residual, const at::Tensor& weight, double eps, at::Tensor* sum,
                   at::Tensor& y, at::Tensor& factors);
  void (*rms_norm_gradient)(const at::Tensor& dy, const at::Tensor& s, const at::Tensor& weight, const at::Tensor& factors,
                            const at::Tensor* more, at::Tensor& ds);
  // `parts` `[blocks, width]`: the sum over each `together` rows.
  void (*rms_norm_weight_gradient)(const at::Tensor& dy, const at::Tensor& s, const at::Tensor& factors, int64_t together,
                                   at::Tensor& parts);
  void (*rotate)(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, double direction, at::Tensor& y);
  void (*swiglu)(const at::Tensor& gate, const at::Tensor& up, at::Tensor& out);
  void (*swiglu_gradient)(const at::Tensor& gradient, const at::Tensor& gate, const at::Tensor& up, at::Tensor& for_gate,
                          at::Tensor& for_up);
  void (*loss_to_gradient)(at::Tensor& logits, const at::Tensor& targets, double scale, at::Tensor& losses);
  void (*losses)(const at::Tensor& logits, const at::Tensor& targets, at::Tensor& losses, at::Tensor& are_likeliest);
  void (*nf4)(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ranges, at::Tensor& out);
};

extern "C" const CudaHalf* ltune_cuda_half();
