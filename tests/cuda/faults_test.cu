// SPDX-License-Identifier: Apache-2.0
//
// No device memory, no pinned memory, no stream, event, graph or handle of cuBLASLt to be had, at every
// point: the k-th call that gives any of them fails, CUB's scratch and cuBLASLt's workspaces included.
// Objects stay what they were, nothing leaks, the error says what was wanted. The program is linked with
// --wrap for the calls below.
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/cuda/classify.cuh"
#include "fae/cuda/home_route.cuh"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/cuda/profile.cuh"
#include "fae/models/checkpoint.hpp"
#include "fae/models/dlrm.cuh"
#include "fae/models/placed_trainer.cuh"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/static_placement.hpp"
#include "support/compare.hpp"
#include "support/cuda/device_bags.hpp"
#include "support/cuda/trainer_run.cuh"
#include "support/failures.hpp"
#include "support/law_case.hpp"
#include "support/placement_oracle.hpp"

namespace gpu = fae::cuda;
using fae_test::digest_of;
using fae_test::equal;
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
cudaError_t __real_cudaGraphInstantiate(cudaGraphExec_t* graph, cudaGraph_t from, unsigned long long flags);
cudaError_t __real_cudaGraphExecDestroy(cudaGraphExec_t graph);
cublasStatus_t __real_cublasLtCreate(cublasLtHandle_t* handle);
cublasStatus_t __real_cublasLtDestroy(cublasLtHandle_t handle);
}

