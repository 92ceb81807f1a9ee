// SPDX-License-Identifier: Apache-2.0
//
// LookaheadRoute: carries out the plans of a look-ahead placement (table/lookahead_plan.hpp) on the device.
// While steps run, threads of its own gather the rows of batches to come from their homes and scatter rows
// that leave; copies over the link in both directions at once, and short kernels that put records into slots
// and take them out, are on streams of their own. Where kernels that address the homes themselves are quicker
// (cuda/record_ways.cuh), the threads only see to the order. Nothing waits but for what a plan says.
//
//   cuda::LookaheadRoute<Table> route(on, table);
//   any thread, for any batch:        route.planner().serve_hot(seq, lookups, located, cold);
//   one thread, ahead of training:    route.plan(par(threads), cold, located);        // located by begin()
//   the thread that trains:           bool direct = route.begin(cuda::on(stream));   // rows are in their
//   slots
//                                     ... queue the step on the stream ...
//                                     route.end(cuda::on(stream));
//   route.finish();                                                                  // all rows are where
//   plans put them
//
// Threads of the host learn from words in pinned memory how far the device is (cuda/progress.cuh).
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/lookahead_figures.hpp"
#include "fae/cuda/progress.cuh"
#include "fae/cuda/record_ring.hpp"
#include "fae/cuda/record_ways.cuh"
#include "fae/cuda/step_time.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/ops/row_source.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/lookahead_planner.hpp"
#include "fae/table/placement.hpp"
#include "fae/trace/trace.hpp"

namespace fae::inline FAE_ABI::cuda {

/// Where a test may hold up threads and streams of a LookaheadRoute. This one does not.
struct NoDelays {
    enum class At : std::uint8_t { plan, list, gather, scatter, take_out, put_in, step };
    static void host(At, std::uint64_t) {}
    static void device(On, At, std::uint64_t) {}
};

/// Carries out plans in order. plan() is for one thread, begin(), end() and finish() for another.
template <class Table, class Delays = NoDelays>
class LookaheadRoute {
  public:
    using T = typename Table::value_type;
    using At = NoDelays::At;
    static constexpr std::size_t gatherers = 3;
    static constexpr std::size_t scatterers = 3;

    /// @param table  of a placement with a planner, over homes in PinnedSpace; outlives the route
    /// @param trace  where events of threads and streams go, or null; outlives the route
    /// @param way    how records travel
    /// @cost  pinned_bytes() of pinned memory, device_bytes() of the device, seven threads, three streams,
    ///        and what RecordWays takes to measure
    /// @throws ContractError if the device cannot address the homes, as one array; CudaError
    LookaheadRoute(On on, Table& table, Trace* trace = nullptr, RecordWay way = RecordWay::measured)
        : table_(&table),
          trace_(trace),
          planner_(&table.placement().planner()),
          ways_(way, table.layout(), addressable_homes(on, table), gatherers, scatterers),
          in_(table.layout().stride, ring_rows(), flights() + 1),
          out_(table.layout().stride, ring_rows(), flights() + 1),
          in_stream_(Priority::high),
          out_stream_(Priority::high) {
        require(planner_->planned() == 0, [&] {
            return concat("a planner that has planned ", planner_->planned(),
                          " batches for another route, expected a new one");
        });
        check(::cudaGetDevice(&device_), "look for a CUDA device");
        for (std::size_t f = 0; f < flights(); ++f) {
            flights_.push_back(std::make_unique<Flight>(timing()));
            flights_.back()->plan.reserve(planner_->options());
        }
        if (trace_ != nullptr) {
            for (const char* const lane :
                 {"planner", "list", "gather", "write-back", "step", "put in", "take out"}) {
                lanes_.push_back(trace_->lane(lane));
            }
            origin_.record(cuda::on(step_stream_));
            origin_.synchronise();
            origin_time_ = trace_->now();
        }
        try {
            start([this] { list_rows(); });
            for (std::size_t t = 0; t < gatherers; ++t) start([this] { gather_rows(); });
            for (std::size_t t = 0; t < scatterers; ++t) start([this] { scatter_rows(); });
        } catch (...) {
            close();
            throw;
        }
    }
    LookaheadRoute(const LookaheadRoute&) = delete;
    LookaheadRoute& operator=(const LookaheadRoute&) = delete;
    /// Rows that are on their way are lost: finish() first.
    ~LookaheadRoute() { close(); }

