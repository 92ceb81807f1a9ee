// SPDX-License-Identifier: Apache-2.0
//
// The command line of train_dlrm: what the user asked for, checked as far as it can be without reading any
// data. Its source and model are advise's too (source_options.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "exit_code.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/schedule/batch_scheduler.hpp"

namespace train_dlrm {

/// A size in bytes, or a share of a whole: the model's row bytes, or the budget.
struct Size {
    double value = 0;
    bool is_percent = false;

    /// The bytes that this is of a whole.
    [[nodiscard]] std::uint64_t of(std::uint64_t whole_bytes) const;
    /// From 0, 4096B, 64KiB, 256MiB, 1.5GiB or 10%.
    /// @param option  named where it is refused
    /// @throws UsageError otherwise
    [[nodiscard]] static Size parse(const std::string& option, const std::string& text);
};

enum class Placement : std::uint8_t { lookahead, static_hot, all_home, all_slots };
enum class Device : std::uint8_t { cpu, cuda };

/// Everything that the command line says. Where a packed file fixes an option, the optional ones tell "not
/// given".
struct Options {
    // The source.
    std::string data;
    std::string format;     // criteo, movielens
    std::string synthetic;  // kaggle, terabyte, small
    std::uint64_t inputs = 0;
    std::optional<double> zipf;
    std::string unpack;
    std::string test;
    bool skip_malformed = false;
    std::optional<std::uint64_t> max_rows;
    std::optional<std::string> vocabulary;  // first-seen, hash
    std::optional<double> validation;
    std::optional<double> sample;
    std::optional<std::uint64_t> seed;
    std::optional<Size> budget;
    bool hot_rows_for_inputs = false;  // the hot rows are those that make most inputs hot

    // The model and its training.
    std::string model = "rmc2";
    std::optional<std::uint32_t> dim;
    fae::OptimizerKind optimizer = fae::OptimizerKind::sgd;
    Placement placement = Placement::lookahead;
    std::optional<Size> window;              // of the budget; none: automatic
    std::optional<std::uint64_t> lookahead;  // none: automatic
    fae::Order order = fae::Order::shuffled;
    std::optional<unsigned> fixed_rate;  // none: adaptive
    std::uint64_t batch = 1024;
    std::uint64_t epochs = 1;
    double lr = 0.1;
    std::uint64_t warmup = 0;
    std::uint64_t decay_start = 0;
    std::uint64_t decay_steps = 0;
    std::size_t threads = 0;
    Device device = Device::cpu;
    bool tf32 = true;  // on a GPU; the CPU computes in fp32

    // What to write.
    std::string json;
    std::string report;
    std::string trace;
    std::string pack;
    std::string save;
    std::string init;

    // The values where neither the command line nor a packed file says another.
    static constexpr double default_validation = 0.1;
    static constexpr double default_sample = 1.0;
    static constexpr std::uint64_t default_seed = 1;
    static constexpr double default_budget = 256.0 * 1024 * 1024;

    [[nodiscard]] bool has_source() const { return !data.empty() || !synthetic.empty(); }
    [[nodiscard]] const char* placement_name() const;
    [[nodiscard]] const char* order_name() const;
    [[nodiscard]] const char* optimizer_name() const;
    [[nodiscard]] const char* device_name() const { return device == Device::cuda ? "cuda" : "cpu"; }
    /// Of the matrix products.
    [[nodiscard]] const char* precision_name() const {
        return device == Device::cuda && tf32 ? "tf32" : "fp32";
    }
};

/// Reads the command line. Prints help or version itself and then returns none.
/// @throws UsageError with one line of text
[[nodiscard]] std::optional<Options> parse_options(int argc, char** argv);

}  // namespace train_dlrm
