// SPDX-License-Identifier: Apache-2.0
//
// A soak of the look-ahead placement with both tiers in host memory: a million batches of 64 inputs, planned,
// moved and trained (embeddings alone, row-wise Adagrad), beside a table without any fast tier. At the end
// the two hold the same rows, and the process's memory is what it was after a tenth of the batches; else it
// exits with 1.
//
//   build/release/bench/table/lookahead_soak_bench [BATCHES]
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "axes.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "fae/table/lookahead_placement.hpp"

namespace {

constexpr std::size_t batch_inputs = 64;
constexpr std::size_t pool_batches = 512;
constexpr std::uint32_t dim = 16;

/// Tables of Kaggle's shape, a thirty-second of the rows.
axes::Shape shape() {
    axes::Shape shape = axes::kaggle(batch_inputs, 1.05);
    for (std::uint64_t& rows : shape.tables) rows = rows / 32 + 1;
    return shape;
}

fae::RowSpace space_of(const axes::Shape& shape) {
    std::vector<fae::TableSpec> tables;
    for (const std::uint64_t rows : shape.tables) tables.push_back({rows, dim, ""});
    return fae::RowSpace(std::move(tables));
}

std::uint64_t resident_bytes() {
    std::uint64_t pages = 0;
    std::uint64_t resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

/// Trains a table on batches; the gradient of a bag is its own pooled value.
template <class P>
class Trainer {
  public:
    Trainer(const fae::RowSpace& space, P placement)
        : table_(space, fae::OptimizerKind::rowwise_adagrad, std::move(placement)),
          located_(batch_inputs * space.features()),
          pooled_(located_.size() * dim),
          scratch_(table_.template backward_step_scratch<std::uint32_t>(located_.size(), located_.size(),
                                                                        fae::Pooling::sum)) {
        table_.initialise(fae::seq, 1);
        table_.synchronise(fae::seq, fae::Heat::mixed);
    }
    void step(std::uint64_t number, const fae::Lookups<std::uint32_t>& lookups) {
        const auto bags = table_.locate(fae::seq, number, lookups, fae::Span<std::uint32_t>(located_));
        fae::embedding_bag::forward(fae::seq, table_.source(), bags, fae::Pooling::sum,
                                    fae::MatrixView<float>(pooled_.data(), bags.size(), dim));
        fae::Workspace workspace(scratch_.span());
        table_.backward_step(fae::seq, fae::RowwiseAdagrad{}, 0.01F, bags, fae::Pooling::sum,
                             fae::MatrixView<const float>(pooled_.data(), bags.size(), dim), workspace);
    }
    std::string digest() {
        fae::Digest digest;
        table_.write_back(fae::seq);
        table_.add_to(fae::seq, digest);
        return digest.hex();
    }
    const fae::HotColdTable<float, P>& table() const { return table_; }

  private:
    fae::HotColdTable<float, P> table_;
    std::vector<std::uint32_t> located_;
    std::vector<float> pooled_;
    fae::Buffer<std::byte> scratch_;
};

}  // namespace

int main(int argc, char** argv) {
    const std::uint64_t batches = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
    const axes::Shape tables = shape();
    const fae::RowSpace space = space_of(tables);
    const std::vector<std::uint32_t> pool = axes::index_stream(tables, pool_batches, 1);
    // The popular rows of each table, by the law that draws them.
    const fae::HotSet hot = fae::HotSet::from_predicate(fae::seq, space.rows(), [&](fae::RowId row) {
        const std::size_t t = space.table_of(row);
        const std::uint64_t rows = space.table(t).rows;
        for (std::uint64_t rank = 0; rank < std::min<std::uint64_t>(rows, 64); ++rank) {
            if (space.offset(t) + rank * axes::spread_step(rows) % rows == row) return true;
        }
        return false;
    });
    const fae::LookaheadOptions options{4096, 8, batch_inputs * space.features()};
    Trainer home(space, fae::all_home);
    Trainer ahead(space, fae::LookaheadPlacement<>(hot, options));

    const auto start = std::chrono::steady_clock::now();
    std::vector<std::uint32_t> values(batch_inputs * space.features());
    std::uint64_t at_tenth = 0;
    for (std::uint64_t b = 0; b < batches; ++b) {
        // Batches come back, their rows moved on within their tables, so that cold rows are new all the time.
        const std::uint32_t* const from = pool.data() + b % pool_batches * values.size();
        const std::uint64_t moved = b / pool_batches;
        for (std::size_t i = 0; i < values.size(); ++i) {
            const std::size_t t = i % space.features();
            const std::uint64_t row = from[i];
            const bool moves = i % 16 == 0;
            values[i] = static_cast<std::uint32_t>(
                moves ? space.offset(t) + (row - space.offset(t) + moved * 7919) % space.table(t).rows : row);
        }
        const fae::Lookups<std::uint32_t> lookups{
            fae::Heat::mixed, fae::Bags<std::uint32_t>::fixed(values, 1, space.features()), nullptr};
        home.step(b, lookups);
        ahead.step(b, lookups);
        if (b + 1 == batches / 10) at_tenth = resident_bytes();
    }
    const std::uint64_t at_end = resident_bytes();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const fae::LookaheadPlanner& planner = ahead.table().placement().planner();
    const fae::LookaheadCounts& counts = planner.counts();
    std::cout << batches << " batches of " << batch_inputs << " in " << seconds << " s, planner "
              << planner.seconds() << " s; " << counts.rows_in << " rows came in, " << counts.rows_out
              << " left, " << counts.hits << " hits, " << counts.direct << " direct look-ups\n"
              << "planner " << planner.bytes() << " bytes, announced "
              << fae::LookaheadPlanner::bytes_for(options) << "; process " << at_tenth
              << " bytes at a tenth, " << at_end << " at the end\n";
    const std::string expected = home.digest();
    const std::string found = ahead.digest();
    std::cout << "digests " << expected << " and " << found << '\n';
    const bool same_memory = at_end <= at_tenth + (std::uint64_t{1} << 20);
    return expected == found && same_memory && planner.bytes() == fae::LookaheadPlanner::bytes_for(options)
               ? 0
               : 1;
}
