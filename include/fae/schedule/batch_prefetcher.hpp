// SPDX-License-Identifier: Apache-2.0
//
// BatchPrefetcher: loads the batches of a schedule ahead of their use, each on one of a few threads of its
// own, and hands them out in the order of the schedule. For loops that must not wait for the gathering of a
// batch: a device that trains in a fraction of a millisecond.
//
//   BatchPrefetcher prefetcher(packed, /*ahead=*/4);
//   for (BatchRef batch; ...;) {
//       if (prefetcher.waiting() == prefetcher.ahead()) use(prefetcher.take());
//       if (!scheduler.next(batch)) break;
//       prefetcher.push(batch);
//   }
//   while (prefetcher.waiting() != 0) use(prefetcher.take());
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fae/core/batch_source.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/io/packed.hpp"
#include "fae/schedule/batch_loader.hpp"

namespace fae::inline FAE_ABI {

/// A ring of batches that are being loaded. Calls come from one thread.
/// @cost  `ahead` threads, which sleep while there is nothing to load; memory of ahead + 2 batches
class BatchPrefetcher {
  public:
    /// A batch, with the reference that it was pushed by.
    struct Batch {
        BatchRef ref;  ///< its `inputs` are the prefetcher's own
        LoadedBatch loaded;
    };

    /// @param data   outlives the prefetcher
    /// @param ahead  the most batches that are loaded side by side, at least 1
    explicit BatchPrefetcher(const PackedDataset& data, std::size_t ahead = 4) : ahead_(ahead) {
        require(ahead >= 1, [] { return std::string("0 batches ahead, expected at least 1"); });
        places_.reserve(ahead + 2);
        for (std::size_t i = 0; i < ahead + 2; ++i) places_.emplace_back(data);
        try {
            for (std::size_t i = 0; i < ahead; ++i) threads_.emplace_back([this] { work(); });
        } catch (...) {
            stop();
            throw;
        }
    }
    BatchPrefetcher(const BatchPrefetcher&) = delete;
    BatchPrefetcher& operator=(const BatchPrefetcher&) = delete;
    ~BatchPrefetcher() { stop(); }

    [[nodiscard]] std::size_t ahead() const { return ahead_; }
    /// Batches pushed and not taken.
    [[nodiscard]] std::size_t waiting() const { return pushed_ - taken_; }

    /// Starts to load a batch. What the reference views may change when it returns.
    /// @throws ContractError if `ahead` batches are waiting already
    void push(const BatchRef& batch) {
        require(waiting() < ahead_,
                [&] { return concat(ahead_, " batches are waiting already, expected take() first"); });
        Place& place = places_[pushed_ % places_.size()];
        place.inputs.assign(batch.inputs.begin(), batch.inputs.end());
        place.batch.ref = batch;
        place.batch.ref.inputs = place.inputs;
        place.is_loaded = false;
        place.error = nullptr;
        {
            const std::lock_guard lock(mutex_);
            ++pushed_;
        }
        wake_.notify_one();
    }

    /// The batch pushed first, once it is loaded; valid until the second take() after this one.
    /// @throws ContractError if none is waiting; what loading it threw
    [[nodiscard]] const Batch& take() {
        require(waiting() != 0, [] { return std::string("no batch is waiting, expected push() first"); });
        Place& place = places_[taken_ % places_.size()];
        {
            std::unique_lock lock(mutex_);
            loaded_.wait(lock, [&] { return place.is_loaded; });
            ++taken_;
        }
        if (place.error) std::rethrow_exception(place.error);
        return place.batch;
    }

  private:
    struct Place {
        explicit Place(const PackedDataset& data) : loader(data) {}
        BatchLoader loader;
        std::vector<std::uint64_t> inputs;
        Batch batch;
        bool is_loaded = false;
        std::exception_ptr error;
    };

    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return stopping_ || begun_ != pushed_; });
            if (stopping_) return;
            Place& place = places_[begun_++ % places_.size()];
            lock.unlock();
            std::exception_ptr error;
            try {
                place.batch.loaded = place.loader.load(seq, place.batch.ref);
            } catch (...) {
                error = std::current_exception();
            }
            lock.lock();
            place.error = error;
            place.is_loaded = true;
            loaded_.notify_one();
        }
    }

    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    std::size_t ahead_;
    std::vector<Place> places_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_;    // there is something to load
    std::condition_variable loaded_;  // a batch is loaded
    std::size_t pushed_ = 0;
    std::size_t begun_ = 0;
    std::size_t taken_ = 0;
    bool stopping_ = false;
};

}  // namespace fae::inline FAE_ABI
