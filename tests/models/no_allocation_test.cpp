// SPDX-License-Identifier: Apache-2.0
//
// A training step takes no memory from the heap: neither ours nor Eigen's. Every call of the heap in this
// program is counted: by replacing malloc, or by the sanitizer's hook where one has replaced it already.
#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/models/dlrm.hpp"

namespace {
std::atomic<std::size_t> allocations{0};
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAE_TEST_SANITIZER_HOOK
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define FAE_TEST_SANITIZER_HOOK
#endif
#endif

#if defined(FAE_TEST_SANITIZER_HOOK)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, std::size_t),
                                                         void (*on_free)(const volatile void*));
namespace {
const int hooked = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) { ++allocations; }, [](const volatile void*) {});
}
#elif defined(__GLIBC__)
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
void* malloc(std::size_t bytes) {
    ++allocations;
    return __libc_malloc(bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
    ++allocations;
    return __libc_memalign(alignment, bytes);
}
}
#endif

using namespace fae;

#if defined(FAE_TEST_SANITIZER_HOOK) || defined(__GLIBC__)

// Catches a count that cannot rise: the next case would then pass whatever the model does.
TEST_CASE("no_allocation: the counter sees malloc, new and aligned new") {
    for (const int kind : {0, 1, 2}) {
        const std::size_t before = allocations;
        if (kind == 0) {
            void* volatile memory = std::malloc(100);
            std::free(memory);
        } else if (kind == 1) {
            auto* volatile memory = new std::vector<int>(100);
            delete memory;
        } else {
            const Buffer<float> memory(100);
        }
        CHECK(allocations > before);
    }
}

// Catches a temporary matrix, and packed blocks of a product that Eigen takes from the heap.
TEST_CASE("no_allocation: forward, loss, backward and step take nothing from the heap") {
    for (const DlrmShape& shape : {DlrmShape::rmc3(13, 26), DlrmShape{700, 3, 5, {1030, 5}, {600, 1}}}) {
        for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adagrad}) {
            const std::size_t n = 66;
            Dlrm<float> model(shape, n, 1, kind);
            const std::vector<float> dense(n * shape.dense_features, 0.5f);
            const std::vector<float> pooled(n * shape.sparse_features * shape.dim, 0.25f);
            const std::vector<std::uint8_t> labels(n, 1);
            Threads threads(2);
            const auto step = [&](const auto& exec, std::size_t count) {
                model.forward(
                    exec, MatrixView<const float>(dense.data(), count, shape.dense_features),
                    MatrixView<const float>(pooled.data(), count, shape.sparse_features * shape.dim));
                const Span<const std::uint8_t> first(labels.data(), count);
                const double loss = model.loss(exec, first);
                model.backward(exec, first);
                model.step(exec, 0.01f);
                return loss;
            };
            step(par(threads), 1);  // what threads take once, at their first task
            const std::size_t before = allocations;
            double sum = 0;
            sum += step(seq, 1);
            sum += step(par(threads), n);
            const std::size_t taken = allocations - before;
            CHECK(taken == 0);
            CHECK(sum > 0);
        }
    }
}

#endif