    /// Pinned memory that a route for this table takes.
    [[nodiscard]] static std::uint64_t pinned_bytes(const LookaheadOptions& options, std::size_t stride) {
        return 2 * RecordRing<T>::bytes_for(stride, rows_of(options));
    }
    /// The same of the device's memory.
    [[nodiscard]] static std::uint64_t device_bytes(const LookaheadOptions& options, std::size_t stride) {
        return 2 * RecordRing<T>::device_bytes_for(stride, rows_of(options));
    }

    /// Plans the next batch and starts to carry the plan out. Waits while as many plans as the planner allows
    /// are under way.
    /// @param cold, located  the batch's, as the planner's serve_hot() left them; they stay as they are
    ///                       until its begin(), by when every look-up is located
    /// @return false if the route has been closed
    template <Executor E>
    bool plan(const E& exec, ColdLookups& cold, Span<std::uint32_t> located) {
        const std::uint64_t number = planner_->planned();
        Delays::host(At::plan, number);
        const std::uint64_t lookahead = planner_->options().lookahead;
        const std::uint64_t done = number < lookahead ? 0 : number - lookahead;
        if (!wait_for_steps(done, stalls_.steps)) return false;
        if (!wait([&] { return homes_ >= done; }, stalls_.homes)) return false;
        Flight& flight = at(number);
        if (number >= flights_.size()) add_to_trace(flight);
        flight.is_traced = false;
        {
            const auto scope = scope_of(Lane::planner, "plan", number);
            planner_->push(exec, cold, flight.plan);
        }
        flight.cold = &cold;
        flight.located = located;
        {
            const std::lock_guard lock(mutex_);
            served_ = number + 1;
        }
        to_list_.notify_one();
        return true;
    }

    /// Says that the thread that plans has failed: begin() and finish() throw it.
    void fail(std::exception_ptr error) {
        {
            const std::lock_guard lock(mutex_);
            if (!error_) error_ = std::move(error);
        }
        wake_all();
    }

    /// Lets what is queued on the stream from here on find the rows of the next batch in their slots.
    /// @return true if some of its look-ups are direct: kernels then address homes
    /// @exec   cuda::On: queued, once the batch is planned and its rows are on their way
    /// @throws what failed in another thread
    [[nodiscard]] bool begin(On on) {
        Flight& flight = at(stepped_);
        static_cast<void>(wait([&] { return planned_ > stepped_ && flight.is_brought; }, stalls_.rows));
        const bool direct = flight.plan.counts.direct != 0;
        if (direct) {
            static_cast<void>(
                wait([&] { return homes_ >= flight.plan.waits.homes_before_direct; }, stalls_.rows));
        }
        rethrow();
        if (!flight.plan.bring.empty()) flight.in.done.wait(on);
        if (trace_ != nullptr) flight.step.begun.record(on);
        step_time_.begin(on, stepped_, steps_);
        return direct;
    }

    /// Says that the step of the batch that begin() was called for is queued on the stream.
    /// @exec cuda::On: queued
    void end(On on) {
        Flight& flight = at(stepped_);
        Delays::device(on, At::step, stepped_);
        step_time_.end(on);
        flight.step.done.record(on);
        flight.step.done.wait(cuda::on(step_stream_));
        steps_.tell(cuda::on(step_stream_), stepped_ + 1);
        ++stepped_;
    }

