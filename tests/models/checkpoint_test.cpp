// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints: what is saved is loaded bit for bit, whatever the placements; a folder that is not whole is
// refused. And weights_digest: what it must see, and what it must not.
#include "fae/models/checkpoint.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/models/dlrm.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/static_placement.hpp"
#include "support/file_size_limit.hpp"
#include "support/temporary_folder.hpp"

using namespace fae;

namespace {

constexpr OptimizerKind kinds[] = {OptimizerKind::sgd, OptimizerKind::adagrad,
                                   OptimizerKind::rowwise_adagrad};

struct Shape {
    std::vector<std::uint64_t> table_rows{40, 7, 300};
    std::uint32_t dim = 5;
    std::vector<std::size_t> bottom{8, 5};
    std::vector<std::size_t> top{6, 1};
    std::size_t dense_features = 3;

    [[nodiscard]] RowSpace space() const {
        std::vector<TableSpec> tables;
        for (const std::uint64_t rows : table_rows) tables.push_back({rows, dim, ""});
        return RowSpace(std::move(tables));
    }
    [[nodiscard]] DlrmShape dlrm() const { return {dense_features, table_rows.size(), dim, bottom, top}; }
    [[nodiscard]] std::vector<std::uint32_t> every_third_row() const {
        std::vector<std::uint32_t> rows;
        for (std::uint32_t row = 0; row < space().rows(); row += 3) rows.push_back(row);
        return rows;
    }
};

template <Placement P>
struct Model {
    HotColdTable<float, P> table;
    Dlrm<float> dense;

    Model(const Shape& shape, OptimizerKind kind, P placement)
        : table(shape.space(), kind, std::move(placement)), dense(shape.dlrm(), 4, 1, kind) {
        table.initialise(seq, 1);
    }
    [[nodiscard]] std::string digest() { return weights_digest(seq, table, dense); }
};

/// Every number of a model as bits, read by id.
template <Placement P>
std::vector<std::uint32_t> bits_of(Model<P>& model) {
    std::vector<std::uint32_t> bits;
    const auto add = [&](Span<const float> values) {
        for (const float& value : values) bits.push_back(std::bit_cast<std::uint32_t>(value));
    };
    const RowLayout& layout = model.table.layout();
    for (RowId row = 0; row < model.table.space().rows(); ++row) {
        std::vector<float> weights(layout.dim);
        std::vector<float> state(layout.state);
        model.table.read_rows(seq, Span<const RowId>(&row, 1),
                              MatrixView<float>(weights.data(), 1, layout.dim),
                              MatrixView<float>(state.data(), 1, layout.state));
        add(weights);
        add(state);
    }
    for (const auto& parameter : std::as_const(model.dense).parameters()) {
        add(parameter.values);
        add(parameter.state);
    }
    return bits;
}

/// Random bits everywhere: denormals, infinities and NaNs too.
template <Placement P>
void fill_with_bits(Model<P>& model, std::uint64_t seed) {
    Philox random(seed);
    const auto fill = [&](Span<float> values) {
        for (float& value : values) value = std::bit_cast<float>(random.bits32());
    };
    const RowLayout& layout = model.table.layout();
    for (RowId row = 0; row < model.table.space().rows(); ++row) {
        std::vector<float> weights(layout.dim);
        std::vector<float> state(layout.state);
        fill(weights);
        fill(state);
        model.table.write_rows(seq, Span<const RowId>(&row, 1),
                               MatrixView<const float>(weights.data(), 1, layout.dim),
                               MatrixView<const float>(state.data(), 1, layout.state));
    }
    for (const auto& parameter : model.dense.parameters()) {
        fill(parameter.values);
        fill(parameter.state);
    }
}

/// The names of the files in a folder.
std::set<std::string> names_in(const TemporaryFolder& folder) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
        names.insert(entry.path().filename().string());
    return names;
}

