// SPDX-License-Identifier: Apache-2.0
//
// Execution as an argument: forward(seq, ...), forward(par(threads), ...).
//
// An executor runs numbered tasks. `seq` runs them in order on the calling thread; `par(pool)` hands them to
// a pool: fae::Threads (threads.hpp), or whatever the host has that models TaskPool. Work is always cut by
// its own size, never by the number of threads, so results are equal for every executor.
#pragma once

#include <concepts>
#include <cstddef>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

namespace detail {
struct AnyTask {
    void operator()(std::size_t) const {}
};
}  // namespace detail

/// Something that runs tasks side by side: run(n, f) calls f(i) once for every i in [0, n), on any threads
/// and in any order, and returns when all are done. If tasks throw, run throws one of the exceptions, after
/// all running tasks have ended.
template <class P>
concept TaskPool = requires(P& pool, std::size_t n, detail::AnyTask task) {
    { pool.concurrency() } -> std::convertible_to<std::size_t>;
    pool.run(n, task);
};

/// The sequential executor: tasks in order, on the calling thread.
struct Seq {
    [[nodiscard]] std::size_t concurrency() const { return 1; }
    template <class F>
    void run(std::size_t n, F&& task) const {
        for (std::size_t i = 0; i < n; ++i) task(i);
    }
};
/// The sequential execution argument: forward(seq, ...).
inline constexpr Seq seq{};

/// The parallel executor over a pool that it does not own.
template <TaskPool Pool>
class Par {
  public:
    explicit Par(Pool& pool) : pool_(&pool) {}
    [[nodiscard]] std::size_t concurrency() const { return pool_->concurrency(); }
    template <class F>
    void run(std::size_t n, F&& task) const {
        pool_->run(n, task);
    }

  private:
    Pool* pool_;
};

/// Runs on the given pool: fae::Threads, or the host's own.
template <TaskPool Pool>
[[nodiscard]] Par<Pool> par(Pool& pool) {
    return Par<Pool>(pool);
}

/// An execution argument of the host operations: seq, par(pool).
template <class E>
concept Executor = requires(const E& exec, std::size_t n, detail::AnyTask task) {
    { exec.concurrency() } -> std::convertible_to<std::size_t>;
    exec.run(n, task);
};

/// Cuts [0, n) into chunks of `grain` (the last one shorter) and calls f(begin, end) for each, as the
/// executor likes. The cut depends on n and grain alone.
/// @exec   seq, par: returns when every chunk is done
/// @throws what f throws
template <Executor E, class F>
void for_chunks(const E& exec, std::size_t n, std::size_t grain, F&& f) {
    if (n == 0) return;
    const std::size_t step = grain == 0 ? 1 : grain;
    exec.run(ceil_div(n, step), [&](std::size_t chunk) {
        const std::size_t begin = chunk * step;
        f(begin, n - begin < step ? n : begin + step);
    });
}

}  // namespace fae::inline FAE_ABI
