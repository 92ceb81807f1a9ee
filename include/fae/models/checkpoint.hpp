// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints: a table and a dense model as NumPy files in one folder, whatever the placement.
//
//   save_checkpoint(par(threads), "run1", table, model);
//   load_checkpoint(par(threads), "run1", other_table, other_model);   // any placement; equal, bit for bit
//
// The folder holds table.N.weight.npy [rows, dim] and table.N.state.npy [rows, state] for each table,
// bottom.N.weight.npy and so on for each dense layer, and weights_digest.txt. The digest is taken away first
// and written last, so a folder that has one is whole; loading checks the digest of what it has read.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <string>
#include <system_error>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/digest.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/io/atomic_file.hpp"
#include "fae/io/byte_source.hpp"
#include "fae/io/npy.hpp"
#include "fae/models/dense_parameters.hpp"
#include "fae/table/hot_cold_table.hpp"

namespace fae::inline FAE_ABI {

/// A dense model, or a copy of what it has learnt: its layers' parameters in host memory, in a fixed order.
/// Dlrm is one; DenseParameters, read from a device and written back to it, another.
template <class M>
concept DenseModel = requires(M& model) {
    { model.parameters().begin()->values.data() } -> std::convertible_to<const float*>;
    { model.parameters().begin()->name } -> std::convertible_to<std::string>;
};

/// The digest of a trained model: tables in order, rows in order, weights then state (no padding); then the
/// dense layers, each with its state. Equal for every placement, executor and window.
/// @return 16 hexadecimal digits
/// @exec   seq, par: equal results
/// @cost   reads every weight and state once
template <Executor E, Placement P, DenseModel M>
[[nodiscard]] std::string weights_digest(const E& exec, HotColdTable<float, P>& table, const M& model) {
    Digest digest;
    table.add_to(exec, digest);
    for (const auto& parameter : model.parameters()) {
        digest.add_floats(Span<const float>(parameter.values));
        digest.add_floats(Span<const float>(parameter.state));
    }
    return digest.hex();
}

namespace detail {

inline constexpr std::size_t checkpoint_rows = 65536;

/// Calls f(row ids, weights, state) for each block of a table's rows, over one buffer.
template <class T, Placement P, class F>
void for_row_blocks(const HotColdTable<T, P>& table, std::size_t number, F&& f) {
    const RowLayout& layout = table.layout();
    const std::uint64_t first = table.space().offset(number);
    const std::uint64_t rows = table.space().table(number).rows;
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(rows, checkpoint_rows));
    std::vector<RowId> ids(most);
    std::vector<T> weights(most * layout.dim);
    std::vector<T> state(most * layout.state);
    for (std::uint64_t begin = 0; begin < rows; begin += most) {
        const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(most, rows - begin));
        std::iota(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), first + begin);
        f(Span<const RowId>(ids.data(), count), MatrixView<T>(weights.data(), count, layout.dim),
          MatrixView<T>(layout.state == 0 ? nullptr : state.data(), count, layout.state));
    }
}

[[nodiscard]] inline std::string table_file(const std::filesystem::path& folder, std::size_t number,
                                            const char* part) {
    return (folder / concat("table.", number, ".", part, ".npy")).string();
}

}  // namespace detail

