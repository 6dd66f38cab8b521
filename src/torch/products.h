// Sums of products of matrices: by tile products (tiles.h) where those are the fastest, by libtorch's products elsewhere.
#pragma once
#include <ATen/core/Tensor.h>
#include <vector>

namespace products {

// How the right factor of a product lies: as it is, `[k, n]`, or turned, `[n, k]`.
enum class Lies { kPlain, kTurned };

struct Term {
  at::Tensor left, right;
  Lies lies;
};

// start + Σ left · right, `[m, n]`, where every left is `[m, k]`. Tiles sum all terms in fp32 and round once; libtorch's
// products round after each term. What one thread computes does not depend on how many there are.
class Sum {
 public:
  // `start` may be undefined; it is read only.
  explicit Sum(at::Tensor start = {}) : out_(std::move(start)) {}
  void add(const at::Tensor& left, const at::Tensor& right, Lies lies = Lies::kPlain);
  at::Tensor done();

 private:
  friend void product_into(at::Tensor& out, const at::Tensor& left, const at::Tensor& right, Lies lies);
  void fill();
  std::vector<Term> terms_;  // those that wait for the tiles
  at::Tensor made_;          // where tiles put the sum
  at::Tensor out_;           // the sum so far, or what it starts with
  bool is_own_ = false;
};

at::Tensor product(const at::Tensor& left, const at::Tensor& right, Lies lies = Lies::kPlain);
void product_into(at::Tensor& out, const at::Tensor& left, const at::Tensor& right, Lies lies);

// leftᵀ · right, of `[k, m]` and `[k, n]`: the sum over rows that a weight's gradient is.
at::Tensor over_rows(const at::Tensor& left, const at::Tensor& right);

}  // namespace products
