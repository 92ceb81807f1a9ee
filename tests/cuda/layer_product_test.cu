// SPDX-License-Identifier: Apache-2.0
//
// The kernels that a dense layer is made of, one at a time, against plain loops over operands that are
// rounded to TF32 as on the device. Products are then exact in float32 but for the order of their sums.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/boxed_weight_gradients.cuh"
#include "fae/models/layer_product.cuh"
#include "fae/models/warpgroup_product.cuh"
#include "fae/models/weight_gradients.cuh"

namespace cuda = fae::cuda;
namespace detail = fae::cuda::detail;
using fae::Buffer;
using fae::MatrixView;
using fae::Span;

namespace {

/// To nearest, ties away from zero.
float to_tf32(float x) {
    return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x1000u) & ~0x1fffu);
}

/// A matrix of normal numbers on host and device, rows padded to a multiple of 4 with zeros.
struct Matrix {
    std::size_t rows;
    std::size_t columns;
    std::size_t stride;
    std::vector<float> host;
    Buffer<float, cuda::DeviceSpace> device;

    Matrix(cuda::On on, std::size_t r, std::size_t c, std::uint64_t seed, bool round = false)
        : rows(r), columns(c), stride((c + 3) / 4 * 4), host(r * stride), device(r * stride) {
        fae::Philox rng(seed);
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j < columns; ++j) {
                const auto x = static_cast<float>(rng.normal());
                host[i * stride + j] = round ? to_tf32(x) : x;
            }
        }
        upload(on);
    }
    void upload(cuda::On on) {
        cuda::copy(on, host, device.span());
        on.synchronise();
    }
    [[nodiscard]] float at(std::size_t i, std::size_t j) const { return host[i * stride + j]; }
    [[nodiscard]] MatrixView<const float> view() const { return {device.data(), rows, columns, stride}; }
};

/// Device memory full of NaN: what has not been written shows.
struct Poisoned {
    Buffer<float, cuda::DeviceSpace> device;
    Poisoned(cuda::On on, std::size_t size) : device(size) {
        const std::vector<float> nans(size, std::numeric_limits<float>::quiet_NaN());
        cuda::copy(on, nans, device.span());
        on.synchronise();
    }
    [[nodiscard]] std::vector<float> read(cuda::On on) const {
        std::vector<float> host(device.size());
        cuda::copy(on, Span<const float>(device.data(), device.size()), Span<float>(host));
        on.synchronise();
        return host;
    }
};

/// Sums of `depth` products of numbers around 1, in float32 and another order.
void check_close(float got, double expected, std::size_t depth) {
    CHECK(std::fabs(static_cast<double>(got) - expected) <= 1e-6 * static_cast<double>(depth + 8));
}

struct Sizes {
    std::size_t n;
    std::size_t in;
    std::size_t out;
};
/// Tiles that are full and that are not, one stage and many, each kind of tile.
const std::vector<Sizes> all_sizes = {{1, 1, 1},    {63, 13, 70},   {64, 64, 64}, {65, 33, 100},
                                      {33, 64, 16}, {130, 300, 65}, {31, 5, 3},   {1030, 260, 30}};

unsigned narrow(std::size_t x) { return static_cast<unsigned>(x); }

/// The last row of what a kernel was given room for is not its own.
void check_guard(const std::vector<float>& out, std::size_t from) {
    for (std::size_t i = from; i < out.size(); ++i) REQUIRE(std::isnan(out[i]));
}

}  // namespace

// Catches a tile whose edge is computed from a neighbour's memory, a bias of another column, a stage left
// out.
TEST_CASE("cuda layer product: forward is relu(x W^T + bias)") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    for (const auto& [n, in, out] : all_sizes) {
        CAPTURE(n);
        CAPTURE(in);
        CAPTURE(out);
        const Matrix x(on, n, in, 1);
        const Matrix weights(on, out, in, 2);
        const Matrix bias(on, 1, out, 3);
        const std::size_t stride = bias.stride;
        Poisoned result(on, (n + 1) * stride);
        detail::multiply_layer<detail::LayerWay::forward>(
            on,
            {x.device.data(), weights.device.data(), bias.device.data(), nullptr, result.device.data(), n,
             narrow(x.stride), narrow(stride), narrow(out), narrow(weights.stride)},
            false);
        const std::vector<float> got = result.read(on);
        check_guard(got, n * stride);
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j < stride; ++j) {
                double sum = j < out ? bias.at(0, j) : 0;
                for (std::size_t k = 0; j < out && k < in; ++k) {
                    sum += static_cast<double>(to_tf32(x.at(i, k))) * to_tf32(weights.at(j, k));
                }
                check_close(got[i * stride + j], sum > 0 ? sum : 0, in);
            }
        }
    }
}

