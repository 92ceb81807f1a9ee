// SPDX-License-Identifier: Apache-2.0
//
// Products of row-major matrices by cuBLASLt, each planned once for its shape. Which algorithm computes one
// follows from the shape, the epilogue and the precision alone, never from a measurement, so the bits are
// equal from run to run and wherever embeddings lie.
//
//   cuda::detail::BlasHandle blas;
//   const auto gemm = cuda::detail::Gemm::find(blas, shape, Epilogue::relu, bias, Precision::tf32, bytes);
//   gemm.run(blas, cuda::on(stream), out, x, y, workspace);          // out = relu(x * y + bias)
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI {

/// A call of cuBLASLt that failed.
struct BlasError : Error {
    BlasError(cublasStatus_t status, const std::string& doing)
        : Error(doing + ": " + ::cublasLtGetStatusName(status)), code(status) {}
    cublasStatus_t code;
};

namespace cuda {

/// How the dense products of a model round their operands. Sums are in float32 either way.
enum class Precision : std::uint8_t {
    tf32,  ///< to 10 bits of mantissa: tensor cores
    fp32,  ///< not at all
};

namespace detail {

inline void check_blas(cublasStatus_t status, const char* doing) {
    if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]] {
        throw BlasError(status, doing);
    }
}

template <class T, auto destroy>
struct Destroy {
    void operator()(T object) const noexcept { static_cast<void>(destroy(object)); }
};
template <class T, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, Destroy<T, destroy>>;

/// The library's context. Move-only.
class BlasHandle {
  public:
    BlasHandle() {
        cublasLtHandle_t handle = nullptr;
        check_blas(::cublasLtCreate(&handle), "start of cuBLASLt");
        handle_.reset(handle);
    }
    [[nodiscard]] cublasLtHandle_t get() const { return handle_.get(); }

  private:
    Owned<cublasLtHandle_t, ::cublasLtDestroy> handle_;
};

/// What is done to a product before it is written.
enum class Epilogue : std::uint8_t {
    none,
    relu,  ///< max(x + bias, 0)
};

/// out [rows, columns] = x [rows, depth] * y [depth, columns], `batches` times; a transposed operand lies the
/// other way round.
/// @units strides count elements
struct GemmShape {
    std::size_t rows;
    std::size_t columns;
    std::size_t depth;
    bool x_transposed;
    bool y_transposed;
    std::size_t out_stride;
    std::size_t x_stride;
    std::size_t y_stride;
    std::size_t batches = 1;
    std::size_t out_step = 0;  ///< from one product to the next
    std::size_t x_step = 0;
    std::size_t y_step = 0;
};

/// One planned product. Move-only.
class Gemm {
  public:
    /// The plan that cuBLASLt's heuristic puts first among those without atomics.
    /// @param bias  [columns], for Epilogue::relu
    /// @throws BlasError, also where the library has no plan
    [[nodiscard]] static Gemm find(const BlasHandle& blas, const GemmShape& shape, Epilogue epilogue,
                                   const float* bias, Precision precision, std::size_t workspace_bytes) {
        Gemm gemm;
        gemm.describe(shape, epilogue, bias, precision);
        cublasLtMatmulPreference_t raw = nullptr;
        check_blas(::cublasLtMatmulPreferenceCreate(&raw), doing);
        const Owned<cublasLtMatmulPreference_t, ::cublasLtMatmulPreferenceDestroy> preference(raw);
        // Reductions in place meet in the result; the other schemes add the parts of a sum in a fixed order.
        const std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE |
                                         CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE |
                                         CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
        const std::uint64_t bytes = workspace_bytes;
        check_blas(::cublasLtMatmulPreferenceSetAttribute(raw, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                          &bytes, sizeof bytes),
                   doing);
        check_blas(::cublasLtMatmulPreferenceSetAttribute(raw, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                                          &reductions, sizeof reductions),
                   doing);
        cublasLtMatmulHeuristicResult_t found{};
        int count = 0;
        const cublasStatus_t status =
            ::cublasLtMatmulAlgoGetHeuristic(blas.get(), gemm.product_.get(), gemm.y_.get(), gemm.x_.get(),
                                             gemm.out_.get(), gemm.out_.get(), raw, 1, &found, &count);
        check_blas(status, doing);
        check_blas(count == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : found.state, doing);
        gemm.algorithm_ = found.algo;
        return gemm;
    }

    /// out = epilogue(x * y).
    /// @shape as planned
    /// @pre   out, x, y and workspace are 256-byte aligned; nobody else uses the workspace meanwhile
    /// @exec  cuda::On: queued
    /// @throws BlasError
    void run(const BlasHandle& blas, On on, float* out, const float* x, const float* y,
             Span<std::byte> workspace) const {
        const float one = 1;
        const float zero = 0;
        check_blas(::cublasLtMatmul(blas.get(), product_.get(), &one, y, y_.get(), x, x_.get(), &zero, out,
                                    out_.get(), out, out_.get(), &algorithm_, workspace.data(),
                                    workspace.size(), on.stream),
                   "matrix product");
    }

  private:
    using Layout = Owned<cublasLtMatrixLayout_t, ::cublasLtMatrixLayoutDestroy>;
    static constexpr const char* doing = "planning of a matrix product";

    template <class T>
    void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
        check_blas(::cublasLtMatmulDescSetAttribute(product_.get(), attribute, &value, sizeof value), doing);
    }

    // A row-major matrix [rows, columns] as the library sees it: column-major [columns, rows].
    [[nodiscard]] static Layout layout(std::size_t rows, std::size_t columns, std::size_t stride,
                                       std::size_t batches, std::size_t step) {
        cublasLtMatrixLayout_t raw = nullptr;
        check_blas(
            ::cublasLtMatrixLayoutCreate(&raw, CUDA_R_32F, columns, rows, static_cast<std::int64_t>(stride)),
            doing);
        Layout result(raw);
        const auto count = static_cast<std::int32_t>(batches);
        const auto offset = static_cast<std::int64_t>(step);
        check_blas(
            ::cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
            doing);
        check_blas(::cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                      &offset, sizeof offset),
                   doing);
        return result;
    }

    // The library computes the transpose: out^T = y^T x^T.
    void describe(const GemmShape& s, Epilogue epilogue, const float* bias, Precision precision) {
        cublasLtMatmulDesc_t raw = nullptr;
        check_blas(::cublasLtMatmulDescCreate(
                       &raw, precision == Precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                       CUDA_R_32F),
                   doing);
        product_.reset(raw);
        set(CUBLASLT_MATMUL_DESC_TRANSA, s.y_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
        set(CUBLASLT_MATMUL_DESC_TRANSB, s.x_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
        if (epilogue == Epilogue::relu) {
            set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_RELU_BIAS);
            set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
        }
        x_ = s.x_transposed ? layout(s.depth, s.rows, s.x_stride, s.batches, s.x_step)
                            : layout(s.rows, s.depth, s.x_stride, s.batches, s.x_step);
        y_ = s.y_transposed ? layout(s.columns, s.depth, s.y_stride, s.batches, s.y_step)
                            : layout(s.depth, s.columns, s.y_stride, s.batches, s.y_step);
        out_ = layout(s.rows, s.columns, s.out_stride, s.batches, s.out_step);
    }

    Owned<cublasLtMatmulDesc_t, ::cublasLtMatmulDescDestroy> product_;
    Layout x_;
    Layout y_;
    Layout out_;
    cublasLtMatmulAlgo_t algorithm_{};
};

}  // namespace detail
}  // namespace cuda
}  // namespace fae::inline FAE_ABI
