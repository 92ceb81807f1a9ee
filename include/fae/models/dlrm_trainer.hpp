// SPDX-License-Identifier: Apache-2.0
//
// DlrmTrainer: one training step of a DLRM whose embeddings lie in a HotColdTable, and its evaluation. It is
// to fae what a host's own model would be: it uses public headers alone.
//
//   DlrmTrainer trainer(table, model);
//   for (BatchRef batch; scheduler.next(batch);) {
//       if (batch.begins_segment) table.synchronise(exec, batch.heat);
//       double loss = trainer.step(exec, batch.step, loader.load(exec, batch), rate.at(batch.step));
//   }
//   Evaluation held_out = trainer.evaluate(exec, loader, data.validation());
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/workspace.hpp"
#include "fae/io/packed.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/dlrm.hpp"
#include "fae/models/metrics.hpp"
#include "fae/ops/embedding_bag.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/ops/row_gradient.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/table/hot_cold_table.hpp"

namespace fae::inline FAE_ABI {

/// Trains one table and one dense model together, sum pooling.
/// Buffers grow to the largest batch seen; after that a step allocates nothing.
template <Placement P>
class DlrmTrainer {
  public:
    /// @param table, model  outlive the trainer
    /// @throws ContractError if the model's sparse part is not features x dim of the table
    DlrmTrainer(HotColdTable<float, P>& table, Dlrm<float>& model) : table_(&table), model_(&model) {
        const DlrmShape& shape = model.shape();
        require(shape.sparse_features == table.space().features() && shape.dim == table.space().dim(), [&] {
            return concat("the model takes ", shape.sparse_features, " features of dim ", shape.dim,
                          ", expected ", table.space().features(), " of dim ", table.space().dim());
        });
    }

    /// One step: look up, predict, differentiate, update. Returns the mean loss before the update.
    /// @throws NonFiniteError, naming the step, if the loss is not finite: nothing has been updated then
    template <Executor E>
    double step(const E& exec, std::uint64_t number, const LoadedBatch& batch, float lr) {
        resize(batch.lookups.bags);
        const Bags<std::uint32_t> bags = table_->locate(
            exec, number, batch.lookups, Span<std::uint32_t>(located_.data(), batch.lookups.bags.lookups()));
        const double loss = predict(exec, batch, bags);
        require_finite(number, loss);
        const MatrixView<const float> gradient = model_->backward(exec, batch.labels);
        Workspace workspace(scratch_.span());
        visit_optimizer(table_->optimizer(), [&](auto optimizer) {
            table_->backward_step(
                exec, optimizer, lr, bags, Pooling::sum,
                MatrixView<const float>(gradient.data(), bags.size(), table_->space().dim()), workspace);
        });
        model_->step(exec, lr);
        return loss;
    }

    /// Predicts all inputs of some columns, each row read where it is current: nothing is synchronised or
    /// changed. A loss that is not finite is returned, without AUC: require_finite is the caller's to call.
    /// @param columns  cold, or not classified (validation, test): row ids
    template <Executor E>
    [[nodiscard]] Evaluation evaluate(const E& exec, BatchLoader& loader, const InputColumns& columns) {
        EvaluationSum sum(columns.inputs());
        for (std::size_t first = 0; first < columns.inputs(); first += model_->max_batch()) {
            const std::size_t count = std::min(model_->max_batch(), columns.inputs() - first);
            const LoadedBatch batch = loader.load_range(exec, columns, first, count);
            resize(batch.lookups.bags);
            const Bags<std::uint32_t> bags = table_->locate_for_reading(
                exec, batch.lookups.bags, Span<std::uint32_t>(located_.data(), batch.lookups.bags.lookups()));
            const double loss = predict(exec, batch, bags);
            sum.add(loss, model_->logits(), batch.labels);
        }
        return sum.finish(exec, columns.labels);
    }

  private:
    template <Executor E>
    double predict(const E& exec, const LoadedBatch& batch, const Bags<std::uint32_t>& bags) {
        const std::uint32_t dim = table_->space().dim();
        embedding_bag::forward(exec, table_->source(), bags, Pooling::sum,
                               MatrixView<float>(pooled_.data(), bags.size(), dim));
        model_->forward(exec, batch.dense,
                        MatrixView<const float>(pooled_.data(), batch.size(), bags.features() * dim));
        return model_->loss(exec, batch.labels);
    }

    void resize(const Bags<std::uint32_t>& bags) {
        const std::size_t scratch =
            table_->template backward_step_scratch<std::uint32_t>(bags.lookups(), bags.size(), Pooling::sum);
        if (located_.size() < bags.lookups()) located_.resize(bags.lookups());
        if (scratch_.size() < scratch) scratch_ = Buffer<std::byte>(scratch);
        if (pooled_.size() < bags.size() * table_->space().dim())
            pooled_.resize(bags.size() * table_->space().dim());
    }

    HotColdTable<float, P>* table_;
    Dlrm<float>* model_;
    std::vector<std::uint32_t> located_;
    std::vector<float> pooled_;
    Buffer<std::byte> scratch_;
};

}  // namespace fae::inline FAE_ABI
