// SPDX-License-Identifier: Apache-2.0
#include "rates_file.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../train_dlrm/console.hpp"
#include "fae/advise/host_probe.hpp"
#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/random.hpp"
#include "fae/io/atomic_file.hpp"
#include "fae/io/byte_source.hpp"
#include "fae/models/dlrm.hpp"
#if defined(FAE_EXAMPLES_WITH_CUDA)
#include "device_probe.hpp"
#endif

namespace advise {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// A number of an object that must be there, finite and at least 0.
double number(const json& object, const char* name) {
    const double value = object.at(name).get<double>();
    if (!(value >= 0) || value > 1e300) throw std::runtime_error(std::string(name) + " is no rate");
    return value;
}

// The same for what something is divided by.
double positive(const json& object, const char* name) {
    const double value = number(object, name);
    if (value <= 0) throw std::runtime_error(std::string(name) + " is 0, expected more");
    return value;
}

std::vector<fae::DenseCost> dense_of(const json& list) {
    std::vector<fae::DenseCost> costs;
    for (const json& one : list)
        costs.push_back({positive(one, "flops_per_input"), positive(one, "batch"), positive(one, "seconds")});
    return costs;
}

ordered_json json_of(const std::vector<fae::DenseCost>& costs) {
    ordered_json list = ordered_json::array();
    for (const fae::DenseCost& cost : costs) {
        list.push_back(
            {{"flops_per_input", cost.flops_per_input}, {"batch", cost.batch}, {"seconds", cost.seconds}});
    }
    return list;
}

std::vector<fae::MovingCost> moving_of(const json& device) {
    std::vector<fae::MovingCost> costs;
    if (!device.contains("home")) return costs;
    for (const json& one : device.at("home")) {
        costs.push_back({positive(one, "batch"), number(one, "rows"), positive(one, "seconds")});
    }
    return costs;
}

ordered_json json_of(const std::vector<fae::MovingCost>& costs) {
    ordered_json list = ordered_json::array();
    for (const fae::MovingCost& cost : costs) {
        list.push_back({{"batch", cost.batch}, {"rows", cost.rows}, {"seconds", cost.seconds}});
    }
    return list;
}

std::vector<fae::PlanningCost> planning_of(const json& device) {
    std::vector<fae::PlanningCost> costs;
    if (!device.contains("planning")) return costs;
    for (const json& one : device.at("planning"))
        costs.push_back({number(one, "window"), number(one, "seconds_a_row")});
    return costs;
}

ordered_json json_of(const std::vector<fae::PlanningCost>& costs) {
    ordered_json list = ordered_json::array();
    for (const fae::PlanningCost& cost : costs)
        list.push_back({{"window", cost.window}, {"seconds_a_row", cost.seconds}});
    return list;
}

std::string processor() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos)
            return line.substr(line.find(": ") + 2);
    }
    return "host";
}

// The dense model's step at the batch size asked for and at half of it.
std::vector<fae::DenseCost> probe_dense(const Executor& exec, const train_dlrm::Options& options,
                                        const fae::DlrmShape& shape, const fae::HostProbe& probe) {
    std::vector<fae::DenseCost> costs;
    for (const std::uint64_t part : {2u, 1u}) {
        const auto batch = static_cast<std::size_t>(std::max<std::uint64_t>(options.batch / part, 1));
        if (!costs.empty() && costs.back().batch == static_cast<double>(batch)) continue;
        fae::Dlrm<float> model(shape, batch, 1, options.optimizer);
        std::vector<float> dense(batch * shape.dense_features);
        std::vector<float> pooled(batch * shape.sparse_features * shape.dim);
        std::vector<std::uint8_t> labels(batch);
        fae::Philox random(3);
        for (float& x : dense) x = static_cast<float>(random.uniform());
        for (float& x : pooled) x = static_cast<float>(0.1 * random.normal());
        for (std::size_t i = 0; i < batch; ++i) labels[i] = i % 4 == 0 ? 1 : 0;
        const double seconds = fae::Stopwatch(probe).median([&](std::size_t) {
            model.forward(
                exec, fae::MatrixView<const float>(dense.data(), batch, shape.dense_features),
                fae::MatrixView<const float>(pooled.data(), batch, shape.sparse_features * shape.dim));
            static_cast<void>(model.loss(exec, labels));
            static_cast<void>(model.backward(exec, labels));
            model.step(exec, 1e-4F);
        });
        costs.push_back({static_cast<double>(shape.training_flops()), static_cast<double>(batch), seconds});
    }
    return costs;
}

}  // namespace

