// SPDX-License-Identifier: Apache-2.0
//
// Streams and events, and a stream as the execution argument of operations.
//
//   cuda::Stream stream;                                        // or the host's own cudaStream_t
//   embedding_bag::forward(cuda::on(stream), rows, bags, Pooling::sum, out);   // queued, returns at once
//   stream.synchronise();
#pragma once

#include <cuda_runtime_api.h>

#include <utility>

#include "fae/core/config.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/index_status.hpp"

namespace fae::inline FAE_ABI::cuda {

/// The execution argument of device operations: work is queued on this stream, in order, and the call
/// returns. It does not own the stream.
struct On {
    cudaStream_t stream = nullptr;
    IndexReport* report = nullptr;  ///< of look-ups that name no row (FAE_CHECKED); null: none is looked at

    /// Returns when all that is queued is done.
    /// @throws CudaError, also for what failed in an earlier kernel; IndexError (FAE_CHECKED) for a look-up
    ///         that an earlier kernel has reported
    void synchronise() const {
        if (checked && report != nullptr) return throw_reported(stream, report);
        check(::cudaStreamSynchronize(stream), "synchronisation of a stream");
    }
    /// Queues on another stream, and reports to the same place.
    [[nodiscard]] On beside(cudaStream_t other) const { return {other, report}; }
};

/// Queues on the host's stream.
[[nodiscard]] inline On on(cudaStream_t stream) { return {stream, nullptr}; }

/// Whose kernels go first where several streams have some ready.
enum class Priority { normal, high };

/// A stream of its own, which does not wait for the default stream. Move-only. Destroying it lets queued work
/// end.
class Stream {
  public:
    explicit Stream(Priority priority = Priority::normal) {
        int lowest = 0;
        int highest = 0;
        check(::cudaDeviceGetStreamPriorityRange(&lowest, &highest), "query of stream priorities");
        check(::cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking,
                                             priority == Priority::high ? highest : lowest),
              "creation of a stream");
    }
    Stream(Stream&& other) noexcept
        : status_(std::move(other.status_)), stream_(std::exchange(other.stream_, nullptr)) {}
    Stream& operator=(Stream&& other) noexcept {
        Stream moved(std::move(other));
        std::swap(stream_, moved.stream_);
        std::swap(status_, moved.status_);
        return *this;
    }
    ~Stream() {
        if (stream_ != nullptr) static_cast<void>(::cudaStreamDestroy(stream_));
    }

    [[nodiscard]] cudaStream_t get() const { return stream_; }
    /// Where work on this stream reports look-ups that name no row (FAE_CHECKED).
    [[nodiscard]] IndexReport* report() const { return status_.report(); }
    void synchronise() const { On{stream_, report()}.synchronise(); }

  private:
    IndexStatus status_;
    cudaStream_t stream_ = nullptr;
};

/// Queues on a stream.
[[nodiscard]] inline On on(const Stream& stream) { return {stream.get(), stream.report()}; }

/// A point in a stream's work that other streams and the host can wait for. Move-only.
class Event {
  public:
    enum class Timing : bool { off, on };

    explicit Event(Timing timing = Timing::off) {
        check(::cudaEventCreateWithFlags(&event_,
                                         timing == Timing::on ? cudaEventDefault : cudaEventDisableTiming),
              "creation of an event");
    }
    Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
    Event& operator=(Event&& other) noexcept {
        Event moved(std::move(other));
        std::swap(event_, moved.event_);
        return *this;
    }
    ~Event() {
        if (event_ != nullptr) static_cast<void>(::cudaEventDestroy(event_));
    }

    [[nodiscard]] cudaEvent_t get() const { return event_; }

    /// Marks the end of what is queued on the stream so far.
    void record(On on) { check(::cudaEventRecord(event_, on.stream), "recording of an event"); }
    /// Lets what is queued on the stream from here on wait for the recorded point. The host does not wait.
    void wait(On on) const { check(::cudaStreamWaitEvent(on.stream, event_, 0), "wait for an event"); }
    /// Returns when the recorded point is reached.
    void synchronise() const { check(::cudaEventSynchronize(event_), "synchronisation with an event"); }
    /// Milliseconds between two reached points; both events with Timing::on.
    [[nodiscard]] float milliseconds_since(const Event& earlier) const {
        float milliseconds = 0;
        check(::cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "time between events");
        return milliseconds;
    }

  private:
    cudaEvent_t event_ = nullptr;
};

}  // namespace fae::inline FAE_ABI::cuda
