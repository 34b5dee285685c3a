// volume.cpp : streams images through a verilated abbnn_core and writes what comes out
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
//
//     volume PIXELS CLASSES PATIENCE QUIET BURST SEED  < frames  > results
//
// stdin:  frames of PIXELS * 3 bytes, raster order, red first. They enter back to back, tlast on each one's last pixel.
// stdout: a line a frame: the cycles of its first pixel and of its class, the class, the scores. Cycle 0 is the first
//         behind the reset. Behind the last frame and QUIET cycles more, a line "end FRAMES CYCLES".
// stderr: one line if something is wrong; the exit status is 1 then, and 2 for arguments that cannot be used.
//
// BURST 0: pixels always wait and results are always taken. Otherwise both ends are opened and closed at random in runs
// of up to 2^BURST cycles, all lengths' magnitudes being as likely; equal SEEDs give equal runs.
// PATIENCE cycles in which neither end transfers a beat, the output being open, are a deadlock.
#include <cinttypes>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include "Vabbnn_core.h"
#include "verilated.h"

namespace {

[[noreturn]] void fail(const char* format, ...) {
    std::fflush(stdout);
    va_list values;
    va_start(values, format);
    std::vfprintf(stderr, format, values);
    va_end(values);
    std::fputc('\n', stderr);
    std::_Exit(1);
}

// Open and closed runs of random lengths; always open without bursts.
class Gate {
  public:
    Gate(uint64_t seed, unsigned burst) : state(seed), burst(burst) {}

    bool open() {
        if (burst == 0) return true;
        if (left == 0) {
            is_open = !is_open;
            const uint64_t longest = uint64_t{1} << (random() % (burst + 1));
            left = 1 + random() % longest;
        }
        left--;
        return is_open;
    }

  private:
    // splitmix64
    uint64_t random() {
        uint64_t z = (state += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    uint64_t state;
    unsigned burst;
    uint64_t left = 0;
    bool is_open = false;
};

// The frames on stdin, pixel by pixel.
class Pixels {
  public:
    explicit Pixels(size_t pixels) : bytes(3 * pixels) { read(); }

    bool ended() const { return at_end; }
    bool first() const { return place == 0; }
    bool last() const { return place + 3 == bytes.size(); }
    uint32_t value() const { return bytes[place] | bytes[place + 1] << 8 | bytes[place + 2] << 16; }

    void next() {
        place += 3;
        if (place == bytes.size()) {
            frames++;
            read();
        }
    }

  private:
    void read() {
        const size_t got = std::fread(bytes.data(), 1, bytes.size(), stdin);
        if (got != 0 && got != bytes.size())
            fail("stdin ends %zu bytes into frame %" PRIu64 " of %zu bytes", got, frames, bytes.size());
        at_end = got == 0;
        place = 0;
    }

    std::vector<uint8_t> bytes;
    size_t place = 0;
    uint64_t frames = 0;
    bool at_end = false;
};

// The result stream: its protocol, and a line a frame.
class Results {
  public:
    explicit Results(size_t classes) : scores(classes) {}

    uint64_t frames = 0;

    // One cycle of the stream; `entered` has the first pixels' cycles of the frames in flight. True if a beat moves.
    bool step(const Vabbnn_core& core, uint64_t cycle, std::deque<uint64_t>& entered) {
        const bool valid = core.m_axis_tvalid;
        if (waiting && !valid) fail("cycle %" PRIu64 ": m_axis_tvalid falls before m_axis_tready", cycle);
        if (waiting && (core.m_axis_tdata != held_data || core.m_axis_tlast != held_last))
            fail("cycle %" PRIu64 ": m_axis changes before m_axis_tready", cycle);
        waiting = valid && !core.m_axis_tready;
        held_data = core.m_axis_tdata;
        held_last = core.m_axis_tlast;
        if (!valid || waiting) return false;
        if (entered.empty()) fail("cycle %" PRIu64 ": a result and no frame in flight", cycle);
        const bool last = beats == scores.size();
        if (last != held_last)
            fail("frame %" PRIu64 ": beat %zu of %zu %s tlast", frames, beats + 1, scores.size() + 1,
                 last ? "lacks" : "has");
        if (!last) {
            scores[beats++] = static_cast<int32_t>(held_data);
            return true;
        }
        std::printf("%" PRIu64 " %" PRIu64 " %" PRIu32, entered.front(), cycle, held_data);
        for (const int32_t score : scores) std::printf(" %" PRId32, score);
        std::putchar('\n');
        if (std::fflush(stdout) != 0) fail("stdout is closed");
        entered.pop_front();
        beats = 0;
        frames++;
        return true;
    }

  private:
    std::vector<int32_t> scores;
    size_t beats = 0;
    bool waiting = false;
    uint32_t held_data = 0;
    bool held_last = false;
};

uint64_t number(const char* text) {
    char* end = nullptr;
    const uint64_t value = std::strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0') {
        std::fprintf(stderr, "volume: %s is no number\n", text);
        std::exit(2);
    }
    return value;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 7 || number(argv[1]) == 0 || number(argv[2]) == 0 || number(argv[5]) > 32) {
        std::fprintf(stderr, "volume PIXELS CLASSES PATIENCE QUIET BURST SEED < frames > results\n");
        return 2;
    }
    const uint64_t patience = number(argv[3]);
    const uint64_t quiet = number(argv[4]);
    const unsigned burst = static_cast<unsigned>(number(argv[5]));
    const uint64_t seed = number(argv[6]);

