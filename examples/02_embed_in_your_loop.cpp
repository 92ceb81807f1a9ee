// SPDX-License-Identifier: Apache-2.0
//
// fae inside a project that has everything already: its own threads, its own tables, its own model and its
// own training loop. The project keeps all of them and hands over spans; fae trains the project's arrays in
// place.
//
// At the end the arrays are compared with those of a second run, without a fast tier and on one thread: they
// are equal, bit for bit.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <fae/fae.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace host {

// --- The project's threads: workers that take jobs from a queue. concurrency() and run() are what fae asks
// for.

class JobQueue {
  public:
    explicit JobQueue(std::size_t workers) {
        for (std::size_t i = 0; i < workers; ++i) workers_.emplace_back([this] { work(); });
    }
    ~JobQueue() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (std::thread& worker : workers_) worker.join();
    }

    void submit(std::function<void()> job) {
        {
            const std::lock_guard lock(mutex_);
            jobs_.push_back(std::move(job));
        }
        wake_.notify_one();
    }

    [[nodiscard]] std::size_t concurrency() const { return workers_.size() + 1; }

    // Calls task(i) once for every i below n. The caller works too, so a job may itself call run().
    template <class Task>
    void run(std::size_t n, Task&& task) {
        struct Shared {
            std::atomic<std::size_t> next{0};
            std::mutex mutex;
            std::condition_variable all_done;
            std::size_t done = 0;
            std::exception_ptr error;
        };
        const auto shared = std::make_shared<Shared>();
        // A job that starts when nothing is left does not touch the task, which may be gone by then.
        const auto help = [shared, n, &task] {
            for (std::size_t i = shared->next++; i < n; i = shared->next++) {
                std::exception_ptr error;
                try {
                    task(i);
                } catch (...) {
                    error = std::current_exception();
                }
                const std::lock_guard lock(shared->mutex);
                if (error) shared->error = error;
                if (++shared->done == n) shared->all_done.notify_all();
            }
        };
        for (std::size_t i = 1; i < std::min(n, concurrency()); ++i) submit(help);
        help();
        std::unique_lock lock(shared->mutex);
        shared->all_done.wait(lock, [&] { return shared->done == n; });
        if (shared->error) std::rethrow_exception(shared->error);
    }

  private:
    void work() {
        for (;;) {
            std::function<void()> job;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
                if (jobs_.empty()) return;
                job = std::move(jobs_.front());
                jobs_.pop_front();
            }
            job();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> jobs_;
    bool stopping_ = false;
    std::vector<std::thread> workers_;
};

// --- The project's tables: each row is a record with fields of its own before the weights; Adagrad's sums
// apart.

constexpr std::size_t dim = 12;

struct Record {
    std::uint32_t id;
    float price;
    float weights[dim];
};
static_assert(sizeof(Record) == 4 * (2 + dim));

struct Table {
    std::vector<Record> records;
    std::vector<float> sums;  // [rows, dim]

    explicit Table(std::uint64_t rows) : records(rows), sums(rows * dim, 0.0F) {
        std::mt19937 random(static_cast<unsigned>(rows));
        for (std::size_t r = 0; r < rows; ++r) {
            records[r].id = static_cast<std::uint32_t>(r);
            records[r].price = static_cast<float>(r) / 100;
            for (float& weight : records[r].weights)
                weight = static_cast<float>(random() % 2001) / 1e4F - 0.1F;
        }
    }
};

// --- The project's click log: who saw what on which page, as indices within the three tables, and who
// clicked.

constexpr std::uint64_t users = 50'000;
constexpr std::uint64_t items = 8'000;
constexpr std::uint64_t pages = 40;
constexpr std::size_t features = 3;

struct Click {
    std::uint32_t index[features];
    std::uint8_t label;
};

