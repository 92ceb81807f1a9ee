// SPDX-License-Identifier: Apache-2.0
//
// No device memory, no pinned memory, no stream and no event to be had, at every point: the k-th call of CUDA
// that gives any of them fails, CUB's scratch included. Objects stay what they were, nothing leaks, the error
// says what was wanted. The program is linked with --wrap for the calls below.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fae/core/digest.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/classify.cuh"
#include "fae/cuda/home_route.cuh"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/cuda/profile.cuh"
#include "fae/table/all_home.hpp"
#include "fae/table/static_placement.hpp"
#include "support/cuda/device_bags.hpp"
#include "support/failures.hpp"
#include "support/placement_oracle.hpp"

namespace gpu = fae::cuda;
using fae_test::live_allocations;

extern "C" {
cudaError_t __real_cudaMalloc(void** memory, std::size_t bytes);
cudaError_t __real_cudaFree(void* memory);
cudaError_t __real_cudaHostRegister(void* memory, std::size_t bytes, unsigned flags);
cudaError_t __real_cudaHostUnregister(void* memory);
cudaError_t __real_cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority);
cudaError_t __real_cudaStreamDestroy(cudaStream_t stream);
cudaError_t __real_cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t __real_cudaEventDestroy(cudaEvent_t event);
}

namespace {

/// The call that gives something: it fails, or what it gives is counted.
template <class Call>
cudaError_t give(Call&& call) {
    if (fae_test::must_fail()) return cudaErrorMemoryAllocation;
    const cudaError_t result = call();
    if (result == cudaSuccess) ++live_allocations;
    return result;
}
template <class Call>
cudaError_t take_back(Call&& call) {
    const cudaError_t result = call();
    if (result == cudaSuccess) --live_allocations;
    return result;
}

}  // namespace

extern "C" {
cudaError_t __wrap_cudaMalloc(void** memory, std::size_t bytes) {
    return give([&] { return __real_cudaMalloc(memory, bytes); });
}
cudaError_t __wrap_cudaFree(void* memory) {
    return take_back([&] { return __real_cudaFree(memory); });
}
cudaError_t __wrap_cudaHostRegister(void* memory, std::size_t bytes, unsigned flags) {
    return give([&] { return __real_cudaHostRegister(memory, bytes, flags); });
}
cudaError_t __wrap_cudaHostUnregister(void* memory) {
    return take_back([&] { return __real_cudaHostUnregister(memory); });
}
cudaError_t __wrap_cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
    return give([&] { return __real_cudaStreamCreateWithPriority(stream, flags, priority); });
}
cudaError_t __wrap_cudaStreamDestroy(cudaStream_t stream) {
    return take_back([&] { return __real_cudaStreamDestroy(stream); });
}
cudaError_t __wrap_cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    return give([&] { return __real_cudaEventCreateWithFlags(event, flags); });
}
cudaError_t __wrap_cudaEventDestroy(cudaEvent_t event) {
    return take_back([&] { return __real_cudaEventDestroy(event); });
}
}

namespace {

using Placed = fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;
using Table = fae::HotColdTable<float, Placed>;

/// Each failure must be a CudaError that names what was wanted.
template <class F, class Check>
long each_call_fails(F&& f, Check&& check) {
    std::string what;
    return fae_test::for_each_failure(
        [&] {
            try {
                f();
            } catch (const fae::CudaError& error) {
                what = error.what();
                throw;
            }
        },
        [&](bool failed) {
            CAPTURE(what);
            if (failed) {
                const bool named = what.find("bytes of device memory") != std::string::npos ||
                                   what.find("bytes of host memory") != std::string::npos ||
                                   what.find("creation of a stream") != std::string::npos ||
                                   what.find("creation of an event") != std::string::npos;
                REQUIRE(named);
                REQUIRE(what.find("cudaErrorMemoryAllocation") != std::string::npos);
            }
            what.clear();
            check(failed);
        });
}

template <class A, class B>
bool equal(const A& a, const B& b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (a[i] != b[i]) return false;
    }
    return true;
}

}  // namespace

