// core.cpp : the verilated abbnn_core for a web page: one cycle after the other, and what every stage has given so far
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
//
// streams.inc, which abbnn demo writes, has a line STREAM(name, lanes, width, values) for the output stream of every stage,
// the last of which is the head: lanes of signed values of `width` bits a beat, `values` of them a frame.
#include <pthread.h>
#include <sched.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "Vabbnn_core.h"
#include "Vabbnn_core___024root.h"
#include "verilated.h"

// What Verilator's threads, of which there are none here, would ask the system.
extern "C" int pthread_getaffinity_np(pthread_t, size_t, struct cpu_set_t*) { return -1; }
extern "C" int pthread_setaffinity_np(pthread_t, size_t, const struct cpu_set_t*) { return -1; }
extern "C" int sched_getcpu() { return 0; }

namespace {

constexpr int PIXEL_BYTES = 3;
constexpr int NEVER = -1;
constexpr int RESET_CYCLES = 5;

// The page reads these as an array of 32-bit words, in this order.
struct Stream {
    uint32_t beats = 0;  // since the reset
    uint32_t moved = 0;  // a beat moves in the last cycle
    uint32_t waiting = 0;  // one is offered and not taken in the last cycle
    uint32_t stalls = 0;  // cycles in which one waited, since the reset
};

struct State {
    uint32_t cycles = 0;  // simulated since the reset
    uint32_t pixels = 0;  // taken
    uint32_t words = 0;  // of results given
    uint32_t entered = 0;  // the cycle in which the first pixel was taken
};

template <typename Data>
uint32_t word(const Data& data, unsigned index) {
    return static_cast<uint32_t>(static_cast<uint64_t>(data) >> (32 * index));
}

template <std::size_t Words>
uint32_t word(const VlWide<Words>& data, unsigned index) {
    return data[index];
}

// The signed value in bits low + width - 1 to low; width is 32 at most.
template <typename Data>
int32_t field(const Data& data, unsigned low, unsigned width) {
    const unsigned index = low / 32, shift = low % 32;
    uint64_t bits = word(data, index);
    if (shift + width > 32) bits |= static_cast<uint64_t>(word(data, index + 1)) << 32;
    return static_cast<int32_t>(static_cast<uint32_t>(bits >> shift) << (32 - width)) >> (32 - width);
}

enum Stages {
#define STREAM(name, lanes, width, values) name##_stage,
#include "streams.inc"
#undef STREAM
    STAGES
};

VerilatedContext context;
std::unique_ptr<Vabbnn_core> core;
State state;
Stream streams[STAGES];
std::vector<int32_t> maps[STAGES];
std::vector<uint8_t> frames;
uint32_t pixels_a_frame = 1;
// Scores and class of each frame; the cycle of each class.
std::vector<int32_t> results;
std::vector<uint32_t> left;

template <typename Data>
bool observe(int stage, bool valid, bool ready, const Data& data, unsigned lanes, unsigned width, unsigned values) {
    Stream& stream = streams[stage];
    stream.moved = valid && ready;
    stream.waiting = valid && !ready;
    stream.stalls += stream.waiting;
    if (!stream.moved) return false;
    const unsigned begin = stream.beats % (values / lanes) * lanes;
    for (unsigned lane = 0; lane < lanes; lane++) maps[stage][begin + lane] = field(data, lane * width, width);
    stream.beats++;
    return true;
}

// One cycle. Whether a beat of stage `watched` moves in it; STAGES stands for any stage, NEVER for none.
bool cycle(int watched) {
    const uint32_t pixels = frames.size() / PIXEL_BYTES;
    const bool offered = state.pixels < pixels;
    core->s_axis_tvalid = offered;
    if (offered) {
        const uint8_t* pixel = &frames[PIXEL_BYTES * state.pixels];
        core->s_axis_tdata = pixel[0] | pixel[1] << 8 | pixel[2] << 16;
        core->s_axis_tlast = state.pixels % pixels_a_frame == pixels_a_frame - 1;
    }
    core->clk = 0;
    core->eval();
    bool seen = false;
    const auto* root = core->rootp;
#define STREAM(name, lanes, width, values)                                                                          \
    if (observe(name##_stage, root->abbnn_core__DOT__##name##_tvalid, root->abbnn_core__DOT__##name##_tready,       \
                root->abbnn_core__DOT__##name##_tdata, lanes, width, values))                                       \
        seen |= watched == STAGES || watched == name##_stage;
#include "streams.inc"
#undef STREAM
    if (core->m_axis_tvalid && state.words < results.size()) {
        results[state.words++] = static_cast<int32_t>(core->m_axis_tdata);
        if (core->m_axis_tlast) left.push_back(state.cycles);
    }
    const bool taken = offered && core->s_axis_tready;
    if (taken && state.pixels == 0) state.entered = state.cycles;
    core->clk = 1;
    core->eval();
    state.pixels += taken;
    state.cycles++;
    return seen;
}

}  // namespace

extern "C" {

// Resets the core. `count` frames of `pixels` pixels follow each other from then on: their bytes go to where the answer
// points, raster order, red first. The first call reads the memory files.
uint8_t* core_reset(uint32_t count, uint32_t pixels) {
    if (!core) core = std::make_unique<Vabbnn_core>(&context);
    core->rst = 1;
    core->s_axis_tvalid = 0;
    core->m_axis_tready = 1;
    for (int edge = 0; edge < 2 * RESET_CYCLES; edge++) {
        core->clk = edge & 1;
        core->eval();
    }
    core->rst = 0;
    state = State();
    pixels_a_frame = pixels;
    frames.assign(static_cast<std::size_t>(count) * pixels * PIXEL_BYTES, 0);
    left.clear();
    left.reserve(count);
    std::size_t words = 0;
#define STREAM(name, lanes, width, values)   \
    streams[name##_stage] = Stream();        \
    maps[name##_stage].assign(values, 0);    \
    words = values;
#include "streams.inc"
#undef STREAM
    results.assign(count * words, 0);
    return frames.data();
}

// Simulates up to `cycles` cycles, fewer if stage `watched` moves a beat (-1: none is watched; as many as there are
// stages: any), or if the last result has left. How many they were.
uint32_t core_run(uint32_t cycles, int watched) {
    uint32_t done = 0;
    while (done < cycles && state.words < results.size()) {
        done++;
        if (cycle(watched)) break;
    }
    return done;
}

const State* core_state() { return &state; }
const Stream* core_streams() { return streams; }
const int32_t* core_map(int stage) { return maps[stage].data(); }
const int32_t* core_results() { return results.data(); }
const uint32_t* core_left() { return left.data(); }

}  // extern "C"