std::vector<Click> simulate(std::size_t count) {
    std::mt19937 random(7);
    // Few are frequent: the fourth power of a uniform draw.
    const auto skewed = [&](std::uint64_t rows) {
        const double u = std::uniform_real_distribution<double>()(random);
        return static_cast<std::uint32_t>(u * u * u * u * static_cast<double>(rows));
    };
    std::vector<Click> log(count);
    for (Click& click : log) {
        click = {{skewed(users), skewed(items), skewed(pages)}, 0};
        const bool likes = click.index[0] % 4 == click.index[1] % 4;
        click.label = random() % 100 < (likes ? 80 : 10) ? 1 : 0;
    }
    return log;
}

// --- The project's model, a factorisation machine: bias + the dot products of all pairs of an input's
// vectors.

struct Model {
    float bias = 0;

    // Mean loss of a batch; the gradient of each of its vectors; one step on the bias. Compiled once, so that
    // every run of the program rounds alike.
    [[gnu::noinline]] double learn(const float* vectors, const std::uint8_t* labels, std::size_t count,
                                   float lr, float* gradient) {
        double loss = 0;
        float of_bias = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const float* own = vectors + i * features * dim;
            float sum[dim] = {};
            float logit = bias;
            for (std::size_t f = 0; f < features; ++f) {
                for (std::size_t c = 0; c < dim; ++c) {
                    logit += sum[c] * own[f * dim + c];
                    sum[c] += own[f * dim + c];
                }
            }
            const float chance = 1 / (1 + std::exp(-logit));
            loss -= std::log(labels[i] != 0 ? chance : 1 - chance);
            const float error = (chance - static_cast<float>(labels[i])) / static_cast<float>(count);
            of_bias += error;
            for (std::size_t k = 0; k < features * dim; ++k) {
                gradient[i * features * dim + k] = error * (sum[k % dim] - own[k]);
            }
        }
        bias -= lr * of_bias;
        return loss / static_cast<double>(count);
    }
};

// --- What fae made of the log: the hot rows, and the inputs and labels of each class in the log's order.

struct Prepared {
    fae::RowSpace space;
    fae::HotSet hot;
    fae::Classification classes;
    std::vector<std::uint8_t> labels[2];  // of the cold, of the hot
};

template <fae::Executor E>
Prepared prepare(const E& exec, const std::vector<Click>& log, std::uint64_t budget_bytes) {
    Prepared made;
    made.space = fae::RowSpace({{users, dim, "user"}, {items, dim, "item"}, {pages, dim, "page"}});
    std::vector<std::uint32_t> rows;
    for (const Click& click : log) {
        for (std::size_t f = 0; f < features; ++f) {
            rows.push_back(static_cast<std::uint32_t>(made.space.row(f, click.index[f])));
        }
    }
    const auto bags = fae::Bags<std::uint32_t>::fixed(rows, 1, features);
    fae::AccessProfiler<> profiler(made.space);
    profiler.add(exec, bags);
    fae::CalibrationOptions options;
    options.budget_bytes = budget_bytes;
    options.row_bytes = fae::row_layout(dim, dim).bytes();  // weights and Adagrad's sums
    made.hot = fae::calibrate(exec, profiler.finish(), options).hot_set;
    made.classes = fae::classify(exec, made.hot, made.space, bags);
    for (const bool hot : {false, true}) {
        for (const std::uint64_t input : fae::input_numbers(exec, made.classes.hot_inputs, hot)) {
            made.labels[hot].push_back(log[input].label);
        }
    }
    return made;
}

// --- The project's loop: cold and hot batches in turns, one table of fae over the project's arrays.

constexpr std::size_t batch_size = 128;
constexpr float lr = 0.1F;