/// The IoError of loading a folder into a new model.
template <class Load>
IoError load_error(const Load& load) {
    try {
        load();
    } catch (const IoError& error) {
        return error;
    }
    FAIL_CHECK("was loaded, expected an error");
    return IoError("", "");
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// The tiny model of the golden values: row r, column c is r + c / 4; its state is 0 - r - c / 2; dense
/// parameter k of all is k / 8 and its state 2 k.
const Shape tiny{{3, 2}, 2, {2}, {1}, 1};

template <Placement P>
void fill_tiny(Model<P>& model) {
    const RowLayout& layout = model.table.layout();
    for (RowId row = 0; row < 5; ++row) {
        const auto r = static_cast<float>(row);
        const float weights[] = {r, r + 0.25f};
        const float state[] = {0.0f - r, 0.0f - r - 0.5f};
        model.table.write_rows(seq, Span<const RowId>(&row, 1), MatrixView<const float>(weights, 1, 2),
                               MatrixView<const float>(state, 1, layout.state));
    }
    float k = 0;
    for (const auto& parameter : model.dense.parameters()) {
        float own = k;
        for (float& value : parameter.values) value = k++ * 0.125f;
        for (float& value : parameter.state) value = own++ * 2.0f;
    }
}

const std::string tiny_digests[] = {"f3f560b5e5cf32e2", "5635214c9d759374", "d6e1ebed565d547b"};

void flip(float& value, unsigned bit) {
    value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^ (1u << bit));
}

}  // namespace

// Catches a row, a layer or a state that is not saved, or saved from the tier that is behind, or put back
// into one tier only.
TEST_CASE("checkpoint: a round trip is bit-equal, state and digest included, from and to every placement") {
    Threads threads(2);
    const Shape shape;
    const HotSet hot(shape.space().rows(), shape.every_third_row());
    std::vector<std::uint32_t> few{2, 3, 46, 345};
    const HotSet other(shape.space().rows(), few);
    for (const OptimizerKind kind : kinds) {
        CAPTURE(static_cast<int>(kind));
        TemporaryFolder folder;
        Model from(shape, kind, static_placement(hot));
        fill_with_bits(from, 7);
        // Some rows become newer in their slots than at home.
        from.table.synchronise(seq, Heat::hot);
        const std::uint32_t located[] = {fast_bit<std::uint32_t> | 1u, fast_bit<std::uint32_t> | 100u};
        for (const std::uint32_t slot : {1u, 100u}) flip(*from.table.source().fast.weights_of(slot), 3);
        from.table.touched(seq, Span<const std::uint32_t>(located, 2));
        const std::vector<std::uint32_t> expected = bits_of(from);
        save_checkpoint(par(threads), folder.path().string(), from.table, from.dense);
        CHECK(bits_of(from) == expected);

        const auto check = [&](auto placement) {
            Model to(shape, kind, placement);
            fill_with_bits(to, 8);
            REQUIRE(bits_of(to) != expected);
            load_checkpoint(par(threads), folder.path().string(), to.table, to.dense);
            CHECK(bits_of(to) == expected);
            CHECK(to.digest() == from.digest());
            // Rows in slots are loaded into both tiers: neither synchronisation brings back an old one.
            to.table.synchronise(seq, Heat::hot);
            CHECK(bits_of(to) == expected);
            to.table.write_back(seq);
            CHECK(bits_of(to) == expected);
        };
        check(all_home);
        check(all_slots);
        check(static_placement(hot));
        check(static_placement(other));
    }
}

