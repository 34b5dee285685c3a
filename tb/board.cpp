// board.cpp : a verilated board and the line to it, whose other end is a program on stdin and stdout
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
//
//     board DIVIDER
//
// DIVIDER: clocks of a bit. The board's time passes only while the program reads. All numbers have the low byte first.
//
// stdin:  'w' LENGTH (4) and as many bytes: they follow on the line to the board as soon as it is free.
//         'r' CYCLES (8): run until the board has given a byte, or for so many cycles.
// stdout: the answer to each 'r': cycles since the start (8), 1 or 0 for a byte or none, the byte.
// stderr: one line if something is wrong; the exit status is 1 then, and 2 for arguments that cannot be used.
//
// BOARD_CLOCK, BOARD_RXD and BOARD_TXD are the names of the board's ports.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "Vboard.h"
#include "verilated.h"

namespace {

constexpr unsigned FRAME = 10;  // bits of a byte on the line: start, data, stop
constexpr uint64_t RESET = 100;  // cycles at the start, in which a board does not listen yet

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::_Exit(1);
}

class ToBoard {
  public:
    explicit ToBoard(unsigned divider) : divider(divider) {}

    void put(uint8_t byte) { bytes.push_back(byte); }

    // The level of the line in the next cycle.
    bool next(uint64_t cycle) {
        if (cycle < RESET) return true;
        if (bits == 0) {
            if (bytes.empty()) return true;
            frame = 1u << (FRAME - 1) | bytes.front() << 1;
            bytes.pop_front();
            bits = FRAME;
            left = divider;
        }
        const bool level = frame & 1;
        if (--left == 0) {
            frame >>= 1;
            bits--;
            left = divider;
        }
        return level;
    }

  private:
    std::deque<uint8_t> bytes;
    unsigned divider, frame = 0, bits = 0, left = 0;
};

class FromBoard {
  public:
    explicit FromBoard(unsigned divider) : divider(divider) {}

    uint8_t byte = 0;

    // Whether `byte` is complete with the level of this cycle. Bits are looked at in their middle.
    bool take(bool level) {
        if (bits == 0) {
            if (level) return false;
            bits = FRAME;
            left = divider / 2;
        }
        if (--left != 0) return false;
        left = divider;
        frame = frame >> 1 | unsigned{level} << (FRAME - 1);
        if (--bits != 0) return false;
        if ((frame & 1) || !(frame >> (FRAME - 1))) fail("the board has sent a byte without its start or stop bit");
        byte = frame >> 1 & 0xff;
        return true;
    }

  private:
    unsigned divider, frame = 0, bits = 0, left = 0;
};

// A number of so many bytes from stdin. Where stdin ends, so does the program.
uint64_t number(int count) {
    uint64_t value = 0;
    for (int index = 0; index < count; index++) {
        const int byte = std::getchar();
        if (byte == EOF) std::exit(0);
        value |= static_cast<uint64_t>(byte) << (8 * index);
    }
    return value;
}

}  // namespace

int main(int argc, char** argv) {
    const int divider = argc == 2 ? std::atoi(argv[1]) : 0;
    if (divider < 2) {
        std::fprintf(stderr, "board DIVIDER < requests > answers\n");
        return 2;
    }
    VerilatedContext context;
    Vboard board{&context};
    ToBoard to_board(divider);
    FromBoard from_board(divider);
    uint64_t cycle = 0;
    for (;;) {
        switch (number(1)) {
            case 'w':
                for (uint64_t left = number(4); left != 0; left--) to_board.put(number(1));
                break;
            case 'r': {
                bool given = false;
                for (uint64_t left = number(8); left != 0 && !given; left--) {
                    // The line changes with the falling edge.
                    board.BOARD_RXD = to_board.next(cycle);
                    board.BOARD_CLOCK = 0;
                    board.eval();
                    board.BOARD_CLOCK = 1;
                    board.eval();
                    given = from_board.take(board.BOARD_TXD);
                    cycle++;
                }
                for (int index = 0; index < 8; index++) std::putchar(cycle >> (8 * index) & 0xff);
                std::putchar(given);
                std::putchar(from_board.byte);
                if (std::fflush(stdout) != 0) fail("stdout is closed");
                break;
            }
            default:
                fail("a request that is neither w nor r");
        }
    }
}
