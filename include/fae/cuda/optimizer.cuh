// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a row's gradient on the device: it is stored, or the row is updated with it. Internal to
// the kernels; ops/optimizer.hpp says what an update is, and the bits here are those.
//
// A sink is told of a row before its gradient is summed, so that the row is on its way meanwhile:
//
//   auto ready = sink.template begin<Lanes>(row, column, active);     // loads
//   ...
//   sink.template finish<Lanes>(ready, sum, active);                  // stores; the whole warp calls it
//
// begin in two steps, for several rows to be looked for before the first is there; <Lanes, true>: of rows
// that few contributions touch:
//
//   const auto found = sink.find(row);
//   auto ready = sink.template begin_found<Lanes, true>(found, column, active);
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/lanes.cuh"
#include "fae/cuda/row_source.cuh"
#include "fae/cuda/scalar.cuh"
#include "fae/ops/optimizer.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// Columns of a row; `Once`: of one that is not touched again soon.
template <bool Once, class Vector, class T>
__device__ Vector get(const T* from) {
    if constexpr (Once) {
        return Vector::load_once(from);
    } else {
        return Vector::load(from);
    }
}
template <bool Once, class Vector, class T>
__device__ void put(const Vector& value, T* to) {
    if constexpr (Once) {
        value.store_once(to);
    } else {
        value.store(to);
    }
}

/// Writes gradients, row after row.
template <class T>
struct StoreSink {
    static constexpr bool needs_whole_rows = false;
    static constexpr bool has_state = false;
    T* gradients;
    std::size_t dim;

    [[nodiscard]] __device__ bool stopped() const { return false; }
    template <class Lanes>
    struct Ready {
        T* to;
    };
    using Found = std::uint32_t;
    [[nodiscard]] __device__ Found find(std::uint32_t row) const { return row; }
    template <class Lanes, bool Once = false>
    __device__ Ready<Lanes> begin_found(Found row, unsigned column, bool) const {
        return {gradients + std::size_t{row} * dim + column};
    }
    template <class Lanes>
    __device__ Ready<Lanes> begin(std::uint32_t row, unsigned column, bool active) const {
        return begin_found<Lanes>(row, column, active);
    }
    template <class Lanes, bool Once = false>
    __device__ void finish(const Ready<Lanes>& ready, const typename Lanes::Vector& sum, bool active) const {
        if (active) put<Once>(sum, ready.to);
    }
    /// A gradient that lies in memory, in the columns of this group of lanes.
    template <class Lanes>
    __device__ void take(std::uint32_t row, const T* gradient, bool active) const {
        for (unsigned c = Lanes::lane() * Lanes::pack; active && c < dim; c += Lanes::slice) {
            Lanes::Vector::load(gradient + c).store(gradients + std::size_t{row} * dim + c);
        }
    }
};

/// The 32 partial sums of squares: every lane holds those of its columns mod 32.
template <class Lanes>
struct Squares {
    using T = typename Lanes::Element;
    static constexpr unsigned period =
        static_cast<unsigned>(fae::detail::row_partials) / Lanes::pack;  ///< in lanes
    typename Lanes::Vector sum = Lanes::Vector::filled(T{0});

    /// Adds the squares of a slice; columns that are not there hold zeros.
    __device__ void add(const typename Lanes::Vector& slice) {
        if constexpr (Lanes::width <= period) {
#pragma unroll
            for (unsigned i = 0; i < Lanes::pack; ++i) sum.x[i] = fused(slice.x[i], slice.x[i], sum.x[i]);
        } else {
#pragma unroll
            for (unsigned from = 0; from < Lanes::width; from += period) {
#pragma unroll
                for (unsigned i = 0; i < Lanes::pack; ++i) {
                    const T x = __shfl_sync(all_lanes, slice.x[i],
                                            static_cast<int>(from + Lanes::lane() % period), Lanes::width);
                    sum.x[i] = fused(x, x, sum.x[i]);
                }
            }
        }
    }
    /// The sum of all, in every lane. Partners outside the group hold zeros.
    __device__ T total() {
#pragma unroll
        for (unsigned half = static_cast<unsigned>(fae::detail::row_partials) / 2; half != 0; half /= 2) {
            if (half >= Lanes::pack) {
                const unsigned distance = half / Lanes::pack;
                if (distance < Lanes::width) {
#pragma unroll
                    for (unsigned i = 0; i < Lanes::pack; ++i) {
                        sum.x[i] = added(sum.x[i], __shfl_xor_sync(all_lanes, sum.x[i],
                                                                   static_cast<int>(distance), Lanes::width));
                    }
                }
            } else {
#pragma unroll
                for (unsigned i = 0; i < Lanes::pack; ++i) {
                    if (i < half) sum.x[i] = added(sum.x[i], sum.x[i + half < Lanes::pack ? i + half : i]);
                }
            }
        }
        return __shfl_sync(all_lanes, sum.x[0], 0, Lanes::width);
    }
};

/// Updates rows.
template <class T, IndexType Index, Optimizer O>
struct UpdateSink {
    /// Row-wise Adagrad must know a row's whole gradient before it changes a weight.
    static constexpr bool needs_whole_rows = O::kind == OptimizerKind::rowwise_adagrad;
    static constexpr bool has_state = O::kind != OptimizerKind::sgd;