    /// Returns when every plan is carried out.
    /// @pre    every batch that is planned has had its step queued, and no other is being planned
    /// @throws what failed in another thread; CudaError
    void finish() {
        double waited = 0;
        cuda::on(step_stream_).synchronise();
        static_cast<void>(wait([&] { return homes_ >= planned_; }, waited));
        rethrow();
        for (std::uint64_t n = stepped_ - std::min<std::uint64_t>(stepped_, flights_.size()); n < stepped_;
             ++n) {
            add_to_trace(at(n));
        }
    }

    /// Ends plan(), and the threads. Kernels that are queued still run.
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        wake_all();
        for (std::thread& thread : threads_) {
            if (thread.joinable()) thread.join();
        }
        for (const Stream* stream : {&in_stream_, &out_stream_, &step_stream_}) {
            static_cast<void>(::cudaStreamSynchronize(stream->get()));
        }
    }

    [[nodiscard]] const LookaheadPlanner& planner() const { return *planner_; }
    /// @pre no batch is under way
    [[nodiscard]] const LookaheadStalls& stalls() const { return stalls_; }
    /// @pre no batch is under way
    [[nodiscard]] const ZeroCopyCounts& zero_copy() const { return zero_copy_; }
    [[nodiscard]] const RecordWays<T>& ways() const { return ways_; }

  private:
    // Work of one stream, timed where there is a trace.
    struct Work {
        explicit Work(Event::Timing timing) : begun(timing), done(timing) {}
        typename RecordRing<T>::Records records;  // of the zero-copy way: row ids in their place
        bool zero_copy = false;
        Event begun;
        Event done;
    };
    struct Flight {
        explicit Flight(Event::Timing timing) : in(timing), out(timing), step(timing) {}
        LookaheadPlan plan;
        const ColdLookups* cold = nullptr;  // of the batch
        Span<std::uint32_t> located;
        Work in;                  // rows into their slots
        Work out;                 // leaving rows out of their slots, and on
        Event slots_read;         // by the kernel of `out`
        Work step;                // done: the caller's stream is through it
        bool is_brought = false;  // `in` is queued; under mutex_, as the next
        bool is_home = false;
        bool is_traced = false;
    };
    enum class Lane : std::uint8_t { planner, list, gather, write_back, step, put_in, take_out };

    [[nodiscard]] static std::size_t rows_of(const LookaheadOptions& options) {
        const std::uint64_t most = LookaheadPlan::most_moves(options);
        return static_cast<std::size_t>(most * std::min<std::uint64_t>(options.lookahead + 1, 4));
    }
    [[nodiscard]] std::size_t ring_rows() const { return rows_of(planner_->options()); }
    // Plans under way, the one in the making, and one whose events a stream may still wait for.
    [[nodiscard]] std::size_t flights() const {
        return static_cast<std::size_t>(planner_->options().lookahead) + 2;
    }
    [[nodiscard]] Flight& at(std::uint64_t number) { return *flights_[number % flights_.size()]; }

    // Direct look-ups go to the homes.
    [[nodiscard]] static auto addressable_homes(On on, const Table& table) {
        on.synchronise();
        const auto homes = table.homes();
        require(homes.size() == 1,
                [&] { return concat("homes in ", homes.size(), " arrays, expected all rows in one"); });
        cudaPointerAttributes attributes{};
        check(::cudaPointerGetAttributes(&attributes, homes[0].weights), "look at the homes of rows");
        require(attributes.type != cudaMemoryTypeUnregistered, [] {
            return std::string("homes in pageable memory, expected memory that the device can address");
        });
        return homes;
    }

    template <class F>
    void start(F&& work) {
        threads_.emplace_back([this, work] {
            try {
                check(::cudaSetDevice(device_), "choice of the CUDA device for a thread");
                work();
            } catch (...) {
                fail(std::current_exception());
            }
        });
    }