// Catches a ReLU that swallows NaN.
TEST_CASE("cuda layer product: NaN goes forward") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    Matrix x(on, 40, 20, 1);
    x.host[33 * x.stride + 7] = std::numeric_limits<float>::quiet_NaN();
    x.upload(on);
    const Matrix weights(on, 12, 20, 2);
    const Matrix bias(on, 1, 12, 3);
    Poisoned result(on, 40 * 12);
    detail::multiply_layer<detail::LayerWay::forward>(
        on,
        {x.device.data(), weights.device.data(), bias.device.data(), nullptr, result.device.data(), 40, 20,
         12, 12, 20},
        false);
    const std::vector<float> got = result.read(on);
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::isnan(got[i]) == (i / 12 == 33));
}

// Catches a mask of another row or column, and what is not rounded for the products that read it.
TEST_CASE("cuda layer product: back is x W where the layer below was above 0, rounded") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    for (const auto& [n, in, out] : all_sizes) {
        CAPTURE(n);
        CAPTURE(in);
        CAPTURE(out);
        const Matrix gradient(on, n, out, 1, true);
        const Matrix weights(on, out, in, 2);
        const Matrix below(on, n, in, 3);
        const std::size_t stride = below.stride;
        Poisoned result(on, (n + 1) * stride);
        detail::multiply_layer<detail::LayerWay::back>(
            on,
            {gradient.device.data(), weights.device.data(), nullptr, below.device.data(),
             result.device.data(), n, narrow(gradient.stride), narrow(stride), narrow(out), narrow(stride)},
            false);
        const std::vector<float> got = result.read(on);
        check_guard(got, n * stride);
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j < stride; ++j) {
                double sum = 0;
                for (std::size_t k = 0; j < in && k < out; ++k) {
                    sum += static_cast<double>(gradient.at(i, k)) * to_tf32(weights.at(k, j));
                }
                const float z = got[i * stride + j];
                if (!(below.at(i, j) > 0)) sum = 0;
                // Rounding moves a number by 2^-11 of itself.
                CHECK(std::fabs(z - sum) <= std::fabs(sum) / 2000 + 1e-6 * static_cast<double>(out + 8));
                CHECK(to_tf32(z) == z);
            }
        }
    }
}

namespace {

/// Whether there is code to test; says so where there is not.
bool warpgroups() {
    const bool there = detail::has_warpgroups();
#if defined(FAE_TEST_WARPGROUPS)
    // This binary has the code; only another device may be without.
    int major = 0;
    cuda::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "query of the device");
    if (major == 9) REQUIRE(there);
#endif
    if (there) return true;
    MESSAGE("skipped: there is no code for compute capability 9.0a, or no device for it");
    return false;
}

/// The transpose of a matrix, rows padded as the matrix's are.
Matrix transposed(cuda::On on, const Matrix& from) {
    Matrix to(on, from.stride, from.rows, 0);
    for (std::size_t i = 0; i < to.rows; ++i) {
        for (std::size_t j = 0; j < to.columns; ++j) to.host[i * to.stride + j] = from.at(j, i);
    }
    to.upload(on);
    return to;
}

Buffer<unsigned, cuda::DeviceSpace> pass_memory(std::size_t n, std::size_t columns) {
    return Buffer<unsigned, cuda::DeviceSpace>(detail::pass_words(n, columns));
}

/// Both widths of tiles, full and not; one stage, and more than are in flight; more tiles than a block has
/// pairs of warp groups to give them to.
const std::vector<Sizes> warpgroup_sizes = {{1, 1, 1},       {129, 13, 70}, {128, 64, 64},   {130, 300, 65},
                                            {300, 270, 200}, {64, 16, 130}, {9000, 40, 512}, {40000, 70, 30}};

}  // namespace