fae::MachineRates read_rates(const std::string& path) {
    fae::FileSource file(path);
    std::string text;
    std::vector<char> block(65536);
    for (std::size_t n = file.read({block.data(), block.size()}); n != 0;
         n = file.read({block.data(), block.size()})) {
        text.append(block.data(), n);
    }
    try {
        const json all = json::parse(text);
        fae::MachineRates rates;
        rates.machine = all.at("machine").get<std::string>();
        rates.cores = all.at("cores").get<std::uint64_t>();
        rates.load_seconds_per_byte = number(all, "load_seconds_per_byte");
        rates.fill_seconds_per_byte = number(all, "fill_seconds_per_byte");
        rates.move_up_seconds_per_byte = number(all, "move_up_seconds_per_byte");
        rates.move_down_seconds_per_byte = number(all, "move_down_seconds_per_byte");
        rates.plan_seconds = number(all, "plan_seconds");
        for (const json& one : all.at("rows")) {
            rates.rows.push_back({positive(one, "record_bytes"), positive(one, "working_bytes"),
                                  positive(one, "gather"), positive(one, "scatter"),
                                  positive(one, "scatter_fast"), positive(one, "scatter_home")});
        }
        rates.dense = dense_of(all.at("dense"));
        if (rates.rows.empty() || rates.dense.empty()) throw std::runtime_error("rows or dense is empty");
        if (all.contains("device")) {
            const json& of = all.at("device");
            fae::DeviceRates device;
            device.name = of.at("name").get<std::string>();
            device.memory_bytes = positive(of, "memory_bytes");
            device.gather_bandwidth = positive(of, "gather_bytes_per_second");
            device.link_up = positive(of, "link_up_bytes_per_second");
            device.link_down = positive(of, "link_down_bytes_per_second");
            device.host_gather = positive(of, "host_gather_bytes_per_second");
            device.host_scatter = positive(of, "host_scatter_bytes_per_second");
            device.launch_seconds = number(of, "launch_seconds");
            for (const auto& [name, rate] : {std::pair("sync_up_bytes_per_second", &device.sync_up),
                                             std::pair("sync_down_bytes_per_second", &device.sync_down)}) {
                if (of.contains(name)) *rate = positive(of, name);
            }
            device.home = moving_of(of);
            device.planning = planning_of(of);
            device.dense = dense_of(of.at("dense"));
            if (device.dense.empty()) throw std::runtime_error("device: dense is empty");
            rates.device = device;
        }
        return rates;
    } catch (const std::exception& error) {
        throw fae::FormatError(path, 1, 1, std::string("no rates of a machine: ") + error.what());
    }
}

void write_rates(const std::string& path, const fae::MachineRates& rates) {
    ordered_json all;
    all["machine"] = rates.machine;
    all["cores"] = rates.cores;
    all["load_seconds_per_byte"] = rates.load_seconds_per_byte;
    all["fill_seconds_per_byte"] = rates.fill_seconds_per_byte;
    all["move_up_seconds_per_byte"] = rates.move_up_seconds_per_byte;
    all["move_down_seconds_per_byte"] = rates.move_down_seconds_per_byte;
    all["plan_seconds"] = rates.plan_seconds;
    all["rows"] = ordered_json::array();
    for (const fae::RowCosts& costs : rates.rows) {
        all["rows"].push_back({{"record_bytes", costs.record_bytes},
                               {"working_bytes", costs.working_bytes},
                               {"gather", costs.gather},
                               {"scatter", costs.scatter},
                               {"scatter_fast", costs.scatter_fast},
                               {"scatter_home", costs.scatter_home}});
    }
    all["dense"] = json_of(rates.dense);
    if (rates.device) {
        const fae::DeviceRates& device = *rates.device;
        all["device"] = {{"name", device.name},
                         {"memory_bytes", device.memory_bytes},
                         {"gather_bytes_per_second", device.gather_bandwidth},
                         {"link_up_bytes_per_second", device.link_up},
                         {"link_down_bytes_per_second", device.link_down},
                         {"host_gather_bytes_per_second", device.host_gather},
                         {"host_scatter_bytes_per_second", device.host_scatter},
                         {"launch_seconds", device.launch_seconds},
                         {"sync_up_bytes_per_second", device.sync_up},
                         {"sync_down_bytes_per_second", device.sync_down},
                         {"dense", json_of(device.dense)},
                         {"home", json_of(device.home)},
                         {"planning", json_of(device.planning)}};
    }
    fae::AtomicFile file(path);
    file.write(all.dump(1) + "\n");
    file.commit();
}

fae::MachineRates probe_machine(const Executor& exec, const train_dlrm::Options& options,
                                const fae::DlrmShape& shape) {
    fae::HostProbe probe;
    probe.dim = static_cast<std::uint32_t>(shape.dim);
    probe.optimizer = options.optimizer;
    probe.batch = static_cast<std::size_t>(options.batch);
    probe.features = shape.sparse_features;
    probe.dense_features = shape.dense_features;
    fae::MachineRates rates = fae::probe_host(exec, probe);
    train_dlrm::stop_if_interrupted();
    rates.machine = processor();
    rates.dense = probe_dense(exec, options, shape, probe);
#if defined(FAE_EXAMPLES_WITH_CUDA)
    rates.device = probe_device(exec, options, shape);
    if (rates.device) rates.machine += ", " + rates.device->name;
#endif
    return rates;
}

}  // namespace advise
