// 4-bit weights, for the kernels: see nf4.rs for the layout.
#pragma once
#include <ATen/core/Tensor.h>

namespace nf4 {
// The weight `[rows, columns]` in fp32 or bf16, as fresh memory.
at::Tensor dequantized(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ranges, int64_t columns,
                       at::ScalarType kind);

// Fills `out` by the kernel of the CUDA half, if that half computes with it.
bool filled_on_cuda(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ranges, at::Tensor& out);
}  // namespace nf4
