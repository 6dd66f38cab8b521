// What src/torch asks of libtorch beyond tch: C functions over tch's tensor handles.
// Every function that can fail returns null, or a message the caller frees with ltune_free.
#pragma once
#include <ATen/core/Tensor.h>
#include <cstddef>
#include <cstdint>

extern "C" {
using Handle = at::Tensor*;

const char* ltune_torch_version();
void ltune_free(char* message);

char* ltune_backward(const Handle* outputs, const Handle* gradients, size_t count);
char* ltune_set_gradient(Handle leaf, Handle gradient);

char* ltune_fused_adamw(const Handle* parameters, const Handle* gradients, const Handle* means, const Handle* squares,
                        size_t count, int64_t step, double lr, double beta1, double beta2, double eps,
                        double weight_decay);
char* ltune_fused_sgd(const Handle* parameters, const Handle* gradients, const Handle* velocities, size_t count,
                      double lr, double momentum, double weight_decay, int nesterov, int first_step);

char* ltune_fill_bernoulli(Handle tensor, double probability, uint64_t seed);
char* ltune_fill_uniform(Handle tensor, double low, double high, uint64_t seed);
char* ltune_fill_normal(Handle tensor, double mean, double deviation, uint64_t seed);

char* ltune_set_onednn_float32(int reduced);
const char* ltune_cpu_capability();
// Large CPU tensors take their memory from `heap` from here on: `take` gives a block or null, then malloc serves it;
// `give` takes a block back, or says 0 when it is not its own.
using HeapTake = void* (*)(const void* heap, size_t bytes);
using HeapGive = int (*)(const void* heap, void* block);
void ltune_use_heap(const void* heap, HeapTake take, HeapGive give);
const void* ltune_heap();

// One-pass kernels, each a node of the graph; rows of fp32 or bf16. `out` gets a handle of the caller's own.
char* ltune_rms_norm(Handle x, Handle weight, double eps, Handle* out);
// The same of x + residual, which is given too.
char* ltune_add_rms_norm(Handle x, Handle residual, Handle weight, double eps, Handle* sum, Handle* out);
char* ltune_rotate(Handle x, Handle cos, Handle sin, Handle* out);
char* ltune_swiglu(Handle gate, Handle up, Handle* out);
// Linear layers over one input. `layers` holds weight, scales, ranges, bias, A and B of each; null for what a layer has
// not. With scales and ranges the weight is the codes of nf4.
char* ltune_linears(Handle x, Handle residual, const Handle* layers, size_t count, double scale, Handle* outs);
// Whether the processor has tile products (tiles.h) of bf16, or of fp32.
int ltune_has_tiles(int bf16);
// Whether it multiplies by them, as the fastest.
int ltune_tiles_multiply(int bf16);
// Products of matrices where no graph is made, by tiles where those are the fastest: left · right into `out`, right
// turned if `turned`; and leftᵀ · right.
char* ltune_product(Handle left, Handle right, int turned, Handle out);
char* ltune_product_over_rows(Handle left, Handle right, Handle* out);
// The loss of each row of logits, where they lie. The first makes the logits the gradient of `scale · loss`, in place.
char* ltune_loss_to_gradient(Handle logits, Handle targets, double scale, Handle* losses);
char* ltune_losses(Handle logits, Handle targets, Handle* losses, Handle* are_likeliest);
// nf4 with double quantisation to numbers on a GPU; `out` is filled. See kernels/cuda/nf4.cu for the layout.
char* ltune_nf4_on_cuda(Handle codes, Handle scales, Handle ranges, Handle out);

// Causal attention by tiles, for q `[b, t, heads, k]` and keys and values `[b, t, groups, k]`, k a whole number of 16. `places` holds
// of each document where it starts among all tokens and its length; what none of them holds is zero.
char* ltune_attend(Handle q, Handle k, Handle v, const int64_t* places, size_t count, Handle* out);
// Causal attention over documents that lie one behind the other, on a GPU in half precision: `[all, heads, k]`, with the
// document's starts and the end as int32.
char* ltune_attend_documents(Handle q, Handle k, Handle v, Handle starts, int64_t longest, Handle* out);
// The norm of all tensors together in fp64, and all of them times a factor, in few launches however many there are.
char* ltune_norm_of_all(const Handle* tensors, size_t count, Handle* out);
char* ltune_multiply_all(const Handle* tensors, size_t count, double factor);

// The CUDA half, once it is open: it computes what lies on its devices. An imitation serves the tensors of one thread.
struct CudaHalf;
void ltune_use_cuda(const CudaHalf* half);
void ltune_imitate_cuda(const CudaHalf* half);
const CudaHalf* ltune_cuda();
// Whether the kernels serve this tensor: fp32 or bf16, on the CPU or where the CUDA half has loaded its own.
int ltune_serves(Handle x);
// What must be set before CUDA is first asked: memory in segments that grow, and a workspace of cuBLAS that repeats.
char* ltune_ready_for_cuda();
// 4-bit weights on the CPU; see nf4.rs. `codes`, `scales` and `ranges` are of the right size and filled.
char* ltune_nf4_quantize(Handle weight, Handle codes, Handle scales, Handle ranges);
char* ltune_nf4_dequantize(Handle codes, Handle scales, Handle ranges, int64_t columns, int bf16, Handle* out);
void ltune_nf4_tables(const float** code, const float** map);

int ltune_grad_mode();
void ltune_set_grad_mode(int on);
}