namespace {

/// What a call that must fail says.
cudaError_t failure = cudaErrorMemoryAllocation;

/// The call that gives something: it fails, or what it gives is counted. Success is 0 for all of them.
template <class Call, class Result>
Result give(Call&& call, Result failed) {
    if (fae_test::must_fail()) return failed;
    const Result result = call();
    if (result == Result{}) ++live_allocations;
    return result;
}
template <class Call>
cudaError_t give(Call&& call) {
    return give(call, failure);
}
template <class Call>
auto take_back(Call&& call) {
    const auto result = call();
    if (result == decltype(call()){}) --live_allocations;
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
cudaError_t __wrap_cudaGraphInstantiate(cudaGraphExec_t* graph, cudaGraph_t from, unsigned long long flags) {
    return give([&] { return __real_cudaGraphInstantiate(graph, from, flags); });
}
cudaError_t __wrap_cudaGraphExecDestroy(cudaGraphExec_t graph) {
    return take_back([&] { return __real_cudaGraphExecDestroy(graph); });
}
cublasStatus_t __wrap_cublasLtCreate(cublasLtHandle_t* handle) {
    return give([&] { return __real_cublasLtCreate(handle); }, CUBLAS_STATUS_ALLOC_FAILED);
}
cublasStatus_t __wrap_cublasLtDestroy(cublasLtHandle_t handle) {
    return take_back([&] { return __real_cublasLtDestroy(handle); });
}
}

namespace {

using Placed = fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;
using Table = fae::HotColdTable<float, Placed>;

/// Each failure must be an error that names what was wanted.
template <class F, class Check>
long each_call_fails(F&& f, Check&& check) {
    std::string what;
    return fae_test::for_each_failure(
        [&] {
            try {
                f();
            } catch (const fae::Error& error) {
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
                                   what.find("creation of an event") != std::string::npos ||
                                   what.find("instantiation of a graph") != std::string::npos ||
                                   what.find("start of cuBLASLt") != std::string::npos;
                REQUIRE(named);
                const bool said = what.find("cudaErrorMemoryAllocation") != std::string::npos ||
                                  what.find("CUBLAS_STATUS_ALLOC_FAILED") != std::string::npos;
                REQUIRE(said);
            }
            what.clear();
            check(failed);
        });
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
    Table first(space, fae::OptimizerKind::adagrad, Placed(hot), on);
    first.initialise(exec, 1);
    const std::string expected = digest_of(first, exec);
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
        return digest_of(table, exec);
    };
    CHECK(all() == expected);
    const long before = live_allocations;
    CHECK(each_call_fails([&] { static_cast<void>(all()); },
                          [&](bool) {
                              REQUIRE(live_allocations == before);
                              REQUIRE(digest_of(first, exec) == expected);
                          }) > 20);
    CHECK(all() == expected);
}

// Would catch a model or trainer that leaks what it had when the rest could not be had: layers, workspaces,
// streams, graphs, the route's buffers, threads that load batches.
TEST_CASE("cuda faults: training from nothing leaks nothing, whichever call fails") {
    fae_test::LawCase c;
    c.inputs = 200;
    c.budget_share = 0.5;
    c.rate = 25;
    c.optimizer = fae::OptimizerKind::adagrad;
    const fae::PackedDataset data = prepare(c);
    fae::Threads threads(2);
    const auto train = [&] {
        const gpu::Stream stream;
        const auto on = gpu::on(stream);
        const auto exec = gpu::on(stream, fae::par(threads));
        Table table(data.shape().row_space(c.dim), c.optimizer, Placed(data.hot_set()), on);
        table.initialise(exec, c.seed);
        gpu::Dlrm model(on, c.shape(), c.batch, c.seed, c.optimizer, gpu::Precision::tf32);
        gpu::PlacedTrainer<Placed> trainer(on, table, model, data);
        fae::BatchScheduler<fae_test::CasePolicy> scheduler({.hot_inputs = data.hot().inputs(),
                                                             .cold_inputs = data.cold().inputs(),
                                                             .batch_size = c.batch,
                                                             .epochs = 1,
                                                             .seed = c.seed},
                                                            fae_test::CasePolicy(c));
        for (fae::BatchRef batch; scheduler.next(batch);) {
            if (batch.begins_segment) {
                trainer.finish(exec);
                table.synchronise(exec, batch.heat);
            }
            trainer.step(exec, batch, 0.1f);
            if (batch.ends_round) scheduler.report(trainer.evaluate(exec, data.validation()).loss);
        }
        trainer.finish(exec);
        return fae::weights_digest(exec, table, model.read_parameters(on));
    };
    const std::string expected = train();
    const long before = live_allocations;
    CHECK(each_call_fails([&] { static_cast<void>(train()); },
                          [&](bool) { REQUIRE(live_allocations == before); }) > 100);
    CHECK(train() == expected);
}

// Would catch a step that fails half way, keeps half a graph, or loses its place between two sets of buffers.
TEST_CASE("cuda faults: a step that could not be queued can be tried again") {
    std::vector<fae_test::HostBatch> batches;
    for (const std::size_t n : {150u, 64u, 150u}) batches.emplace_back(n, 1, batches.size());
    std::optional<fae_test::TrainerRun> run;
    std::uint64_t done = 0;
    const auto steps = [&] {
        for (; done < batches.size(); ++done) run->step(done, batches[done]);
    };
    const auto fresh = [&] {
        run.reset();
        run.emplace(fae::OptimizerKind::adagrad);
        done = 0;
    };
    fresh();
    steps();
    run->trainer.finish(run->on);
    const std::vector<float> expected = run->everything();
    fresh();
    CHECK(each_call_fails(steps, [&](bool) {
              steps();
              run->trainer.finish(run->on);
              REQUIRE(fae_test::equal_bits(run->everything(), expected));
              fresh();
          }) > 3);
}

// Would catch a device that is there and cannot be used, said of in several lines or by the name of some
// call.
TEST_CASE("cuda faults: a busy device is one clear line") {
    std::string what;
    {
        fae_test::FailingCall failing(1);
        failure = cudaErrorDevicesUnavailable;
        try {
            static_cast<void>(gpu::detail::start_device(0));
        } catch (const fae::CudaError& error) {
            what = error.what();
        }
        failure = cudaErrorMemoryAllocation;
    }
    CHECK(what.find("start of CUDA device 0: cudaErrorDevicesUnavailable (") == 0);
    CHECK(what.find('\n') == std::string::npos);
    CHECK(gpu::detail::start_device(0).ordinal == 0);
}
