// SPDX-License-Identifier: Apache-2.0
//
// Forward, row index, backward and the optimizers on the shapes of axes.hpp, on one core.
//
//   embedding_bag --benchmark_filter=forward
//   embedding_bag --benchmark_filter='.*/threads:2'         # the same with a pool, in wall time
//
// Next to each figure stands its share of the peak: the seconds that bench/peak's gather (forward) or scatter
// (backward) takes on batches of the same stream, in turns with ours, over our seconds; medians of both.
// `backward_step` is given its index; `index+backward_step` builds it too.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <memory>

#include "axes.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/threads.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/embedding_bag.hpp"
#include "peak/peak.hpp"
#include "stats.hpp"

namespace {

using fae::Bags;
using fae::MatrixView;
using fae::Pooling;
using fae::RowIndex;
namespace embedding_bag = fae::embedding_bag;

constexpr std::size_t batches = 48;
constexpr float rate = 1e-6f;

/// A table of zeros and ones, a stream of batches over it, and room for their bags.
class Work {
  public:
    Work(const axes::Shape& of, std::size_t state)
        : shape(of),
          layout(fae::row_layout(of.dim, state)),
          stream(axes::index_stream(of, batches + 1, 1)),
          table(of.rows() * layout.stride),
          out(of.bags() * of.dim),
          gradients(of.bags() * of.dim),
          index_bytes(fae::row_index_scratch<std::uint32_t>(of.lookups())),
          scratch(index_bytes + embedding_bag::backward_scratch<float>(backward_shape())) {
        for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 3 == 0);
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = 0;
        for (std::size_t i = 0; i < gradients.size(); ++i) gradients[i] = static_cast<float>(i % 5) - 2.0f;
        for (std::size_t i = 0; i < scratch.size(); ++i) scratch[i] = std::byte{0};
        home = {table.data(), state == 0 ? nullptr : table.data() + of.dim, layout.stride, layout.stride, 0,
                of.rows()};
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

    [[nodiscard]] const std::uint32_t* values(std::size_t batch) const {
        return stream.data() + batch % batches * shape.lookups();
    }
    [[nodiscard]] Bags<> bags(std::size_t batch) const {
        return Bags<>::fixed({values(batch), shape.lookups()}, shape.bag_size, shape.tables.size());
    }
    [[nodiscard]] fae::RowSource<float> source() const { return {{}, {&home, 1}, {}}; }
    [[nodiscard]] MatrixView<float> pooled() { return {out.data(), shape.bags(), shape.dim}; }
    [[nodiscard]] MatrixView<const float> grad_out() const {
        return {gradients.data(), shape.bags(), shape.dim};
    }
    [[nodiscard]] fae::BackwardShape backward_shape() const {
        return {shape.lookups(), shape.lookups(), shape.bags(), shape.dim, Pooling::sum};
    }
    [[nodiscard]] fae::Workspace index_space() { return fae::Workspace({scratch.data(), index_bytes}); }
    [[nodiscard]] fae::Workspace step_space() {
        return fae::Workspace({scratch.data() + index_bytes, scratch.size() - index_bytes});
    }

