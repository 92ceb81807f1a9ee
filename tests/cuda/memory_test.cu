// SPDX-License-Identifier: Apache-2.0
//
// Spaces, copies, streams and events of the device.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"

namespace cuda = fae::cuda;
using fae::Buffer;
using fae::Span;

namespace {

__global__ void add_one(std::uint32_t* values, std::size_t count) {
    for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < count;
         i += std::size_t{gridDim.x} * blockDim.x) {
        values[i] += 1;
    }
}

}  // namespace

// Would catch a copy that moves the wrong number of bytes, or one that is not ordered behind the kernel.
TEST_CASE("cuda: what is copied to the device, changed there and copied back is what a loop would give") {
    constexpr std::size_t count = 100'003;
    std::vector<std::uint32_t> values(count);
    std::iota(values.begin(), values.end(), 7u);
    Buffer<std::uint32_t, cuda::DeviceSpace> device(count);
    Buffer<std::uint32_t, cuda::PinnedSpace> back(count);
    const cuda::Stream stream;
    cuda::copy(cuda::on(stream), values, device.span());
    add_one<<<cuda::launch_grid(count, 256), 256, 0, stream.get()>>>(device.data(), count);
    cuda::check_launch("add_one");
    cuda::copy(cuda::on(stream), device.span(), back.span());
    stream.synchronise();
    bool equal = true;
    for (std::size_t i = 0; i < count; ++i) equal = equal && back[i] == i + 8;
    CHECK(equal);
}

// Would catch pinned memory that the device cannot address at the host's address.
TEST_CASE("cuda: a kernel addresses pinned memory at the host's address") {
    Buffer<std::uint32_t, cuda::PinnedSpace> values(1000);
    for (std::uint32_t i = 0; i < 1000; ++i) values[i] = i;
    const cuda::Stream stream;
    add_one<<<4, 256, 0, stream.get()>>>(values.data(), values.size());
    cuda::check_launch("add_one");
    stream.synchronise();
    CHECK(values[0] == 1);
    CHECK(values[999] == 1000);
}

// Would catch an event that does not hold the second stream back.
TEST_CASE("cuda: a stream that waits for an event sees what was queued before it") {
    constexpr std::size_t count = std::size_t{1} << 22;
    Buffer<std::uint32_t, cuda::DeviceSpace> values(count);
    Buffer<std::uint32_t, cuda::PinnedSpace> back(count);
    const cuda::Stream first;
    const cuda::Stream second(cuda::Priority::high);
    cuda::Event done;
    cuda::fill_bytes(cuda::on(first), values.span(), 0);
    for (int i = 0; i < 100; ++i) {
        add_one<<<cuda::launch_grid(count, 256), 256, 0, first.get()>>>(values.data(), count);
        cuda::check_launch("add_one");
    }
    done.record(cuda::on(first));
    done.wait(cuda::on(second));
    cuda::copy(cuda::on(second), values.span(), back.span());
    second.synchronise();
    CHECK(back[0] == 100);
    CHECK(back[count - 1] == 100);
}

// Would catch an error that is swallowed, or one that is remembered and blamed on the next call.
TEST_CASE("cuda: an allocation that cannot be met says how many bytes were asked for, and is forgotten") {
    using Device = Buffer<std::byte, cuda::DeviceSpace>;
    CHECK_THROWS_WITH_AS(Device(std::size_t{1} << 50),
                         "allocation of 1125899906842624 bytes of device memory: cudaErrorMemoryAllocation "
                         "(out of memory)",
                         fae::CudaError);
    CHECK_NOTHROW(cuda::check_launch("nothing"));
}

// Would catch a launch that is refused without a word.
TEST_CASE("cuda: a launch that is refused names its kernel") {
    Buffer<std::uint32_t, cuda::DeviceSpace> values(1);
    add_one<<<1, 4096>>>(values.data(), 1);
    CHECK_THROWS_WITH_AS(cuda::check_launch("add_one"),
                         doctest::Contains("launch of add_one: cudaErrorInvalid"), fae::CudaError);
}

TEST_CASE("cuda: copies of unequal sizes are refused with both") {
    std::vector<std::uint32_t> values(3);
    Buffer<std::uint32_t, cuda::DeviceSpace> device(4);
    CHECK_THROWS_WITH_AS(cuda::copy(cuda::On{}, values, device.span()), "a copy of 3 elements, expected 4",
                         fae::ContractError);
}