// Catches a tile that is left out or computed from another's operands, a stage that is read before it is
// there or overwritten before it is read, a bias of another column.
TEST_CASE("cuda warp groups: forward is relu(x W^T + bias)") {
    if (!warpgroups()) return;
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    for (const auto& [n, in, out] : warpgroup_sizes) {
        CAPTURE(n);
        CAPTURE(in);
        CAPTURE(out);
        const Matrix x(on, n, in, 1, true);
        const Matrix weights(on, out, in, 2, true);
        const Matrix bias(on, 1, out, 3);
        const std::size_t stride = bias.stride;
        Poisoned result(on, (n + 1) * stride);
        detail::multiply_by_warpgroups<detail::LayerWay::forward>(
            on,
            {x.device.data(), weights.device.data(), bias.device.data(), nullptr, result.device.data(), n,
             narrow(x.stride), narrow(stride), narrow(out)},
            false);
        const std::vector<float> got = result.read(on);
        check_guard(got, n * stride);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j < stride; ++j) {
                double sum = j < out ? bias.at(0, j) : 0;
                for (std::size_t k = 0; j < out && k < in; ++k) {
                    sum += static_cast<double>(x.at(i, k)) * static_cast<double>(weights.at(j, k));
                }
                const double off = std::fabs(static_cast<double>(got[i * stride + j]) - (sum > 0 ? sum : 0));
                if (!(off <= 1e-6 * static_cast<double>(in + 8))) ++wrong;
            }
        }
        CHECK(wrong == 0);
    }
}

// Catches operands that are cut to TF32, which makes all products too small.
TEST_CASE("cuda warp groups: operands are rounded to nearest, and NaN goes forward") {
    if (!warpgroups()) return;
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    constexpr float step = 0x1p-10f;  // from 1 to the next number of TF32
    Matrix x(on, 200, 8, 1);
    Matrix weights(on, 4, 8, 2);
    Matrix bias(on, 1, 4, 3);
    std::fill(x.host.begin(), x.host.end(), 0.0f);
    std::fill(weights.host.begin(), weights.host.end(), 0.0f);
    std::fill(bias.host.begin(), bias.host.end(), 0.0f);
    x.host[0] = 1 + 0.75f * step;
    x.host[8] = 1 + 0.25f * step;
    x.host[16] = 1;
    x.host[150 * 8 + 5] = std::numeric_limits<float>::quiet_NaN();
    weights.host[0] = 1;
    weights.host[8] = 1 + 0.75f * step;
    for (Matrix* m : {&x, &weights, &bias}) m->upload(on);
    Poisoned result(on, 200 * 4);
    detail::multiply_by_warpgroups<detail::LayerWay::forward>(
        on,
        {x.device.data(), weights.device.data(), bias.device.data(), nullptr, result.device.data(), 200, 8, 4,
         4},
        false);
    const std::vector<float> got = result.read(on);
    CHECK(got[0] == 1 + step);
    CHECK(got[4] == 1);
    CHECK(got[8] == 1);
    CHECK(got[9] == 1 + step);
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::isnan(got[i]) == (i / 4 == 150));
}