    axes::Shape shape;
    fae::RowLayout layout;
    std::vector<std::uint32_t> stream;
    fae::Buffer<float, fae::PageSpace> table;
    fae::Buffer<float, fae::PageSpace> out;
    fae::Buffer<float, fae::PageSpace> gradients;
    std::size_t index_bytes;
    fae::Buffer<std::byte, fae::PageSpace> scratch;
    fae::RowsView<float> home;
};

template <std::size_t Dim>
void peak_gather(Work& work, std::size_t batch, std::size_t distance) {
    peak::gather<Dim>(work.table.data(), work.values(batch), work.shape.bags(), work.shape.bag_size,
                      work.out.data(), distance);
}
template <std::size_t Dim>
void peak_scatter(Work& work, std::size_t batch, std::size_t distance) {
    peak::scatter<Dim>(work.table.data(), work.values(batch), work.shape.bags(), work.shape.bag_size,
                       work.gradients.data(), rate, distance);
}

/// The distance at which the peak is highest on this machine and stream.
template <class Peak>
std::size_t best_distance(Work& work, Peak&& run) {
    std::size_t best = 0;
    double least = 0;
    for (const std::size_t distance : peak::distances) {
        std::vector<double> times;
        for (std::size_t b = 0; b < 15; ++b)
            times.push_back(stats::seconds_of([&] { run(work, b, distance); }));
        const double median = stats::median(times);
        if (best == 0 || median < least) {
            best = distance;
            least = median;
        }
    }
    return best;
}

/// Times `ours` on one batch after another, in turns with the peak where there is one.
template <class Ours, class Peak>
void in_turns(benchmark::State& state, Work& work, Ours&& ours, Peak&& peak_run, std::size_t distance) {
    std::vector<double> mine;
    std::vector<double> peaks;
    std::size_t batch = 0;
    for (auto _ : state) {
        mine.push_back(stats::seconds_of([&] { ours(batch); }));
        state.SetIterationTime(mine.back());
        if (distance != 0) {
            const std::size_t other = batch + batches / 2;
            peaks.push_back(stats::seconds_of([&] { peak_run(work, other, distance); }));
        }
        benchmark::ClobberMemory();
        ++batch;
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(work.shape.lookups()) * state.iterations());
    state.counters["Mlookups"] = static_cast<double>(work.shape.lookups()) / stats::median(mine) * 1e-6;
    if (distance == 0) return;
    state.counters["peak_share"] = stats::median(peaks) / stats::median(mine);
    state.counters["peak_Mlookups"] = static_cast<double>(work.shape.lookups()) / stats::median(peaks) * 1e-6;
}

/// @shape as embedding_bag::forward
template <std::size_t Dim>
void forward(benchmark::State& state, const axes::Shape& shape) {
    Work work(shape, 0);
    embedding_bag::forward(fae::seq, work.source(), work.bags(0), Pooling::sum, work.pooled());
    for (std::size_t bag = 0; bag < shape.bags(); ++bag) {
        float sum = 0;
        for (std::size_t i = 0; i < shape.bag_size; ++i) {
            sum += work.table[std::size_t{work.values(0)[bag * shape.bag_size + i]} * Dim + Dim - 1];
        }
        if (work.out[bag * Dim + Dim - 1] != sum) return state.SkipWithError("forward: wrong sum");
    }
    const auto run = [&](std::size_t batch) {
        embedding_bag::forward(fae::seq, work.source(), work.bags(batch), Pooling::sum, work.pooled());
    };
    in_turns(state, work, run, peak_gather<Dim>, best_distance(work, peak_gather<Dim>));
    state.SetBytesProcessed(
        static_cast<std::int64_t>(shape.lookups() * (Dim + 1) * 4 + shape.bags() * Dim * 4) *
        state.iterations());
}

/// The sum that every row's weight would have if gradients were added in any order, within rounding.
bool steps_add_up(Work& work, const RowIndex<>& index, const std::vector<float>& before) {
    const std::size_t dim = work.shape.dim;
    for (std::size_t r = 0; r < index.rows.size(); ++r) {
        double sum = 0;
        for (std::size_t i = index.begin[r]; i < index.begin[r + 1]; ++i) {
            sum += static_cast<double>(work.gradients[index.bags[i] * dim + dim - 1]);
        }
        const auto now =
            static_cast<double>(work.table[std::size_t{index.rows[r]} * work.layout.stride + dim - 1]);
        if (std::abs(static_cast<double>(before[r]) - static_cast<double>(rate) * sum - now) > 1e-6)
            return false;
    }
    return true;
}

template <std::size_t Dim, class O>
void backward(benchmark::State& state, const axes::Shape& shape, O optimizer, bool with_index) {
    Work work(shape, O::state_size(Dim));
    const auto build = [&](std::size_t batch) {
        fae::Workspace space = work.index_space();
        return build_row_index(fae::seq, work.bags(batch), work.shape.rows(), space);
    };
    const auto step = [&](std::size_t batch, const RowIndex<>& index) {
        fae::Workspace space = work.step_space();
        embedding_bag::backward_step(fae::seq, optimizer, rate, index, work.bags(batch), Pooling::sum,
                                     work.grad_out(), work.source(), space);
    };
    {
        const RowIndex<> index = build(0);
        std::vector<float> before;
        for (const std::uint32_t row : index.rows) {
            before.push_back(work.table[std::size_t{row} * work.layout.stride + Dim - 1]);
        }
        step(0, index);
        if (O::state_size(1) == 0 && !steps_add_up(work, index, before)) {
            return state.SkipWithError("backward_step: wrong weights");
        }
    }
    double seconds_of_index = 0;
    if (!with_index) {
        // Every batch has an index of its own, made before.
        std::vector<fae::Buffer<std::byte, fae::PageSpace>> spaces;
        std::vector<RowIndex<>> indices;
        for (std::size_t b = 0; b < batches; ++b) {
            spaces.emplace_back(work.index_bytes);
            fae::Workspace space(spaces.back().span());
            indices.push_back(build_row_index(fae::seq, work.bags(b), work.shape.rows(), space));
        }
        const std::size_t distance =
            work.layout.stride == Dim ? best_distance(work, peak_scatter<Dim>) : std::size_t{0};
        in_turns(
            state, work, [&](std::size_t batch) { step(batch, indices[batch % batches]); }, peak_scatter<Dim>,
            distance);
    } else {
        const std::size_t distance =
            work.layout.stride == Dim ? best_distance(work, peak_scatter<Dim>) : std::size_t{0};
        in_turns(
            state, work,
            [&](std::size_t batch) {
                RowIndex<> index;
                seconds_of_index += stats::seconds_of([&] { index = build(batch); });
                step(batch, index);
            },
            peak_scatter<Dim>, distance);
        state.counters["index_us"] = seconds_of_index / static_cast<double>(state.iterations()) * 1e6;
    }
}

void row_index(benchmark::State& state, const axes::Shape& shape) {
    Work work(shape, 0);
    std::size_t rows = 0;
    in_turns(
        state, work,
        [&](std::size_t batch) {
            fae::Workspace space = work.index_space();
            rows += build_row_index(fae::seq, work.bags(batch), work.shape.rows(), space).rows.size();
        },
        [](Work&, std::size_t, std::size_t) {}, 0);
    state.counters["unique_share"] = static_cast<double>(rows) / static_cast<double>(state.iterations()) /
                                     static_cast<double>(shape.lookups());
}

/// A step of everything with a pool, in wall time; in processor time where the pool is one thread, since
/// other programs on the machine do not count then.
template <std::size_t Dim>
void step_with_threads(benchmark::State& state, const axes::Shape& shape) {
    Work work(shape, 0);
    fae::Threads threads(static_cast<std::size_t>(state.range(0)));
    const auto exec = fae::par(threads);
    std::size_t batch = 0;
    double forward_seconds = 0;
    double backward_seconds = 0;
    const auto now = [alone = threads.concurrency() == 1] {
        if (alone) return stats::thread_seconds();
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    };
    for (auto _ : state) {
        const double start = now();
        embedding_bag::forward(exec, work.source(), work.bags(batch), Pooling::sum, work.pooled());
        const double middle = now();
        fae::Workspace index_space = work.index_space();
        const RowIndex<> index = build_row_index(exec, work.bags(batch), shape.rows(), index_space);
        fae::Workspace space = work.step_space();
        embedding_bag::backward_step(exec, fae::Sgd{}, rate, index, work.bags(batch), Pooling::sum,
                                     work.grad_out(), work.source(), space);
        forward_seconds += middle - start;
        backward_seconds += now() - middle;
        ++batch;
    }
    const double lookups = static_cast<double>(shape.lookups()) * static_cast<double>(state.iterations());
    state.SetItemsProcessed(static_cast<std::int64_t>(shape.lookups()) * state.iterations());
    state.counters["forward_Mlookups"] = lookups / forward_seconds * 1e-6;
    state.counters["backward_Mlookups"] = lookups / backward_seconds * 1e-6;
}

template <std::size_t Dim>
void add(const axes::Shape& shape) {
    const auto put = [&](const std::string& name, auto body) {
        benchmark::RegisterBenchmark((name + "/cpu/" + shape.label()).c_str(), [=](benchmark::State& state) {
            body(state, shape);
        })->UseManualTime();
    };
    put("embedding_bag/forward", forward<Dim>);
    put("embedding_bag/index", row_index);
    const auto put_backward = [&](const std::string& name, auto optimizer, bool with_index) {
        put("embedding_bag/" + name, [=](benchmark::State& state, const axes::Shape& of) {
            backward<Dim>(state, of, optimizer, with_index);
        });
    };
    put_backward("backward_step/sgd", fae::Sgd{}, false);
    put_backward("index+backward_step/sgd", fae::Sgd{}, true);
    put_backward("backward_step/adagrad", fae::Adagrad{}, false);
    put_backward("backward_step/rowwise_adagrad", fae::RowwiseAdagrad{}, false);
    benchmark::RegisterBenchmark(("embedding_bag/step/cpu/" + shape.label()).c_str(),
                                 [=](benchmark::State& state) { step_with_threads<Dim>(state, shape); })
        ->ArgName("threads")
        ->Arg(1)
        ->Arg(2)
        ->UseRealTime();
}

[[maybe_unused]] const bool registered = [] {
    for (const double exponent : {1.05, 1.15}) {
        add<16>(axes::kaggle(4096, exponent));
        add<16>(axes::kaggle(16384, exponent));
        add<64>(axes::wide(4096, exponent));
    }
    return true;
}();

}  // namespace

BENCHMARK_MAIN();