    // Returns when is_so() holds, under the lock; false if the route is closed or has failed before.
    template <class F>
    [[nodiscard]] bool wait(F&& is_so, double& seconds) {
        std::unique_lock lock(mutex_);
        const auto ended = [&] { return closed_ || error_ != nullptr; };
        if (!is_so()) {
            const auto start = std::chrono::steady_clock::now();
            changed_.wait(lock, [&] { return ended() || is_so(); });
            seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
        return !ended();
    }

    // Returns when the device has come to a number; false as above. Looks quickly at first.
    [[nodiscard]] bool wait_for_device(const Progress& progress, std::uint64_t number, const Stream& stream) {
        using namespace std::chrono_literals;
        for (unsigned turn = 0; progress.now() < number; ++turn) {
            if (turn < 64) {
                std::this_thread::yield();
                continue;
            }
            std::this_thread::sleep_for(20us);
            if (turn % 64 != 0) continue;
            {
                const std::lock_guard lock(mutex_);
                if (closed_ || error_ != nullptr) return false;
            }
            const cudaError_t result = ::cudaStreamQuery(stream.get());
            if (result != cudaSuccess && result != cudaErrorNotReady) check(result, "work on the device");
        }
        return true;
    }
    [[nodiscard]] bool wait_for_steps(std::uint64_t number, double& seconds) {
        if (steps_.now() >= number) return true;
        const auto start = std::chrono::steady_clock::now();
        const bool done = wait_for_device(steps_, number, step_stream_);
        seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        return done;
    }

    // Memory for a batch's records, once those of older ones are no longer in use.
    [[nodiscard]] bool take(RecordRing<T>& ring, std::uint64_t number, std::size_t count,
                            typename RecordRing<T>::Records& records) {
        const auto done = [&]() -> std::uint64_t {
            if (&ring == &in_) return steps_.now();
            const std::lock_guard lock(mutex_);
            return homes_;
        };
        ring.give_back(done());
        while (!ring.take(number, count, records)) {
            const std::uint64_t now = done();
            const bool go_on = &ring == &in_ ? wait_for_steps(now + 1, stalls_.room)
                                             : wait([&] { return homes_ > now; }, stalls_.room);
            if (!go_on) return false;
            ring.give_back(done());
        }
        return true;
    }

    // The thread that lists the rows of each plan, finds memory for their records and lets rows leave: what
    // would hold up the thread that plans.
    void list_rows() {
        for (std::uint64_t number = 0;; ++number) {
            {
                std::unique_lock lock(mutex_);
                to_list_.wait(lock, [&] { return closed_ || error_ || served_ > number; });
                if (closed_ || error_) return;
            }
            Delays::host(At::list, number);
            Flight& flight = at(number);
            {
                const auto scope = scope_of(Lane::list, "list", number);
                planner_->list_moves(*flight.cold, flight.plan);
            }
            const std::size_t bring = flight.plan.bring.size();
            const std::size_t leave = flight.plan.leave.size();
            const double step = step_time_.seconds();
            flight.in.zero_copy = ways_.zero_copy_in(bring, step);
            flight.out.zero_copy = ways_.zero_copy_out(leave, step);
            if (flight.in.zero_copy) zero_copy_.rows_in += bring;
            if (flight.out.zero_copy) zero_copy_.rows_out += leave;
            if (!take(in_, number, bring, flight.in.records) ||
                !take(out_, number, leave, flight.out.records)) {
                return;
            }
            take_out(flight);
            {
                const std::lock_guard lock(mutex_);
                flight.is_brought = flight.is_home = false;
                planned_ = number + 1;
            }
            to_gather_.notify_one();
            to_scatter_.notify_one();
        }
    }

    // Queues the way of the leaving rows out of their slots; the steps that needed them are done.
    void take_out(Flight& flight) {
        const std::vector<RowMove>& leave = flight.plan.leave;
        if (leave.empty()) return;
        name_rows(flight.out, leave);
        const On out = cuda::on(out_stream_);
        Delays::device(out, At::take_out, flight.plan.number);
        move_out(out, flight);
        leaves_.tell(out, flight.plan.number + 1);
    }

    // Writes down which slots, and of the zero-copy way which rows, records travel between.
    void name_rows(Work& work, const std::vector<RowMove>& moves) const {
        const auto& records = work.records;
        for (std::size_t i = 0; i < moves.size(); ++i) {
            records.slots[i] = static_cast<std::uint32_t>(moves[i].slot);
        }
        if (!work.zero_copy) return;
        const std::uint64_t first = table_->homes()[0].first;
        std::uint64_t* const rows = rows_of(work);
        for (std::size_t i = 0; i < moves.size(); ++i) rows[i] = moves[i].row - first;
    }
    // A record is a multiple of 16 bytes.
    [[nodiscard]] static std::uint64_t* rows_of(const Work& work) {
        return reinterpret_cast<std::uint64_t*>(work.records.records);
    }

    // Queues the way of a plan's rows out of their slots.
    void move_out(On on, Flight& flight) {
        Work& work = flight.out;
        if (trace_ != nullptr) work.begun.record(on);
        const auto& [records, on_device, slots, count] = work.records;
        if (work.zero_copy) {
            detail::queue_from_home<false>(on, tier(), slots, table_->homes()[0].weights, rows_of(work),
                                           count, stride());
            flight.slots_read.record(on);
        } else {
            detail::queue_packed<false>(on, tier(), slots, on_device, count, stride());
            flight.slots_read.record(on);
            copy(on, Span<const T>(on_device, count * stride()), Span<T>(records, count * stride()));
        }
        work.done.record(on);
    }
    // Queues the way of a plan's rows into their slots, once what was there has been read.
    void move_in(On on, Flight& flight) {
        Work& work = flight.in;
        if (trace_ != nullptr) work.begun.record(on);
        const auto& [records, on_device, slots, count] = work.records;
        if (!work.zero_copy) {
            copy(on, Span<const T>(records, count * stride()), Span<T>(on_device, count * stride()));
        }
        if (!flight.plan.leave.empty()) flight.slots_read.wait(on);
        if (work.zero_copy) {
            detail::queue_from_home<true>(on, tier(), slots, table_->homes()[0].weights, rows_of(work), count,
                                          stride());
        } else {
            detail::queue_packed<true>(on, tier(), slots, on_device, count, stride());
        }
        work.done.record(on);
    }
    [[nodiscard]] T* tier() const { return table_->source().fast.weights; }
    [[nodiscard]] std::size_t stride() const { return table_->layout().stride; }

    // A thread that brings rows.
    void gather_rows() {
        double waited = 0;
        for (;;) {
            std::uint64_t number = 0;
            {
                std::unique_lock lock(mutex_);
                to_gather_.wait(lock, [&] { return closed_ || error_ || planned_ > gathering_; });
                if (closed_ || error_) return;
                number = gathering_++;
            }
            Flight& flight = at(number);
            const LookaheadWaits& waits = flight.plan.waits;
            Delays::host(At::gather, number);
            planner_->locate_others(seq, *flight.cold, flight.located);
            if (!wait([&] { return homes_ >= waits.homes_before_bring; }, waited)) return;
            if (!wait_for_steps(waits.steps_before_bring, waited)) return;
            const std::vector<RowMove>& bring = flight.plan.bring;
            if (!bring.empty()) {
                name_rows(flight.in, bring);
                if (!flight.in.zero_copy) {
                    const auto scope = scope_of(Lane::gather, "gather", number);
                    ways_.copy().gather(
                        bring.size(), [&](std::size_t i) { return table_->home_record(bring[i].row); },
                        flight.in.records.records);
                }
                const On in = cuda::on(in_stream_);
                const std::lock_guard turn(in_turn_);
                Delays::device(in, At::put_in, number);
                move_in(in, flight);
            }
            {
                const std::lock_guard lock(mutex_);
                flight.is_brought = true;
            }
            changed_.notify_all();
        }
    }

    // A thread that takes rows home.
    void scatter_rows() {
        for (;;) {
            std::uint64_t number = 0;
            {
                std::unique_lock lock(mutex_);
                to_scatter_.wait(lock, [&] { return closed_ || error_ || planned_ > scattering_; });
                if (closed_ || error_) return;
                number = scattering_++;
            }
            Flight& flight = at(number);
            const std::vector<RowMove>& leave = flight.plan.leave;
            Delays::host(At::scatter, number);
            if (!leave.empty()) {
                if (!wait_for_device(leaves_, number + 1, out_stream_)) return;
                if (!flight.out.zero_copy) {
                    const auto scope = scope_of(Lane::write_back, "write back", number);
                    ways_.copy().scatter(leave.size(), flight.out.records.records,
                                         [&](std::size_t i) { return table_->home_record(leave[i].row); });
                }
            }
            {
                const std::lock_guard lock(mutex_);
                flight.is_home = true;
                while (homes_ < planned_ && at(homes_).is_home) {
                    at(homes_).is_home = false;
                    ++homes_;
                }
            }
            changed_.notify_all();
        }
    }

    [[nodiscard]] Event::Timing timing() const {
        return trace_ != nullptr ? Event::Timing::on : Event::Timing::off;
    }
    [[nodiscard]] TraceScope scope_of(Lane lane, const char* name, std::uint64_t number) const {
        return {trace_, trace_ != nullptr ? lanes_[static_cast<std::size_t>(lane)] : 0u, name, number};
    }
    // What streams did for a plan that is carried out.
    void add_to_trace(Flight& flight) {
        if (trace_ == nullptr || std::exchange(flight.is_traced, true)) return;
        const auto add = [&](Lane lane, const char* name, const Work& work) {
            const auto time = [&](const Event& event) {
                return origin_time_ + 1e3 * static_cast<double>(event.milliseconds_since(origin_));
            };
            trace_->add(lanes_[static_cast<std::size_t>(lane)], name, time(work.begun), time(work.done),
                        flight.plan.number);
        };
        add(Lane::step, "step", flight.step);
        if (!flight.plan.bring.empty()) add(Lane::put_in, "put in", flight.in);
        if (!flight.plan.leave.empty()) add(Lane::take_out, "take out", flight.out);
    }

    void wake_all() {
        for (std::condition_variable* const waiting : {&changed_, &to_list_, &to_gather_, &to_scatter_}) {
            waiting->notify_all();
        }
    }
    void rethrow() {
        const std::lock_guard lock(mutex_);
        if (error_) std::rethrow_exception(error_);
    }

    Table* table_;
    Trace* trace_;
    std::vector<std::uint32_t> lanes_;
    Event origin_{Event::Timing::on};  // the point of the trace's origin_time_
    double origin_time_ = 0;
    LookaheadPlanner* planner_;
    RecordWays<T> ways_;
    ZeroCopyCounts zero_copy_;  // of the thread that lists, as the rings
    int device_ = 0;
    RecordRing<T> in_;
    RecordRing<T> out_;
    Progress steps_;  // done
    detail::StepTime step_time_;
    Progress leaves_;  // plans whose leaving rows have left the device
    Stream in_stream_;
    Stream out_stream_;
    Stream step_stream_;
    std::mutex in_turn_;
    std::vector<std::unique_ptr<Flight>> flights_;
    std::vector<std::thread> threads_;
    std::uint64_t stepped_ = 0;  // of the thread that trains
    LookaheadStalls stalls_;
    std::mutex mutex_;
    std::condition_variable changed_;  // any of what follows
    std::condition_variable to_list_;
    std::condition_variable to_gather_;
    std::condition_variable to_scatter_;
    std::uint64_t served_ = 0;      // plans whose look-ups are served
    std::uint64_t planned_ = 0;     // whose rows are listed, too
    std::uint64_t gathering_ = 0;   // begun
    std::uint64_t scattering_ = 0;  // begun
    std::uint64_t homes_ = 0;       // plans whose leaving rows are at home, as all before them
    std::exception_ptr error_;
    bool closed_ = false;
};

}  // namespace fae::inline FAE_ABI::cuda