    DeviceRows<T> source;
    const Index* rows;  ///< null: row r is slot r
    O optimizer;
    Scalar<T> lr;
    const std::uint32_t* stop;  ///< rows stay as they are if it is not zero; may be null
    std::size_t dim;

    [[nodiscard]] __device__ bool stopped() const {
        return (stop != nullptr && *stop != 0) || source.is_spoilt();
    }

    template <class Lanes>
    struct Ready {
        T* weights;
        T* state;
        typename Lanes::Vector w;
        typename Lanes::Vector s;
        T rate;
    };

    using Found = Index;
    [[nodiscard]] __device__ Found find(std::uint32_t row) const {
        return rows == nullptr ? static_cast<Index>(fast_bit<Index> | row) : rows[row];
    }
    template <class Lanes>
    __device__ Ready<Lanes> begin(std::uint32_t row, unsigned column, bool active) const {
        return begin_found<Lanes>(active ? find(row) : Index{0}, column, active);
    }
    template <class Lanes, bool Once = false>
    __device__ Ready<Lanes> begin_found(Found located, unsigned column, bool active) const {
        Ready<Lanes> ready{};
        if (!active) return ready;
        const DeviceView<T> view = source.view_of(located);
        ready.weights = view.weights_of(position_of(located)) + column;
        ready.w = get<Once, typename Lanes::Vector>(ready.weights);
        if constexpr (O::kind == OptimizerKind::adagrad) {
            ready.state = view.state_of(position_of(located)) + column;
            ready.s = get<Once, typename Lanes::Vector>(ready.state);
        } else if constexpr (has_state) {
            ready.state = view.state_of(position_of(located));
            ready.s.x[0] = *ready.state;
        }
        ready.rate = lr.get();
        return ready;
    }

    template <class Lanes, bool Once = false>
    __device__ void finish(Ready<Lanes>& ready, const typename Lanes::Vector& g, bool active) const {
        if constexpr (needs_whole_rows) {
            Squares<Lanes> squares;
            squares.add(active ? g : Lanes::Vector::filled(T{0}));
            step_rowwise<Lanes, Once>(ready, g, squares.total(), active);
        } else {
            if (active) step_columns<Lanes, Once>(ready, g);
        }
    }

    /// A gradient that lies in memory, for the row in this group of lanes; the whole warp calls it.
    template <class Lanes>
    __device__ void take(std::uint32_t row, const T* gradient, bool active) const {
        const unsigned first = Lanes::lane() * Lanes::pack;
        const auto there = [&](unsigned column) { return active && column < dim; };
        if constexpr (needs_whole_rows) {
            Squares<Lanes> squares;
            for (unsigned slice = 0; slice < dim; slice += Lanes::slice) {
                squares.add(there(slice + first) ? Lanes::Vector::load(gradient + slice + first)
                                                 : Lanes::Vector::filled(T{0}));
            }
            const T total = squares.total();
            // Every lane reads the state before the first one writes it.
            T state{};
            for (unsigned slice = 0; slice < dim; slice += Lanes::slice) {
                auto ready = begin<Lanes>(row, slice + first, there(slice + first));
                if (slice == 0) {
                    state = __shfl_sync(all_lanes, ready.s.x[0], 0, Lanes::width);
                    __syncwarp();
                }
                ready.s.x[0] = state;
                if (there(slice + first)) {
                    step_rowwise<Lanes>(ready, Lanes::Vector::load(gradient + slice + first), total, true,
                                        slice == 0);
                }
            }
        } else {
            for (unsigned c = first; there(c); c += Lanes::slice) {
                auto ready = begin<Lanes>(row, c, true);
                step_columns<Lanes>(ready, Lanes::Vector::load(gradient + c));
            }
        }
    }

  private:
    template <class Lanes, bool Once = false>
    __device__ void step_columns(Ready<Lanes>& ready, const typename Lanes::Vector& g) const {
        if constexpr (O::kind == OptimizerKind::sgd) {
#pragma unroll
            for (unsigned i = 0; i < Lanes::pack; ++i)
                ready.w.x[i] = fused(-ready.rate, g.x[i], ready.w.x[i]);
        } else {
            const T eps = static_cast<T>(optimizer.eps);
#pragma unroll
            for (unsigned i = 0; i < Lanes::pack; ++i) {
                ready.s.x[i] = fused(g.x[i], g.x[i], ready.s.x[i]);
                const T step = divided(multiplied(ready.rate, g.x[i]), added(square_root(ready.s.x[i]), eps));
                ready.w.x[i] = added(ready.w.x[i], -step);
            }
            put<Once>(ready.s, ready.state);
        }
        put<Once>(ready.w, ready.weights);
    }
    template <class Lanes, bool Once = false>
    __device__ void step_rowwise(Ready<Lanes>& ready, const typename Lanes::Vector& g, T squares, bool active,
                                 bool writes_state = true) const {
        if (!active) return;
        const T sum = added(ready.s.x[0], divided(squares, static_cast<T>(dim)));
        const T divisor = added(square_root(sum), static_cast<T>(optimizer.eps));
#pragma unroll
        for (unsigned i = 0; i < Lanes::pack; ++i) {
            ready.w.x[i] = added(ready.w.x[i], -divided(multiplied(ready.rate, g.x[i]), divisor));
        }
        put<Once>(ready.w, ready.weights);
        if (writes_state && Lanes::lane() == 0) *ready.state = sum;
    }
};

}  // namespace fae::inline FAE_ABI::cuda::detail
