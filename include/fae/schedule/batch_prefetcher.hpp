// SPDX-License-Identifier: Apache-2.0
//
// BatchPrefetcher: loads the batches of a schedule ahead of their use, each on one of a few threads of its
// own, and hands them out in the order of the schedule. For loops that must not wait for the gathering of a
// batch: a device that trains in a fraction of a millisecond. Each of the batches in flight has memory of its
// own, of any kind that a loader fills (schedule/batch_memory.hpp). Where it has loaded(batch), the thread
// that has loaded a batch calls it.
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
#include "fae/schedule/batch_memory.hpp"

namespace fae::inline FAE_ABI {

/// A ring of batches that are being loaded. Calls come from one thread.
/// @cost  threads, which sleep while there is nothing to load; memory of ahead + 2 batches
template <BatchMemory Memory = HostBatchMemory>
class BatchPrefetcher {
  public:
    /// A batch, with the reference that it was pushed by.
    struct Batch {
        BatchRef ref;  ///< its `inputs` are the prefetcher's own
        LoadedBatch loaded;
        Memory* memory = nullptr;  ///< which `loaded` views
    };

    /// @param data   outlives the prefetcher
    /// @param ahead  the most batches that are loaded and not taken, at least 1
    explicit BatchPrefetcher(const PackedDataset& data, std::size_t ahead = 4)
        : BatchPrefetcher(data, ahead, [] { return Memory(); }) {}
    /// @param make_memory  make_memory() gives the memory of one batch
    /// @param threads      0: one for each batch ahead
    template <class Make>
    BatchPrefetcher(const PackedDataset& data, std::size_t ahead, Make&& make_memory, std::size_t threads = 0)
        : ahead_(ahead) {
        require(ahead >= 1, [] { return std::string("0 batches ahead, expected at least 1"); });
        places_.reserve(ahead + 2);
        for (std::size_t i = 0; i < ahead + 2; ++i) {
            places_.emplace_back(data, make_memory());
            places_.back().batch.memory = &places_.back().memory;
        }
        try {
            const std::size_t workers = threads == 0 ? ahead : threads;
            for (std::size_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
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

    /// The batch that was pushed as number `number`, counted from 0, once it is loaded: for another thread,
    /// which looks at batches before they are taken. Null once close() has been called.
    /// @pre    it has not been taken
    /// @throws what loading it threw
    [[nodiscard]] Batch* wait_for(std::size_t number) {
        Place& place = places_[number % places_.size()];
        {
            std::unique_lock lock(mutex_);
            loaded_.wait(lock, [&] { return closed_ || (pushed_ > number && place.is_loaded); });
            if (closed_) return nullptr;
        }
        if (place.error) std::rethrow_exception(place.error);
        return &place.batch;
    }
    /// Ends wait_for(), now and from now on.
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        loaded_.notify_all();
    }

  private:
    struct Place {
        Place(const PackedDataset& data, Memory own) : loader(data), memory(std::move(own)) {}
        BatchLoader loader;
        Memory memory;
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
                place.batch.loaded = place.loader.load(seq, place.batch.ref, place.memory);
                if constexpr (requires { place.memory.loaded(place.batch.loaded); }) {
                    place.memory.loaded(place.batch.loaded);
                }
            } catch (...) {
                error = std::current_exception();
            }
            lock.lock();
            place.error = error;
            place.is_loaded = true;
            loaded_.notify_all();
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
    bool closed_ = false;
    bool stopping_ = false;
};

}  // namespace fae::inline FAE_ABI
