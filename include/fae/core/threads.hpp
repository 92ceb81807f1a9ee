// SPDX-License-Identifier: Apache-2.0
//
// Threads: a small pool of std::thread that models TaskPool.
//
//   fae::Threads threads(8);                    // this thread and seven more
//   forward(par(threads), rows, bags, out);
//
// run() may be called from several threads; calls take turns. A task may call run() itself: the inner tasks
// then run on that task's thread, so nesting cannot deadlock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"

namespace fae::inline FAE_ABI {

/// A fixed set of worker threads. Tasks are claimed one by one from a shared counter.
/// @cost  a run() costs one lock and one wake-up per sleeping worker (a few microseconds); one task or one
///        thread costs nothing: it runs on the caller
class Threads {
  public:
    /// @param count  threads that work in run(), the caller's among them; 0: one per hardware thread
    explicit Threads(std::size_t count = 0) {
        if (count == 0) count = std::thread::hardware_concurrency();
        if (count == 0) count = 1;
        workers_.reserve(count - 1);
        try {
            for (std::size_t i = 1; i < count; ++i) workers_.emplace_back([this] { work(); });
        } catch (...) {
            stop();
            throw;
        }
    }
    ~Threads() { stop(); }
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

    [[nodiscard]] std::size_t concurrency() const { return workers_.size() + 1; }

    /// Calls task(i) once for every i in [0, n); returns when all are done.
    /// @throws the first exception that a task threw; tasks not yet begun are then left out
    template <class F>
    void run(std::size_t n, F&& task) {
        if (n == 0) return;
        if (n == 1 || workers_.empty() || inside() != nullptr) {
            for (std::size_t i = 0; i < n; ++i) task(i);
            return;
        }
        const std::lock_guard turn(turn_);
        Job job;
        job.tasks = n;
        job.context = const_cast<void*>(static_cast<const void*>(std::addressof(task)));
        job.call = [](void* context, std::size_t i) {
            (*static_cast<std::remove_reference_t<F>*>(context))(i);
        };
        {
            const std::lock_guard lock(mutex_);
            job_ = &job;
            ++generation_;
        }
        wake_.notify_all();
        drain(job);
        {
            std::unique_lock lock(mutex_);
            job_ = nullptr;
            done_.wait(lock, [&] { return job.helpers == 0; });
        }
        if (job.error) std::rethrow_exception(job.error);
    }

  private:
    struct Job {
        std::size_t tasks = 0;
        void* context = nullptr;
        void (*call)(void*, std::size_t) = nullptr;
        std::atomic<std::size_t> next{0};
        std::size_t helpers = 0;   // under mutex_
        std::exception_ptr error;  // under mutex_
    };

    // The pool whose task this thread is running, if any: the one thread-local of the library.
    static const Threads*& inside() {
        static thread_local const Threads* pool = nullptr;
        return pool;
    }

    void drain(Job& job) {
        const Threads* outer = inside();
        inside() = this;
        for (std::size_t i = job.next.fetch_add(1, std::memory_order_relaxed); i < job.tasks;
             i = job.next.fetch_add(1, std::memory_order_relaxed)) {
            try {
                job.call(job.context, i);
            } catch (...) {
                const std::lock_guard lock(mutex_);
                if (!job.error) job.error = std::current_exception();
                job.next.store(job.tasks, std::memory_order_relaxed);
            }
        }
        inside() = outer;
    }

    void work() {
        std::uint64_t seen = 0;
        std::unique_lock lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return stopping_ || (job_ != nullptr && generation_ != seen); });
            if (stopping_) return;
            seen = generation_;
            Job& job = *job_;
            ++job.helpers;
            lock.unlock();
            drain(job);
            lock.lock();
            if (--job.helpers == 0) done_.notify_all();
        }
    }

    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (std::thread& worker : workers_) worker.join();
    }

    std::mutex turn_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable done_;
    Job* job_ = nullptr;
    std::uint64_t generation_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> workers_;
};

static_assert(TaskPool<Threads>);

}  // namespace fae::inline FAE_ABI