// Catches a load into a table whose fast tier is the newer one, after which the homes would hide in it.
TEST_CASE("checkpoint: a model in the middle of a hot segment can be loaded over") {
    TemporaryFolder folder;
    const Shape shape;
    const HotSet hot(shape.space().rows(), shape.every_third_row());
    Model from(shape, OptimizerKind::adagrad, all_home);
    fill_with_bits(from, 1);
    save_checkpoint(seq, folder.path().string(), from.table, from.dense);
    Model to(shape, OptimizerKind::adagrad, static_placement(hot));
    to.table.synchronise(seq, Heat::hot);
    const std::uint32_t located = fast_bit<std::uint32_t> | 5u;
    to.table.touched(seq, Span<const std::uint32_t>(&located, 1));
    load_checkpoint(seq, folder.path().string(), to.table, to.dense);
    CHECK(bits_of(to) == bits_of(from));
    to.table.write_back(seq);
    CHECK(bits_of(to) == bits_of(from));
}

// Catches files that others cannot read: names, shapes and order are part of the interface.
TEST_CASE("checkpoint: a folder holds one array a table and a layer, and the digest") {
    const Shape shape;
    for (const OptimizerKind kind : kinds) {
        CAPTURE(static_cast<int>(kind));
        TemporaryFolder folder;
        Model model(shape, kind, all_home);
        fill_with_bits(model, 3);
        save_checkpoint(seq, folder.path().string(), model.table, model.dense);
        std::set<std::string> expected{"weights_digest.txt"};
        const std::size_t state = model.table.layout().state;
        for (const char* table : {"table.0", "table.1", "table.2"}) {
            expected.insert(std::string(table) + ".weight.npy");
            if (state != 0) expected.insert(std::string(table) + ".state.npy");
        }
        for (const char* layer : {"bottom.0", "bottom.1", "top.0", "top.1"}) {
            for (const char* part : {".weight", ".bias"}) {
                expected.insert(std::string(layer) + part + ".npy");
                if (state != 0) expected.insert(std::string(layer) + part + ".state.npy");
            }
        }
        CHECK(names_in(folder) == expected);
        CHECK(read_bytes(folder / "weights_digest.txt") == model.digest() + "\n");

        std::vector<float> rows(300 * 5);
        read_npy(folder / "table.2.weight.npy", MatrixView<float>(rows.data(), 300, 5));
        std::vector<float> row(5);
        const RowId last = 346;
        model.table.read_rows(seq, Span<const RowId>(&last, 1), MatrixView<float>(row.data(), 1, 5));
        CHECK(std::equal(row.begin(), row.end(), rows.end() - 5, [](float a, float b) {
            return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
        }));
        CHECK(NpyReader<float>(folder / "top.0.weight.npy").rows() == 6);
        CHECK(NpyReader<float>(folder / "top.0.weight.npy").columns() == 5 + 6);
        CHECK(NpyReader<float>(folder / "top.0.bias.npy").rows() == 1);
        CHECK(NpyReader<float>(folder / "top.0.bias.npy").columns() == 6);
        if (state != 0) CHECK(NpyReader<float>(folder / "table.1.state.npy").columns() == state);
    }
}

// Catches blocks of rows that overlap or leave gaps: a table of more rows than one block.
TEST_CASE("checkpoint: a table of many rows comes back whole") {
    TemporaryFolder folder;
    Threads threads(3);
    Shape shape;
    shape.table_rows = {2, detail::checkpoint_rows + 4000, detail::checkpoint_rows};
    Model from(shape, OptimizerKind::rowwise_adagrad, all_home);
    fill_with_bits(from, 11);
    save_checkpoint(par(threads), folder.path().string(), from.table, from.dense);
    Model to(shape, OptimizerKind::rowwise_adagrad, all_slots);
    load_checkpoint(par(threads), folder.path().string(), to.table, to.dense);
    CHECK(to.digest() == from.digest());
    CHECK(bits_of(to) == bits_of(from));
}