// Would catch calls that are not wrapped: the cases below would then pass whatever the library does.
TEST_CASE("cuda faults: the k-th allocation, registration, stream or event fails") {
    fae_test::FailingCall failing(1);
    CHECK_THROWS_AS((fae::Buffer<float, gpu::DeviceSpace>(10)), fae::CudaError);
    fae_test::calls_left = 1;
    CHECK_THROWS_AS((fae::Buffer<float, gpu::PinnedSpace>(10)), fae::CudaError);
    fae_test::calls_left = 1;
    CHECK_THROWS_AS(gpu::Stream(), fae::CudaError);
    fae_test::calls_left = 1;
    CHECK_THROWS_AS(gpu::Event(), fae::CudaError);
    CHECK_NOTHROW(gpu::Event());
}

// Would catch a leak in a constructor that fails half way, scratch that leaks, a profiler or hot set that a
// failure spoils.
TEST_CASE("cuda faults: counting and classification leak nothing and can be tried again") {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const fae::RowSpace space = oracle::random_space(5, 500, 4, 1);
    const fae::HotSet hot =
        fae::HotSet::from_predicate(fae::seq, space.rows(), [](std::uint64_t r) { return r % 4 != 0; });
    for (const std::size_t bag_size : {0u, 1u}) {
        const oracle::Inputs inputs = oracle::random_inputs(space, 300, bag_size, 2);
        const fae_test::DeviceBags<> bags(on, inputs.bags());
        const auto expected = oracle::count_rows(space, inputs.bags());
        const auto expected_split = classify(fae::seq, hot, space, inputs.bags());
        const long before = live_allocations;
        CHECK(each_call_fails(
                  [&] {
                      gpu::AccessProfiler<> profiler(on, space);
                      profiler.add(on, bags.bags());
                      static_cast<void>(profiler.finish(on));
                  },
                  [&](bool) { REQUIRE(live_allocations == before); }) > 0);
        gpu::AccessProfiler<> profiler(on, space);
        profiler.add(on, bags.bags());
        CHECK(equal(profiler.finish(on).counts(), expected));
        const long with_profiler = live_allocations;
        CHECK(each_call_fails(
                  [&] {
                      const gpu::DeviceHotSet copy(on, hot);
                      static_cast<void>(classify(on, copy, bags.bags()));
                  },
                  [&](bool) { REQUIRE(live_allocations == with_profiler); }) > 5);
        const gpu::DeviceHotSet copy(on, hot);
        CHECK(each_call_fails([&] { static_cast<void>(classify(on, copy, bags.bags())); },
                              [&](bool failed) {
                                  if (!failed) return;
                                  const auto split =
                                      gpu::to_host(on, fae::seq, classify(on, copy, bags.bags()));
                                  REQUIRE(equal(split.hot_slots, expected_split.hot_slots));
                                  REQUIRE(equal(split.cold_rows, expected_split.cold_rows));
                              }) > 3);
    }
}

// Would catch a table or route that leaks what it had when the rest could not be had, and one that a failed
// neighbour spoils.
TEST_CASE("cuda faults: tables, synchronisation and the home route leak nothing") {
    fae::Threads threads(2);
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto exec = gpu::on(stream, fae::par(threads));
    const fae::RowSpace space({{40, 4, ""}, {700, 4, ""}});
    const fae::HotSet hot =
        fae::HotSet::from_predicate(fae::seq, space.rows(), [](std::uint64_t r) { return r % 4 != 0; });
    const oracle::Inputs inputs = oracle::random_inputs(space, 100, 1, 2);
    const fae_test::DeviceBags<> bags(on, inputs.bags());
    const auto digest_of = [&](Table& table) {
        fae::Digest digest;
        table.add_to(exec, digest);
        return digest.value();
    };
    Table first(space, fae::OptimizerKind::adagrad, Placed(hot), on);
    first.initialise(exec, 1);
    const std::uint64_t expected = digest_of(first);
    const auto all = [&] {
        Table table(space, fae::OptimizerKind::adagrad, Placed(hot), on);
        table.initialise(exec, 1);
        gpu::HomeRoute<Table> route(table, inputs.values.size());
        route.announce(on, {fae::Heat::cold, bags.bags(), nullptr});
        static_cast<void>(route.begin(exec));
        route.end(exec);
        route.finish(exec);
        table.synchronise(exec, fae::Heat::hot);
        table.trained_on_device();
        return digest_of(table);
    };
    CHECK(all() == expected);
    const long before = live_allocations;
    CHECK(each_call_fails([&] { static_cast<void>(all()); },
                          [&](bool) {
                              REQUIRE(live_allocations == before);
                              REQUIRE(digest_of(first) == expected);
                          }) > 20);
    CHECK(all() == expected);
}