/// Writes a model into a folder, which is made where it does not exist. Files of the same names are replaced,
/// each whole.
/// @exec   seq, par: rows are gathered side by side; files are written one after the other
/// @cost   memory: 65,536 rows
/// @throws IoError; what the folder held before is then no longer whole, and has no digest that says it were
template <Executor E, Placement P, DenseModel M>
void save_checkpoint(const E& exec, const std::string& folder, HotColdTable<float, P>& table,
                     const M& model) {
    const std::filesystem::path path(folder);
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) throw IoError(folder, "cannot be made a folder: " + error.message());
    const std::filesystem::path digest_path = path / "weights_digest.txt";
    std::filesystem::remove(digest_path, error);
    if (error) throw IoError(digest_path.string(), "cannot be removed: " + error.message());
    const std::size_t state_columns = table.layout().state;
    for (std::size_t t = 0; t < table.space().table_count(); ++t) {
        const std::uint64_t rows = table.space().table(t).rows;
        NpyWriter<float> weight_file(detail::table_file(path, t, "weight"), {rows, table.layout().dim});
        const auto write_state = [&](auto&& use) {
            if (state_columns == 0) return use(static_cast<NpyWriter<float>*>(nullptr));
            NpyWriter<float> state_file(detail::table_file(path, t, "state"), {rows, state_columns});
            use(&state_file);
            state_file.commit();
        };
        write_state([&](NpyWriter<float>* state_file) {
            detail::for_row_blocks(
                table, t, [&](Span<const RowId> ids, MatrixView<float> weights, MatrixView<float> state) {
                    table.read_rows(exec, ids, weights, state);
                    weight_file.append(weights);
                    if (state_file != nullptr) state_file->append(state);
                });
        });
        weight_file.commit();
    }
    for (const auto& parameter : model.parameters()) {
        const std::string file = (path / parameter.name).string();
        write_npy(file + ".npy",
                  MatrixView<const float>(parameter.values.data(), parameter.rows, parameter.columns));
        if (!parameter.state.empty()) {
            write_npy(file + ".state.npy",
                      MatrixView<const float>(parameter.state.data(), parameter.rows, parameter.columns));
        }
    }
    const std::string digest = weights_digest(exec, table, model) + "\n";
    AtomicFile file(digest_path.string());
    file.write(Span<const std::byte>(reinterpret_cast<const std::byte*>(digest.data()), digest.size()));
    file.commit();
}

/// Reads what save_checkpoint wrote into a table and a model of the same shape and optimizer; the placement
/// is free.
/// @exec   seq, par: files are read one after the other; rows are put in place side by side
/// @cost   reads every file once, and the model for its digest; memory: 65,536 rows
/// @throws IoError if a file is missing, of another shape, or the folder is not whole; table and model are
///         then of no further use
template <Executor E, Placement P, DenseModel M>
void load_checkpoint(const E& exec, const std::string& folder, HotColdTable<float, P>& table, M& model) {
    const std::filesystem::path path(folder);
    const std::string digest_path = (path / "weights_digest.txt").string();
    std::string expected(17, '\0');
    {
        FileSource file(digest_path);
        std::size_t size = 0;
        for (std::size_t n = 1; n != 0 && size < expected.size(); size += n) {
            n = file.read({expected.data() + size, expected.size() - size});
        }
        expected.resize(std::min<std::size_t>(size, 16));
    }
    for (std::size_t t = 0; t < table.space().table_count(); ++t) {
        const auto open = [&](const char* part, std::size_t columns) {
            NpyReader<float> reader(detail::table_file(path, t, part));
            if (reader.rows() != table.space().table(t).rows || reader.columns() != columns) {
                throw IoError(detail::table_file(path, t, part),
                              concat("holds an array of [", reader.rows(), ", ", reader.columns(),
                                     "], expected [", table.space().table(t).rows, ", ", columns, "]"));
            }
            return reader;
        };
        NpyReader<float> weight_file = open("weight", table.layout().dim);
        const auto read_state = [&](auto&& use) {
            if (table.layout().state == 0) return use(static_cast<NpyReader<float>*>(nullptr));
            NpyReader<float> state_file = open("state", table.layout().state);
            use(&state_file);
        };
        read_state([&](NpyReader<float>* state_file) {
            detail::for_row_blocks(
                table, t, [&](Span<const RowId> ids, MatrixView<float> weights, MatrixView<float> state) {
                    weight_file.read(weights);
                    if (state_file != nullptr) state_file->read(state);
                    table.write_rows(exec, ids, MatrixView<const float>(weights),
                                     MatrixView<const float>(state));
                });
        });
    }
    for (const auto& parameter : model.parameters()) {
        const std::string file = (path / parameter.name).string();
        read_npy(file + ".npy",
                 MatrixView<float>(parameter.values.data(), parameter.rows, parameter.columns));
        if (!parameter.state.empty()) {
            read_npy(file + ".state.npy",
                     MatrixView<float>(parameter.state.data(), parameter.rows, parameter.columns));
        }
    }
    const std::string found = weights_digest(exec, table, model);
    if (found != expected) {
        throw IoError(digest_path,
                      "holds " + expected + ", expected " + found + ", the digest of what the folder holds");
    }
}

}  // namespace fae::inline FAE_ABI