// Catches a file that is read though it is not what the model needs; in each case the file is named.
TEST_CASE("checkpoint: a file that is missing, cut, longer, of another type or shape is one clear error") {
    const Shape shape;
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adagrad}) {
        TemporaryFolder folder;
        Model from(shape, kind, all_home);
        save_checkpoint(seq, folder.path().string(), from.table, from.dense);
        const auto load = [&] {
            Model to(shape, kind, all_home);
            load_checkpoint(seq, folder.path().string(), to.table, to.dense);
        };
        load();
        for (const std::string& name : names_in(folder)) {
            CAPTURE(name);
            const std::string path = folder / name;
            const std::string good = read_bytes(path);
            const auto refused = [&](const std::string& what) {
                const IoError error = load_error(load);
                const std::string message = error.what();
                CAPTURE(message);
                CHECK(error.path == path);
                CHECK(contains(message, path));
                CHECK(contains(message, what));
                return error;
            };
            std::filesystem::remove(path);
            refused("cannot be opened");
            if (name == "weights_digest.txt") {
                for (const char* other : {"", "0123", "0123456789abcdef\n"}) {
                    write_bytes(path, other);
                    refused("expected " + from.digest());
                }
                write_bytes(path, good);
                continue;
            }
            write_bytes(path, good.substr(0, good.size() - 1));
            CHECK(refused(concat("has ", good.size() - 1, " bytes, expected ", good.size())).byte ==
                  good.size() - 1);
            write_bytes(path, good.substr(0, 20));
            refused("ends within the header");
            write_bytes(path, "");
            refused("ends within the header");
            write_bytes(path, good + '\0');
            CHECK(refused("bytes, expected").byte == good.size());

            write_bytes(path, good);
            const NpyReader<float> shape_of(path);
            const auto rows = static_cast<std::size_t>(shape_of.rows());
            const auto columns = static_cast<std::size_t>(shape_of.columns());
            std::vector<float> floats((rows + 1) * (columns + 1));
            write_npy(path, MatrixView<const float>(floats.data(), rows + 1, columns));
            refused(concat("holds an array of [", rows + 1, ", ", columns, "], expected [", rows, ", ",
                           columns, "]"));
            write_npy(path, MatrixView<const float>(floats.data(), rows, columns + 1));
            refused(concat("expected [", rows, ", ", columns, "]"));
            const std::vector<double> doubles(rows * columns);
            write_npy(path, MatrixView<const double>(doubles.data(), rows, columns));
            refused("elements <f8, expected <f4");

            // One flipped bit of a value reads well, and is seen by the digest.
            std::string flipped = good;
            flipped.back() = static_cast<char>(flipped.back() ^ 1);
            write_bytes(path, flipped);
            const IoError error = load_error(load);
            CHECK(error.path == folder / "weights_digest.txt");
            CHECK(contains(error.what(), "the digest of what the folder holds"));
            write_bytes(path, good);
        }
        load();
    }
}

// Catches the checkpoint of one model loaded into another.
TEST_CASE("checkpoint: the folder of another model or optimizer is refused") {
    TemporaryFolder folder;
    const Shape shape;
    Model from(shape, OptimizerKind::adagrad, all_home);
    save_checkpoint(seq, folder.path().string(), from.table, from.dense);
    const auto error_of = [&](const Shape& other, OptimizerKind kind) {
        return load_error([&] {
            Model to(other, kind, all_home);
            load_checkpoint(seq, folder.path().string(), to.table, to.dense);
        });
    };
    CHECK(contains(error_of(shape, OptimizerKind::sgd).what(), "weights_digest.txt"));
    CHECK(contains(error_of(shape, OptimizerKind::rowwise_adagrad).what(), "table.0.state.npy"));
    Shape other;
    other.table_rows[1] = 8;
    CHECK(contains(error_of(other, OptimizerKind::adagrad).what(),
                   "holds an array of [7, 5], expected [8, 5]"));
    other = {};
    other.table_rows.push_back(9);
    CHECK(contains(error_of(other, OptimizerKind::adagrad).what(), "table.3.weight.npy"));
    other = {};
    other.top = {7, 1};
    CHECK(contains(error_of(other, OptimizerKind::adagrad).what(), "top.0.weight.npy"));
}