// Catches bits of another tile, row or column, what is not rounded for the products that read it.
TEST_CASE("cuda warp groups: back is x W where forward passed its ReLU, rounded") {
    if (!warpgroups()) return;
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    for (const auto& [n, in, out] : warpgroup_sizes) {
        CAPTURE(n);
        CAPTURE(in);
        CAPTURE(out);
        // The layer below gives `out` columns, of which its forward product leaves the bits.
        const Matrix x(on, n, 4, 1, true);
        const Matrix weights_below(on, out, 4, 2, true);
        const Matrix bias(on, 1, out, 3);
        const std::size_t stride = bias.stride;
        Poisoned below(on, n * stride);
        auto passes = pass_memory(n, stride);
        detail::multiply_by_warpgroups<detail::LayerWay::forward>(
            on,
            {x.device.data(), weights_below.device.data(), bias.device.data(), passes.data(),
             below.device.data(), n, 4, narrow(stride), narrow(out)},
            false);
        const std::vector<float> under = below.read(on);

        const Matrix gradient(on, n, in, 4, true);
        const Matrix weights(on, in, out, 5, true);
        const Matrix across = transposed(on, weights);
        for (const bool masked : {true, false}) {
            CAPTURE(masked);
            Poisoned result(on, (n + 1) * stride);
            detail::multiply_by_warpgroups<detail::LayerWay::back>(
                on,
                {gradient.device.data(), across.device.data(), nullptr, masked ? passes.data() : nullptr,
                 result.device.data(), n, narrow(gradient.stride), narrow(stride), narrow(stride)},
                false);
            const std::vector<float> got = result.read(on);
            check_guard(got, n * stride);
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < n; ++i) {
                for (std::size_t j = 0; j < stride; ++j) {
                    double sum = 0;
                    for (std::size_t k = 0; j < out && k < in; ++k) {
                        sum += static_cast<double>(gradient.at(i, k)) * static_cast<double>(weights.at(k, j));
                    }
                    const float z = got[i * stride + j];
                    if (masked && !(under[i * stride + j] > 0)) sum = 0;
                    // Rounding moves a number by 2^-11 of itself.
                    const double off = std::fabs(static_cast<double>(z) - sum) - std::fabs(sum) / 2000;
                    if (!(off <= 1e-6 * static_cast<double>(in + 8))) ++wrong;
                    REQUIRE(to_tf32(z) == z);
                }
            }
            CHECK(wrong == 0);
        }
    }
}

namespace {

/// @param rounded  what layers read is rounded beforehand: of two numbers as near, kernels may take either
template <class Jobs>
void check_weight_gradients(bool rounded) {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    const std::vector<Sizes> layers = {{0, 13, 200}, {0, 140, 36}, {0, 3, 1}, {0, 64, 129}};
    for (const std::size_t n : {std::size_t{1}, std::size_t{100}, std::size_t{517}}) {
        CAPTURE(n);
        const detail::BatchCut cut(n, 3);
        std::vector<Matrix> x;
        std::vector<Matrix> gradient;
        std::vector<std::size_t> at;
        std::size_t size = 0;
        for (const Sizes& layer : layers) {
            x.emplace_back(on, n, layer.in, 11 + layer.in, rounded);
            gradient.emplace_back(on, n, layer.out, 12 + layer.out, true);
            at.push_back(size);
            size += layer.out * x.back().stride + gradient.back().stride;
        }
        Poisoned parts(on, cut.parts() * size);
        float* const to = parts.device.data();
        Jobs jobs;
        for (std::size_t l = 0; l < layers.size(); ++l) {
            jobs.add(gradient[l].view(), x[l].view(), to + at[l], to + at[l] + layers[l].out * x[l].stride);
        }
        detail::weight_gradients(on, jobs, cut, size, false);
        const std::vector<float> got = parts.read(on);
        for (std::size_t part = 0; part < cut.parts(); ++part) {
            const std::size_t begin = part * cut.chunk;
            const std::size_t end = std::min(n, begin + cut.chunk);
            for (std::size_t l = 0; l < layers.size(); ++l) {
                CAPTURE(l);
                const float* const mine = got.data() + part * size + at[l];
                for (std::size_t o = 0; o < layers[l].out; ++o) {
                    double bias = 0;
                    for (std::size_t s = begin; s < end; ++s) bias += gradient[l].at(s, o);
                    check_close(mine[layers[l].out * x[l].stride + o], bias, n);
                    for (std::size_t i = 0; i < x[l].stride; ++i) {
                        double sum = 0;
                        for (std::size_t s = begin; s < end; ++s) {
                            sum += static_cast<double>(gradient[l].at(s, o)) * to_tf32(x[l].at(s, i));
                        }
                        check_close(mine[o * x[l].stride + i], sum, n);
                    }
                }
            }
        }
    }
}

}  // namespace

// Catches inputs that are left out or taken twice where chunks meet, layers that are mixed up, a bias that is
// summed by no tile or by two.
TEST_CASE("cuda weight gradients: each part is the sum over its chunk of the batch, the bias with it") {
    check_weight_gradients<detail::WeightJobs>(false);
}
TEST_CASE("cuda weight gradients from boxes: each part is the sum over its chunk of the batch") {
    if (warpgroups()) check_weight_gradients<detail::BoxedWeightJobs>(true);
}
