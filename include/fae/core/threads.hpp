// SPDX-License-Identifier: Apache-2.0
//
// Threads: a small pool of std::thread that models TaskPool.
//
//   fae::Threads threads(8);                    // this thread and seven more
//   forward(par(threads), rows, bags, out);
//   fae::Threads crew(4, 50us, fae::Claim::fixed);    // for runs close to each other, over the same data
//
// run() may be called from several threads; calls take turns. A task may call run() itself: the inner tasks
// then run on that task's thread, so nesting cannot deadlock.
#pragma once

#include <atomic>
#include <chrono>
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

/// Which thread of a pool runs a task.
enum class Claim : unsigned char {
    free,   ///< the first one that has time
    fixed,  ///< always the same for the same number: what it works on stays in that thread's caches
};

/// A fixed set of worker threads.
/// @cost  a run() costs one lock and one wake-up per sleeping worker (a few microseconds, tens on a virtual
///        machine); one task or one thread costs nothing: it runs on the caller
class Threads {
  public:
    /// @param count  threads that work in run(), the caller's among them; 0: one per hardware thread
    /// @param eager  how long a worker looks for the next run(), on its processor, before it sleeps, and a
    ///               caller for the end of its own; a run() within that time wakes nobody
    /// @param claim  fixed: a run() waits for all threads, also for one that the system lets wait
    explicit Threads(std::size_t count = 0, std::chrono::microseconds eager = {}, Claim claim = Claim::free)
        : eager_(eager), claim_(claim) {
        if (count == 0) count = std::thread::hardware_concurrency();
        if (count == 0) count = 1;
        workers_.reserve(count - 1);
        try {
            for (std::size_t i = 1; i < count; ++i) workers_.emplace_back([this, i] { work(i); });
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
        job.absent = claim_ == Claim::fixed ? workers_.size() : 0;
        job.context = const_cast<void*>(static_cast<const void*>(std::addressof(task)));
        job.call = [](void* context, std::size_t i) {
            (*static_cast<std::remove_reference_t<F>*>(context))(i);
        };
        {
            const std::lock_guard lock(mutex_);
            job_ = &job;
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        drain(job, 0);
        {
            const auto is_done = [&] { return job.absent == 0 && job.helpers == 0; };
            std::unique_lock lock(mutex_);
            if (job.absent == 0) job_ = nullptr;
            if (!is_done() && eager_.count() != 0) {
                lock.unlock();
                look_for(is_done);
                lock.lock();
            }
            done_.wait(lock, is_done);
            job_ = nullptr;
        }
        if (job.error) std::rethrow_exception(job.error);
    }

  private:
    struct Job {
        std::size_t tasks = 0;
        void* context = nullptr;
        void (*call)(void*, std::size_t) = nullptr;
        std::atomic<std::size_t> next{0};
        std::atomic<std::size_t> absent{0};   // threads that must come and have not; changes under mutex_
        std::atomic<std::size_t> helpers{0};  // changes under mutex_
        std::exception_ptr error;             // under mutex_
    };

    // The pool whose task this thread is running, if any: the one thread-local of the library.
    static const Threads*& inside() {
        static thread_local const Threads* pool = nullptr;
        return pool;
    }

    // The tasks of the thread with this number, or as many as it can claim.
    void drain(Job& job, std::size_t thread) {
        const Threads* outer = inside();
        inside() = this;
        std::size_t turn = 0;
        const auto next = [&] {
            if (claim_ == Claim::free) return job.next.fetch_add(1, std::memory_order_relaxed);
            // A task that threw has set it to the end.
            const bool goes_on = job.next.load(std::memory_order_relaxed) < job.tasks;
            return goes_on ? thread + turn++ * concurrency() : job.tasks;
        };
        for (std::size_t i = next(); i < job.tasks; i = next()) {
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

    void work(std::size_t thread) {
        std::uint64_t seen = 0;
        std::unique_lock lock(mutex_);
        for (;;) {
            if (eager_.count() != 0) {
                lock.unlock();
                look_for([&] { return stopping_ || generation_.load(std::memory_order_acquire) != seen; });
                lock.lock();
                if (!stopping_ && job_ == nullptr && generation_ != seen) {
                    seen = generation_;  // that run was over before this thread came
                    continue;
                }
            }
            wake_.wait(lock, [&] { return stopping_ || (job_ != nullptr && generation_ != seen); });
            if (stopping_) return;
            seen = generation_;
            Job& job = *job_;
            ++job.helpers;
            if (job.absent != 0) --job.absent;
            lock.unlock();
            drain(job, thread);
            lock.lock();
            if (--job.helpers == 0) done_.notify_all();
        }
    }

    // Returns when is_so() holds, or after the time that a thread may spend on looking.
    template <class F>
    void look_for(F&& is_so) const {
        const auto end = std::chrono::steady_clock::now() + eager_;
        while (!is_so() && std::chrono::steady_clock::now() < end) {
            for (int i = 0; i < 16 && !is_so(); ++i) pause();
        }
    }
    // Tells the processor that this thread looks at memory over and over.
    static void pause() {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
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
    std::atomic<std::uint64_t> generation_{0};  // changes under mutex_, as the next
    std::atomic<bool> stopping_{false};
    std::chrono::microseconds eager_;
    Claim claim_;
    std::vector<std::thread> workers_;
};

static_assert(TaskPool<Threads>);

}  // namespace fae::inline FAE_ABI