// Catches half a checkpoint that looks like a whole one.
TEST_CASE(
    "checkpoint: a save that fails leaves whole files, no leftovers, and a folder that says it is not "
    "whole") {
    TemporaryFolder folder;
    const Shape shape;
    Model before(shape, OptimizerKind::adagrad, all_home);
    fill_with_bits(before, 1);
    save_checkpoint(seq, folder.path().string(), before.table, before.dense);
    const std::set<std::string> names = names_in(folder);
    Model after(shape, OptimizerKind::adagrad, all_home);
    fill_with_bits(after, 2);
    // Table 2 has 6,128 bytes and does not fit; tables 0 and 1 do.
    {
        const FileSizeLimit limit(5000);
        const IoError error =
            load_error([&] { save_checkpoint(seq, folder.path().string(), after.table, after.dense); });
        CHECK(contains(error.path, "table.2."));
    }
    std::set<std::string> left = names;
    left.erase("weights_digest.txt");
    CHECK(names_in(folder) == left);
    for (const std::string& name : left) CHECK_NOTHROW(NpyReader<float>(folder / name));
    Model to(shape, OptimizerKind::adagrad, all_home);
    const std::vector<std::uint32_t> bits = bits_of(to);
    const IoError error =
        load_error([&] { load_checkpoint(seq, folder.path().string(), to.table, to.dense); });
    CHECK(error.path == folder / "weights_digest.txt");
    CHECK(bits_of(to) == bits);
    // And the next save makes it whole again.
    save_checkpoint(seq, folder.path().string(), after.table, after.dense);
    CHECK(names_in(folder) == names);
    load_checkpoint(seq, folder.path().string(), to.table, to.dense);
    CHECK(bits_of(to) == bits_of(after));
}

// Catches a folder that is asked for and silently not there.
TEST_CASE("checkpoint: folders are made; one that cannot be is an error") {
    TemporaryFolder folder;
    Model model(Shape{}, OptimizerKind::sgd, all_home);
    save_checkpoint(seq, folder / "a/b", model.table, model.dense);
    Model to(Shape{}, OptimizerKind::sgd, all_home);
    load_checkpoint(seq, folder / "a/b", to.table, to.dense);
    write_bytes(folder / "file", "x");
    CHECK(load_error([&] { save_checkpoint(seq, folder / "file", model.table, model.dense); }).path ==
          folder / "file");
    CHECK(read_bytes(folder / "file") == "x");
}

// Catches a digest whose order or content changed: a checkpoint of an earlier release could not be checked.
// The values were worked out apart from this code.
TEST_CASE("weights_digest: gives the golden value of a tiny model, for every placement and executor") {
    const std::vector<std::uint32_t> rows{0, 3, 4};
    const HotSet hot(5, rows);
    Threads threads(3);
    for (std::size_t k = 0; k < 3; ++k) {
        CAPTURE(k);
        const auto check = [&](auto placement) {
            Model model(tiny, kinds[k], placement);
            fill_tiny(model);
            CHECK(model.digest() == tiny_digests[k]);
            CHECK(weights_digest(par(threads), model.table, model.dense) == tiny_digests[k]);
            model.table.synchronise(seq, Heat::hot);
            CHECK(model.digest() == tiny_digests[k]);
            model.table.write_back(seq);
            CHECK(model.digest() == tiny_digests[k]);
        };
        check(all_home);
        check(all_slots);
        check(static_placement(hot));
    }
}

// Catches a digest that depends on the executor where rows are many.
TEST_CASE("weights_digest: equal for every executor over many rows") {
    Shape shape;
    shape.table_rows = {5000, 1, 1024};
    Model model(shape, OptimizerKind::adagrad, all_home);
    fill_with_bits(model, 5);
    const std::string expected = model.digest();
    for (const std::size_t count : {1u, 2u, 3u, 8u}) {
        Threads threads(count);
        CHECK(weights_digest(par(threads), model.table, model.dense) == expected);
    }
}

