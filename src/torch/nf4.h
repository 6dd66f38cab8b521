// 4-bit weights, for the kernels: see nf4.rs for the layout.
#pragma once
#include <ATen/core/Tensor.h>

namespace nf4 {
// The weight `[rows, columns]` in fp32 or bf16, as fresh memory.
at::Tensor dequantized(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ranges, int64_t columns,
                       at::ScalarType kind);
}  // namespace nf4
