// SPDX-License-Identifier: Apache-2.0
//
// The parameters of a dense model between its arrays on the device, where tensors are padded, and
// DenseParameters on the host, where they are not.
//
//   cuda::detail::write_tensors(layers, parameters, values, state);
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/models/dense_parameters.hpp"
#include "fae/models/mlp.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// Calls f(parameter, rows, columns, offset, stride) for every tensor: a layer's weights, then its bias.
template <class F>
void for_each_tensor(const std::vector<DeviceLayer>& layers, F&& f) {
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const DeviceLayer& layer = layers[l];
        f(2 * l, layer.out, layer.in, layer.weight, layer.in_stride());
        f(2 * l + 1, std::size_t{1}, layer.out, layer.bias, layer.out_stride());
    }
}

/// Takes arrays as they lie on the device, already in host memory, apart.
/// @param state  empty where `to` has none
inline void read_tensors(const std::vector<DeviceLayer>& layers, const std::vector<float>& values,
                         const std::vector<float>& state, DenseParameters& to) {
    for_each_tensor(layers, [&](std::size_t p, std::size_t rows, std::size_t columns, std::size_t at,
                                std::size_t stride) {
        const Parameter<float>& tensor = to.parameters()[p];
        for (std::size_t r = 0; r < rows; ++r) {
            std::copy_n(values.data() + at + r * stride, columns, tensor.values.data() + r * columns);
            if (state.empty()) continue;
            std::copy_n(state.data() + at + r * stride, columns, tensor.state.data() + r * columns);
        }
    });
}

/// Lays parameters out as they lie on the device.
/// @param values, state  as long as the arrays there, zero; state empty where there is none
/// @throws ContractError if the parameters are another shape's
inline void write_tensors(const std::vector<DeviceLayer>& layers, const DenseParameters& from,
                          std::vector<float>& values, std::vector<float>& state) {
    const std::vector<Parameter<float>>& list = from.parameters();
    require(list.size() == 2 * layers.size(),
            [&] { return concat("there are ", list.size(), " parameters, expected ", 2 * layers.size()); });
    for_each_tensor(layers, [&](std::size_t p, std::size_t rows, std::size_t columns, std::size_t at,
                                std::size_t stride) {
        require(list[p].rows == rows && list[p].columns == columns &&
                    list[p].state.size() == (state.empty() ? 0 : rows * columns),
                [&] {
                    return concat(list[p].name, " is [", list[p].rows, ", ", list[p].columns, "] with ",
                                  list[p].state.size(), " elements of state, expected [", rows, ", ", columns,
                                  "] with ", state.empty() ? 0 : rows * columns);
                });
        for (std::size_t r = 0; r < rows; ++r) {
            std::copy_n(list[p].values.data() + r * columns, columns, &values[at + r * stride]);
            if (state.empty()) continue;
            std::copy_n(list[p].state.data() + r * columns, columns, &state[at + r * stride]);
        }
    });
}

}  // namespace fae::inline FAE_ABI::cuda::detail