// Catches a digest that is blind to a bit of an embedding's weight or state, or of a dense weight, bias or
// state.
TEST_CASE("weights_digest: every bit of a model changes it, each in its own way") {
    for (const OptimizerKind kind : kinds) {
        CAPTURE(static_cast<int>(kind));
        Model model(tiny, kind, all_home);
        fill_tiny(model);
        std::set<std::string> seen{model.digest()};
        std::size_t tried = 0;
        const auto try_all = [&](Span<float> values) {
            for (float& value : values) {
                for (unsigned bit = 0; bit < 32; ++bit, ++tried) {
                    flip(value, bit);
                    seen.insert(model.digest());
                    flip(value, bit);
                }
            }
        };
        const RowsView<float> home = model.table.source().home[0];
        for (RowId row = 0; row < 5; ++row) {
            try_all({home.weights_of(row), 2});
            try_all({home.state_of(row), model.table.layout().state});
        }
        for (const auto& parameter : model.dense.parameters()) {
            try_all(parameter.values);
            try_all(parameter.state);
        }
        CHECK(seen.size() == tried + 1);
        CHECK(tried ==
              32 * (5 * (2 + model.table.layout().state) + 10 * (kind == OptimizerKind::sgd ? 1 : 2)));
    }
}

// Catches a digest of memory instead of numbers: padding differs between placements.
TEST_CASE("weights_digest: padding does not change it") {
    const Shape shape;  // of dim 5, so that rows have padding under every optimizer
    const HotSet hot(shape.space().rows(), shape.every_third_row());
    for (const OptimizerKind kind : kinds) {
        CAPTURE(static_cast<int>(kind));
        Model model(shape, kind, static_placement(hot));
        fill_with_bits(model, 4);
        model.table.synchronise(seq, Heat::hot);
        const std::string expected = model.digest();
        const RowLayout& layout = model.table.layout();
        std::size_t padding = 0;
        const auto spoil = [&](const RowsView<float>& view, RowId row) {
            for (std::size_t c = layout.dim + layout.state; c < layout.stride; ++c, ++padding)
                view.weights_of(row)[c] = 3.0f;
        };
        for (RowId row = 0; row < shape.space().rows(); ++row) spoil(model.table.source().home[0], row);
        for (Slot slot = 0; slot < model.table.slots(); ++slot) spoil(model.table.source().fast, slot);
        // The tensors of a dense model lie in one array, each from a line of 64 bytes on.
        const auto parameters = model.dense.parameters();
        for (std::size_t p = 0; p + 1 < parameters.size(); ++p) {
            float* const next = parameters[p + 1].values.data();
            for (float* at = parameters[p].values.end(); at < next; ++at, ++padding) *at = 3.0f;
        }
        CHECK(padding > 2 * shape.space().rows());
        CHECK(model.digest() == expected);
    }
}

// Catches a digest that looks at the tier that is behind.
TEST_CASE("weights_digest: a row counts where it is newest") {
    const Shape shape;
    const HotSet hot(shape.space().rows(), shape.every_third_row());
    Model model(shape, OptimizerKind::adagrad, static_placement(hot));
    const std::string before = model.digest();
    // At home, the slots being behind.
    float& at_home = *model.table.source().home[0].weights_of(hot.row_of(7));
    flip(at_home, 0);
    const std::string after = model.digest();
    CHECK(after != before);
    flip(at_home, 0);
    CHECK(model.digest() == before);
    // In its slot, once a hot batch has changed it there; at home it no longer counts.
    model.table.synchronise(seq, Heat::hot);
    const std::uint32_t located = fast_bit<std::uint32_t> | 7u;
    model.table.touched(seq, Span<const std::uint32_t>(&located, 1));
    flip(*model.table.source().fast.weights_of(7), 0);
    CHECK(model.digest() == after);
    flip(at_home, 5);
    CHECK(model.digest() == after);
    model.table.write_back(seq);
    CHECK(model.digest() == after);
    flip(at_home, 0);
    CHECK(model.digest() == before);
}