    VerilatedContext context;
    Vabbnn_core core{&context};
    Pixels pixels(number(argv[1]));
    if (pixels.ended()) fail("stdin has no frame");
    Results results(number(argv[2]));
    Gate input(2 * seed, burst);
    Gate output(2 * seed + 1, burst);

    core.rst = 1;
    core.s_axis_tvalid = 0;
    core.m_axis_tready = 0;
    for (int edge = 0; edge < 10; edge++) {
        core.clk = edge & 1;
        core.eval();
    }
    core.rst = 0;

    std::deque<uint64_t> entered;
    bool offered = false;  // a pixel waits: it stays until it is taken
    uint64_t idle = 0;  // cycles with an open output since the last transfer
    uint64_t cycle = 0;
    for (;; cycle++) {
        // Inputs change with the falling edge, outputs are read before the rising one: two evaluations a cycle.
        const bool may_enter = input.open();
        offered = !pixels.ended() && (offered || may_enter);
        core.s_axis_tvalid = offered;
        if (!pixels.ended()) {
            // What is not valid must not matter.
            core.s_axis_tdata = offered ? pixels.value() : ~pixels.value() & 0xffffff;
            core.s_axis_tlast = offered == pixels.last();
        }
        core.m_axis_tready = output.open();
        core.clk = 0;
        core.eval();
        const bool taken = offered && core.s_axis_tready;
        if (taken && pixels.first()) entered.push_back(cycle);
        const bool given = results.step(core, cycle, entered);
        if (core.m_axis_tready) idle++;
        if (taken || given) idle = 0;
        if (pixels.ended() && entered.empty()) {
            if (idle > quiet) break;
        } else if (idle > patience) {
            fail("no beat for %" PRIu64 " cycles up to cycle %" PRIu64 ": %zu frames in flight, %" PRIu64 " results",
                 idle, cycle, entered.size(), results.frames);
        }
        core.clk = 1;
        core.eval();
        if (taken) {
            offered = false;
            pixels.next();
        }
    }
    if (core.status_frames != static_cast<uint32_t>(results.frames))
        fail("status_frames is %u after %" PRIu64 " results", static_cast<unsigned>(core.status_frames), results.frames);
    if (core.status_error || core.status_short_frames || core.status_long_frames)
        fail("status_error is %u, short frames %u, long frames %u, though no frame was",
             static_cast<unsigned>(core.status_error), static_cast<unsigned>(core.status_short_frames),
             static_cast<unsigned>(core.status_long_frames));
    std::printf("end %" PRIu64 " %" PRIu64 "\n", results.frames, cycle);
    return std::fflush(stdout) == 0 ? 0 : 1;
}
