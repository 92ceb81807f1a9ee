// SPDX-License-Identifier: Apache-2.0
//
// How fast Criteo logs are read, in bytes of text: the line parser alone (labels, integers, tokens), with
// log(1 + x), and read_criteo whole (with vocabularies), plain and compressed. Items are inputs.
//
//   build/release/bench/io/criteo --benchmark_filter=parse
//
// The text repeats the shape of real lines: integer widths and shares of empty fields are those of Criteo's
// day_0; each table draws its tokens from a skewed range of its own.
#include <benchmark/benchmark.h>
#include <zlib.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/criteo.hpp"
#include "fae/io/gzip.hpp"

namespace {

constexpr std::size_t text_inputs = 200'000;  // about 50 MB

/// Synthetic lines in the shape of day_0.
const std::string& sample_text() {
    static const std::string text = [] {
        // Share of empty fields and typical size of the 13 integers, as in the first lines of day_0.
        constexpr double empty[13] = {.4, 0, .2, .2, .2, .0, .0, .0, .0, .3, .0, .3, .2};
        constexpr double scale[13] = {3, 40, 30, 8, 10, 1, 3, 40, 60, 2, 8, 3000, 8};
        std::string lines;
        lines.reserve(text_inputs * 270);
        fae::Philox random(1);
        char field[32];
        for (std::size_t i = 0; i < text_inputs; ++i) {
            lines += random.uniform() < 0.03 ? '1' : '0';
            for (std::size_t f = 0; f < 13; ++f) {
                lines += '\t';
                if (random.uniform() < empty[f]) continue;
                const double size = -std::log1p(-random.uniform()) * scale[f];
                std::snprintf(field, sizeof field, "%lld", static_cast<long long>(size) - (f == 1 ? 1 : 0));
                lines += field;
            }
            for (std::size_t f = 0; f < 26; ++f) {
                lines += '\t';
                if (random.uniform() < 0.03) continue;
                // Ranks with a heavy head: exp of a uniform exponent.
                const double span = f % 4 == 0 ? 14.0 : 3.0 + static_cast<double>(f % 5) * 1.5;
                const auto rank = static_cast<std::uint64_t>(std::exp(span * random.uniform()));
                std::snprintf(field, sizeof field, "%08x",
                              static_cast<unsigned>(fae::mix64(rank * 32 + f) >> 32));
                lines += field;
            }
            lines += '\n';
        }
        return lines;
    }();
    return text;
}

const std::string& compressed_text() {
    static const std::string packed = [] {
        const std::string& text = sample_text();
        z_stream stream{};
        deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
        std::string out(deflateBound(&stream, text.size()), '\0');
        stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
        stream.avail_in = static_cast<uInt>(text.size());
        stream.next_out = reinterpret_cast<Bytef*>(out.data());
        stream.avail_out = static_cast<uInt>(out.size());
        deflate(&stream, Z_FINISH);
        out.resize(stream.total_out);
        deflateEnd(&stream);
        return out;
    }();
    return packed;
}

void count(benchmark::State& state) {
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(sample_text().size()));
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(text_inputs));
}

/// Lines to columns, one thread; with log(1 + x) of all integers where Log.
template <bool Log>
void parse(benchmark::State& state) {
    const std::string& text = sample_text();
    constexpr std::size_t chunk = std::size_t{256} << 10;
    fae::TextBlock<fae::CriteoFormat> block;
    const fae::LogFeature log;
    std::vector<float> dense(chunk);
    const auto pass = [&] {
        std::size_t inputs = 0;
        for (std::size_t at = 0; at < text.size();) {
            std::size_t end = std::min(at + chunk, text.size());
            end = text.rfind('\n', end - 1) + 1;
            block.parse({text.data() + at, end - at}, false);
            inputs += block.inputs();
            if constexpr (Log) {
                for (std::size_t f = 0; f < 13; ++f) {
                    const fae::Span<const std::int64_t> column = block.integers(f);
                    for (std::size_t i = 0; i < column.size(); ++i) dense[i] = log(column[i]);
                    benchmark::DoNotOptimize(dense.data());
                }
            }
            benchmark::DoNotOptimize(block.tokens(0).data());
            at = end;
        }
        return inputs;
    };
    if (pass() != text_inputs) {
        state.SkipWithError("the parser found another number of inputs than was written");
        return;
    }
    for (auto _ : state) benchmark::DoNotOptimize(pass());
    count(state);
}

template <class Make>
void read(benchmark::State& state, const Make& make) {
    fae::Threads threads(static_cast<std::size_t>(state.range(0)));
    const fae::Dataset expected = fae::read_criteo(fae::seq, fae::MemorySource(sample_text()));
    if (fae::read_criteo(fae::par(threads), make()).fingerprint != expected.fingerprint ||
        expected.inputs() != text_inputs) {
        state.SkipWithError("the data set differs from the one read by one thread from plain text");
        return;
    }
    for (auto _ : state) {
        const fae::Dataset data = fae::read_criteo(fae::par(threads), make());
        benchmark::DoNotOptimize(data.values.data());
    }
    count(state);
}

void read_plain(benchmark::State& state) {
    read(state, [] { return fae::MemorySource(sample_text()); });
}
void read_gzip(benchmark::State& state) {
    read(state, [] { return fae::GzipSource(fae::MemorySource(compressed_text())); });
}

BENCHMARK(parse<false>)->Name("criteo/parse/columns/threads:1")->Unit(benchmark::kMillisecond);
BENCHMARK(parse<true>)->Name("criteo/parse/columns_and_log/threads:1")->Unit(benchmark::kMillisecond);
BENCHMARK(read_plain)
    ->Name("criteo/read/plain")
    ->ArgName("threads")
    ->RangeMultiplier(2)
    ->Range(1, 8)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(read_gzip)
    ->Name("criteo/read/gzip")
    ->ArgName("threads")
    ->RangeMultiplier(2)
    ->Range(1, 8)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