template <fae::Executor E, fae::Placement P>
Model train(const E& exec, const Prepared& data, P placement, std::vector<Table>& tables, bool talk) {
    std::vector<fae::RowsView<float>> homes;
    for (Table& table : tables) {
        fae::RowsView<float> home;
        home.weights = table.records[0].weights;
        home.stride = sizeof(Record) / sizeof(float);
        home.state = table.sums.data();
        home.state_stride = dim;
        home.rows = table.records.size();
        homes.push_back(home);
    }
    fae::HotColdTable<float, P> rows(data.space, fae::OptimizerKind::adagrad, placement, homes);

    // Everything that a step writes to, allocated once.
    const std::size_t most = batch_size * features;
    std::vector<std::uint32_t> located(most);
    std::vector<float> vectors(most * dim);
    std::vector<float> gradient(most * dim);
    // A vector's bytes may begin anywhere: up to one alignment is lost at the front.
    std::vector<std::byte> scratch(rows.backward_step_scratch(most, most, fae::Pooling::sum) +
                                   fae::workspace_alignment);

    Model model;
    std::uint64_t step = 0;
    for (int round = 0; round < 4; ++round) {
        double loss = 0;
        std::size_t batches = 0;
        std::uint64_t moved = 0;
        for (const bool hot : {false, true}) {
            const fae::Heat heat = hot ? fae::Heat::hot : fae::Heat::cold;
            const fae::Span<const std::uint32_t> values =
                (hot ? data.classes.hot_bags() : data.classes.cold_bags()).values();
            const std::vector<std::uint8_t>& labels = data.labels[hot];
            moved += rows.synchronise(exec, heat).rows;
            for (std::size_t first = 0; first < labels.size(); first += batch_size) {
                const std::size_t count = std::min(batch_size, labels.size() - first);
                const std::size_t lookups = count * features;
                const auto asked =
                    fae::Bags<std::uint32_t>::fixed(values.subspan(first * features, lookups), 1, features);
                const auto bags =
                    rows.locate(exec, step++, fae::Lookups<std::uint32_t>{heat, asked, &data.hot},
                                fae::Span<std::uint32_t>(located.data(), lookups));
                fae::embedding_bag::forward(exec, rows.source(), bags, fae::Pooling::sum,
                                            fae::MatrixView<float>(vectors.data(), lookups, dim));
                loss += model.learn(vectors.data(), labels.data() + first, count, lr, gradient.data());
                fae::Workspace workspace(scratch);
                rows.backward_step(exec, fae::Adagrad(), lr, bags, fae::Pooling::sum,
                                   fae::MatrixView<const float>(gradient.data(), lookups, dim), workspace);
                ++batches;
            }
        }
        if (talk) {
            std::printf("round %d: mean loss %.4f, %zu rows moved between the tiers\n", round + 1,
                        loss / static_cast<double>(batches), static_cast<std::size_t>(moved));
        }
    }
    rows.write_back(exec);  // from here on the project's arrays are current
    return model;
}

bool equal_bits(const std::vector<Table>& a, const std::vector<Table>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Table& x, const Table& y) {
        return std::memcmp(x.records.data(), y.records.data(), x.records.size() * sizeof(Record)) == 0 &&
               std::memcmp(x.sums.data(), y.sums.data(), x.sums.size() * sizeof(float)) == 0;
    });
}

}  // namespace host

int main() {
    host::JobQueue jobs(3);
    const auto exec = fae::par(jobs);
    const std::vector<host::Click> log = host::simulate(40'000);
    const host::Prepared data = host::prepare(exec, log, 512 << 10);
    std::printf("%zu of %zu rows are hot, %zu of %zu inputs need no others\n",
                static_cast<std::size_t>(data.hot.size()), static_cast<std::size_t>(data.space.rows()),
                static_cast<std::size_t>(data.classes.hot_count()), log.size());

    const std::vector<host::Table> fresh{host::Table(host::users), host::Table(host::items),
                                         host::Table(host::pages)};
    std::vector<host::Table> tables = fresh;
    const host::Model model = host::train(exec, data, fae::static_placement(data.hot), tables, true);

    std::vector<host::Table> plain = fresh;
    const host::Model plain_model = host::train(fae::seq, data, fae::all_home, plain, false);
    if (host::equal_bits(tables, fresh)) {
        std::puts("nothing was trained");
        return 1;
    }
    if (!host::equal_bits(tables, plain) || model.bias != plain_model.bias) {
        std::puts("the arrays differ from those of a run without a fast tier");
        return 1;
    }
    std::puts("the arrays equal those of a run without a fast tier, bit for bit");
}
