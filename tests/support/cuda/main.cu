// SPDX-License-Identifier: Apache-2.0
//
// The main function of the test programs that need a device; compiled once. Without a device the program says
// why and ends with 77, which ctest counts as skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <exception>
#include <iostream>

#include "fae/cuda/device.cuh"

int main(int argc, char** argv) {
    try {
        const fae::cuda::Device& device = fae::cuda::current_device();
        std::cout << "on " << device.name << '\n';
    } catch (const fae::CudaError& error) {
        std::cout << "skipped: " << error.what() << '\n';
        return 77;
    }
    return doctest::Context(argc, argv).run();
}
