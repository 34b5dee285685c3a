// Convolutions of +-1 with +-1 on AVX2, and their gradients from gradients rounded to 8 bits.
//
// One instruction (vpmaddubsw) multiplies 32 bytes without a sign by 32 with one and adds pairs in 16 bits: four times
// the multiply-accumulates of float32. The operand of +-1 stands as 0 and 1; twice the sum, less the sum of the other
// operand alone, is the sum of products. Sums of 16 bits are widened before they can overflow.
//
// Maps are (N, H, W, C), kernels 3x3 with padding 1. C is a multiple of 16, N of 4.

#include <immintrin.h>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int TAPS = 9;
constexpr int QUADS_SAFE = 128;  // 2 * 127 * 128 < 2^15
constexpr int OUTS = 16;         // outputs of one pass: two vectors of eight
constexpr int ROWS = 4;          // positions, or input channels, of one pass

// A generator of eight lanes, to round up as often as the rest is large: small gradients keep their mean.
struct Dither {
    __m256i state;
    explicit Dither(uint32_t seed) {
        alignas(32) uint32_t lanes[8];
        for (int lane = 0; lane < 8; lane++) {
            seed = seed * 1664525u + 1013904223u;
            lanes[lane] = (seed ^ (seed >> 15)) | 1u;
        }
        state = _mm256_load_si256(reinterpret_cast<const __m256i*>(lanes));
    }
    __m256i round(__m256 x) {  // to the integer below x or above it, within +-127
        state = _mm256_xor_si256(state, _mm256_slli_epi32(state, 13));
        state = _mm256_xor_si256(state, _mm256_srli_epi32(state, 17));
        state = _mm256_xor_si256(state, _mm256_slli_epi32(state, 5));
        const __m256 unit = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(state, 8)), _mm256_set1_ps(0x1p-24f));
        const __m256i rounded = _mm256_cvttps_epi32(_mm256_floor_ps(_mm256_add_ps(x, unit)));
        return _mm256_max_epi32(_mm256_min_epi32(rounded, _mm256_set1_epi32(127)), _mm256_set1_epi32(-127));
    }
};

inline __m256 magnitude(__m256 x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }

inline float largest(__m256 x) {
    alignas(32) float lanes[8];
    _mm256_store_ps(lanes, x);
    float most = 0;
    for (float lane : lanes) most = lane > most ? lane : most;
    return most;
}

inline uint32_t bits(float x) {
    uint32_t result;
    std::memcpy(&result, &x, 4);
    return result;
}

inline float step_of(float most) { return most > 0 ? most / 127.0f : 1.0f; }

// Eight integers of +-127 to eight bytes.
inline void store_bytes(int8_t* to, __m256i x) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(words, words));
}

// One tap of a kernel: where in the padded map it reads, in pixels from a position, and which weights it has.
struct Tap {
    int64_t offset;
    int weights;
};

// out[to] = factor * factors[output] * the sum over taps and channels of bytes times +-1, for the pixels `at`, whose
// number is a multiple of 4, and all outputs. signs: [outs / 16][TAPS][C / 4][2][8 outputs][4 channels] of 0 and 1;
// sums: of all channels of each pixel of `bytes`.
void sum_products(const int8_t* bytes, const int32_t* sums, int channels, const uint8_t* signs, int outs,
                  const std::vector<Tap>& taps, const int64_t* at, const int64_t* to, int64_t positions,
                  const float* factors, float factor, float* out) {
    const int quads = channels / 4;
    const __m256i ones = _mm256_set1_epi16(1);
    const int64_t block_bytes = int64_t(TAPS) * quads * 64;
    for (int block = 0; block < outs / OUTS; block++) {
        const uint8_t* block_signs = signs + block * block_bytes;
        __m256 scale[2];
        for (int half = 0; half < 2; half++)
            scale[half] = _mm256_mul_ps(_mm256_set1_ps(factor), _mm256_loadu_ps(factors + block * OUTS + half * 8));
        for (int64_t first = 0; first < positions; first += ROWS) {
            __m256i wide[ROWS][2], narrow[ROWS][2];
            for (int row = 0; row < ROWS; row++)
                for (int half = 0; half < 2; half++) wide[row][half] = narrow[row][half] = _mm256_setzero_si256();
            int32_t alone[ROWS] = {0, 0, 0, 0};
            int since = 0;
            for (const Tap& tap : taps) {
                const int8_t* from[ROWS];
                for (int row = 0; row < ROWS; row++) {
                    from[row] = bytes + (at[first + row] + tap.offset) * channels;
                    alone[row] += sums[at[first + row] + tap.offset];
                }
                if (since + quads > QUADS_SAFE) {
                    for (int row = 0; row < ROWS; row++)
                        for (int half = 0; half < 2; half++) {
                            wide[row][half] =
                                _mm256_add_epi32(wide[row][half], _mm256_madd_epi16(narrow[row][half], ones));
                            narrow[row][half] = _mm256_setzero_si256();
                        }
                    since = 0;
                }
                since += quads;
                const uint8_t* tap_signs = block_signs + int64_t(tap.weights) * quads * 64;
                for (int quad = 0; quad < quads; quad++) {
                    const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(tap_signs + quad * 64));
                    const __m256i high =
                        _mm256_load_si256(reinterpret_cast<const __m256i*>(tap_signs + quad * 64 + 32));
                    for (int row = 0; row < ROWS; row++) {
                        int32_t four;
                        std::memcpy(&four, from[row] + quad * 4, 4);
                        const __m256i values = _mm256_set1_epi32(four);
                        narrow[row][0] = _mm256_add_epi16(narrow[row][0], _mm256_maddubs_epi16(low, values));
                        narrow[row][1] = _mm256_add_epi16(narrow[row][1], _mm256_maddubs_epi16(high, values));
                    }
                }
            }
            for (int row = 0; row < ROWS; row++)
                for (int half = 0; half < 2; half++) {
                    __m256i sum = _mm256_add_epi32(wide[row][half], _mm256_madd_epi16(narrow[row][half], ones));
                    sum = _mm256_sub_epi32(_mm256_add_epi32(sum, sum), _mm256_set1_epi32(alone[row]));
                    _mm256_storeu_ps(out + to[first + row] * outs + block * OUTS + half * 8,
                                     _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale[half]));
                }
        }
    }
}

struct Shape {
    int images, height, width, channels, outs, stride;
    int out_height() const { return (height - 1) / stride + 1; }
    int out_width() const { return (width - 1) / stride + 1; }
};

template <typename T>
struct Aligned {  // zeros at an address that vectors like
    std::vector<T> memory;
    T* data;
    explicit Aligned(size_t count) : memory(count + 64 / sizeof(T)) {
        data = reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) & ~uintptr_t(63));
    }
};

// Signs of weights (outs, 3, 3, channels) as `sum_products` takes them; for the gradient of x with the roles changed.
void pack_signs(const float* weights, int outs, int channels, bool transposed, uint8_t* signs) {
    for (int out = 0; out < outs; out++)
        for (int tap = 0; tap < TAPS; tap++)
            for (int channel = 0; channel < channels; channel++) {
                const uint8_t sign = weights[(int64_t(out) * TAPS + tap) * channels + channel] > 0;
                const int to = transposed ? channel : out, from = transposed ? out : channel;
                const int quads = (transposed ? outs : channels) / 4;
                const int64_t vectors = ((int64_t(to / OUTS) * TAPS + tap) * quads + from / 4) * 2 + to / 8 % 2;
                signs[vectors * 32 + to % 8 * 4 + from % 4] = sign;
            }
}

int images_a_chunk(int images, int positions) {
    int count = 1024 / positions;
    count = count < 4 ? 4 : count / 4 * 4;
    return count < images ? count : images;
}

}  // namespace

extern "C" {

// out (N, H', W', outs) of x (N, H, W, C) of +-1 and weights (outs, 3, 3, C) of +-factor[out].
void abbnn_forward(const float* x, const float* weights, const float* factors, int images, int height, int width,
                   int channels, int outs, int stride, float* out) {
    const Shape shape{images, height, width, channels, outs, stride};
    const int oh = shape.out_height(), ow = shape.out_width(), pw = width + 2;
    const int64_t plane = int64_t(height + 2) * pw;
    Aligned<uint8_t> signs(size_t(outs) * TAPS * channels);
    pack_signs(weights, outs, channels, false, signs.data);
    const int chunk = images_a_chunk(images, oh * ow);
    Aligned<int8_t> bytes(size_t(chunk) * plane * channels);
    std::vector<int32_t> sums(chunk * plane);
    std::vector<Tap> taps;
    for (int tap = 0; tap < TAPS; tap++) taps.push_back({int64_t(tap / 3) * pw + tap % 3, tap});
    std::vector<int64_t> at, to;
    for (int image = 0; image < chunk; image++)
        for (int y = 0; y < oh; y++)
            for (int column = 0; column < ow; column++) {
                at.push_back(image * plane + int64_t(y) * stride * pw + column * stride);
                to.push_back((int64_t(image) * oh + y) * ow + column);
            }
    for (int first = 0; first < images; first += chunk) {
        const int count = images - first < chunk ? images - first : chunk;
        for (int image = 0; image < count; image++)
            for (int y = 0; y < height; y++)
                for (int column = 0; column < width; column++) {
                    const float* from = x + ((int64_t(first + image) * height + y) * width + column) * channels;
                    const int64_t place = image * plane + int64_t(y + 1) * pw + column + 1;
                    int8_t* packed = bytes.data + place * channels;
                    int32_t sum = 0;
                    for (int channel = 0; channel < channels; channel++) {
                        const int8_t sign = from[channel] > 0 ? 1 : -1;
                        packed[channel] = sign;
                        sum += sign;
                    }
                    sums[place] = sum;
                }
        sum_products(bytes.data, sums.data(), channels, signs.data, outs, taps, at.data(), to.data(),
                     int64_t(count) * oh * ow, factors, 1.0f, out + int64_t(first) * oh * ow * outs);
    }
}

// The gradient of x from that of out, rounded image by image to 8 bits.
void abbnn_backward_x(const float* gradient, const float* weights, const float* factors, int images, int height,
                      int width, int channels, int outs, int stride, float* gradient_x) {
    const Shape shape{images, height, width, channels, outs, stride};
    const int oh = shape.out_height(), ow = shape.out_width(), pw = ow + 2;
    const int64_t plane = int64_t(oh + 2) * pw;
    Aligned<uint8_t> signs(size_t(outs) * TAPS * channels);
    pack_signs(weights, outs, channels, true, signs.data);
    const std::vector<float> ones(channels, 1.0f);
    Aligned<int8_t> bytes(plane * outs);
    std::vector<int32_t> sums(plane);
    // x at stride * place + phase meets, through tap k, the gradient at (x + 1 - k) / stride: taps by phase.
    struct Phase {
        std::vector<Tap> taps;
        std::vector<int64_t> at, to;
    };
    std::vector<Phase> phases;
    for (int py = 0; py < stride; py++)
        for (int px = 0; px < stride; px++) {
            Phase phase;
            for (int tap = 0; tap < TAPS; tap++) {
                const int dy = py + 1 - tap / 3, dx = px + 1 - tap % 3;
                if (dy % stride == 0 && dx % stride == 0)
                    phase.taps.push_back({int64_t(dy / stride + 1) * pw + dx / stride + 1, tap});
            }
            for (int y = 0; y * stride + py < height; y++)
                for (int column = 0; column * stride + px < width; column++) {
                    phase.at.push_back(int64_t(y) * pw + column);
                    phase.to.push_back(int64_t(y * stride + py) * width + column * stride + px);
                }
            while (phase.at.size() % ROWS) {  // the last ones once more
                phase.at.push_back(phase.at.back());
                phase.to.push_back(phase.to.back());
            }
            phases.push_back(phase);
        }
    for (int image = 0; image < images; image++) {
        const float* from = gradient + int64_t(image) * oh * ow * outs;
        __m256 most = _mm256_setzero_ps();
        for (int64_t pixel = 0; pixel < int64_t(oh) * ow; pixel++)
            for (int out = 0; out < outs; out += 8) {
                const __m256 value = _mm256_loadu_ps(from + pixel * outs + out);
                most = _mm256_max_ps(most, magnitude(_mm256_mul_ps(value, _mm256_loadu_ps(factors + out))));
            }
        const float step = step_of(largest(most));
        Dither dither(bits(step));
        const __m256 inverse = _mm256_set1_ps(1.0f / step);
        for (int y = 0; y < oh; y++)
            for (int column = 0; column < ow; column++) {
                const float* pixel = from + (int64_t(y) * ow + column) * outs;
                const int64_t place = int64_t(y + 1) * pw + column + 1;
                __m256i sum = _mm256_setzero_si256();
                for (int out = 0; out < outs; out += 8) {
                    const __m256 value = _mm256_mul_ps(_mm256_loadu_ps(pixel + out), _mm256_loadu_ps(factors + out));
                    const __m256i rounded = dither.round(_mm256_mul_ps(value, inverse));
                    store_bytes(bytes.data + place * outs + out, rounded);
                    sum = _mm256_add_epi32(sum, rounded);
                }
                alignas(32) int32_t lanes[8];
                _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
                int32_t total = 0;
                for (int32_t lane : lanes) total += lane;
                sums[place] = total;
            }
        for (const Phase& phase : phases)
            sum_products(bytes.data, sums.data(), outs, signs.data, channels, phase.taps, phase.at.data(),
                         phase.to.data(), phase.at.size(), ones.data(), step,
                         gradient_x + int64_t(image) * height * width * channels);
    }
}

// The gradient of the weights (outs, 3, 3, C), from that of out rounded output by output to 8 bits.
void abbnn_backward_weights(const float* x, const float* gradient, int images, int height, int width, int channels,
                            int outs, int stride, float* gradient_weights) {
    const Shape shape{images, height, width, channels, outs, stride};
    const int oh = shape.out_height(), ow = shape.out_width(), pw = width + 2;
    std::vector<float> most(outs, 0.0f), inverse(outs);
    for (int64_t pixel = 0; pixel < int64_t(images) * oh * ow; pixel++)
        for (int out = 0; out < outs; out += 8) {
            const __m256 value = magnitude(_mm256_loadu_ps(gradient + pixel * outs + out));
            _mm256_storeu_ps(&most[out], _mm256_max_ps(_mm256_loadu_ps(&most[out]), value));
        }
    for (int out = 0; out < outs; out++) {
        most[out] = step_of(most[out]);
        inverse[out] = 1.0f / most[out];
    }
    Dither dither(bits(most[0]));
    const int chunk = images_a_chunk(images, oh * ow);
    const int planes = channels + ROWS;  // behind the channels one of all 1, to sum the gradient alone
    const int64_t plane = int64_t(height + 2) * pw * chunk, quads = int64_t(oh) * ow * chunk / 4;
    Aligned<uint8_t> bytes(size_t(planes) * plane);
    Aligned<int8_t> rounded(size_t(outs) * quads * 4);  // [outs / 16][quads][16 outputs][4 images]
    std::vector<int32_t> sums(size_t(outs) * TAPS * planes, 0), at(quads);
    for (int y = 0; y < oh; y++)
        for (int column = 0; column < ow; column++)
            for (int four = 0; four < chunk / 4; four++)
                at[(int64_t(y) * ow + column) * (chunk / 4) + four] =
                    (y * stride * pw + column * stride) * chunk + four * 4;
    const __m256i ones = _mm256_set1_epi16(1);
    for (int first = 0; first < images; first += chunk) {
        const int count = images - first < chunk ? images - first : chunk;
        if (count < chunk) {
            std::memset(bytes.data, 0, size_t(planes) * plane);
            std::memset(rounded.data, 0, size_t(outs) * quads * 4);
        }
        for (int y = 0; y < height; y++)
            for (int column = 0; column < width; column++) {
                const int64_t place = (int64_t(y + 1) * pw + column + 1) * chunk;
                for (int four = 0; four < count; four += 4) {
                    const float* from[4];
                    for (int image = 0; image < 4; image++)
                        from[image] = x + ((int64_t(first + four + image) * height + y) * width + column) * channels;
                    for (int channel = 0; channel < channels; channel += 8) {
                        __m256i packed = _mm256_setzero_si256();
                        for (int image = 0; image < 4; image++) {
                            const __m256 values = _mm256_loadu_ps(from[image] + channel);
                            const __m256 positive = _mm256_cmp_ps(values, _mm256_setzero_ps(), _CMP_GT_OQ);
                            const __m256i one = _mm256_set1_epi32(1 << (8 * image));
                            packed = _mm256_or_si256(packed, _mm256_and_si256(_mm256_castps_si256(positive), one));
                        }
                        alignas(32) uint32_t lanes[8];
                        _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), packed);
                        for (int lane = 0; lane < 8; lane++)
                            std::memcpy(bytes.data + (channel + lane) * plane + place + four, &lanes[lane], 4);
                    }
                    const uint32_t all = 0x01010101u;
                    std::memcpy(bytes.data + channels * plane + place + four, &all, 4);
                }
            }
        for (int64_t pixel = 0; pixel < int64_t(oh) * ow; pixel++)
            for (int four = 0; four < count; four += 4) {
                const int64_t quad = pixel * (chunk / 4) + four / 4;
                for (int out = 0; out < outs; out += 8) {
                    const __m256 scale = _mm256_loadu_ps(&inverse[out]);
                    __m256i packed = _mm256_setzero_si256();
                    for (int image = 0; image < 4; image++) {
                        const float* from = gradient + ((int64_t(first + four + image) * oh * ow) + pixel) * outs + out;
                        const __m256i value = dither.round(_mm256_mul_ps(_mm256_loadu_ps(from), scale));
                        const __m256i byte = _mm256_and_si256(value, _mm256_set1_epi32(255));
                        packed = _mm256_or_si256(packed, _mm256_slli_epi32(byte, 8 * image));
                    }
                    int8_t* to = rounded.data + ((out / OUTS) * quads + quad) * 64 + out / 8 % 2 * 32;
                    _mm256_store_si256(reinterpret_cast<__m256i*>(to), packed);
                }
            }
        for (int block = 0; block < outs / OUTS; block++)
            for (int tap = 0; tap < TAPS; tap++)
                for (int channel = 0; channel < planes; channel += ROWS) {
                    const uint8_t* from = bytes.data + channel * plane + (int64_t(tap / 3) * pw + tap % 3) * chunk;
                    const int8_t* values = rounded.data + block * quads * 64;
                    int32_t* sum = &sums[((int64_t(block) * TAPS + tap) * planes + channel) * OUTS];
                    for (int64_t begin = 0; begin < quads; begin += QUADS_SAFE) {
                        const int64_t end = begin + QUADS_SAFE < quads ? begin + QUADS_SAFE : quads;
                        __m256i narrow[ROWS][2];
                        for (int row = 0; row < ROWS; row++)
                            narrow[row][0] = narrow[row][1] = _mm256_setzero_si256();
                        for (int64_t quad = begin; quad < end; quad++) {
                            const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(values + quad * 64));
                            const __m256i high =
                                _mm256_load_si256(reinterpret_cast<const __m256i*>(values + quad * 64 + 32));
                            const uint8_t* place = from + at[quad];
                            for (int row = 0; row < ROWS; row++) {
                                int32_t four;
                                std::memcpy(&four, place + row * plane, 4);
                                const __m256i signs = _mm256_set1_epi32(four);
                                narrow[row][0] = _mm256_add_epi16(narrow[row][0], _mm256_maddubs_epi16(signs, low));
                                narrow[row][1] = _mm256_add_epi16(narrow[row][1], _mm256_maddubs_epi16(signs, high));
                            }
                        }
                        for (int row = 0; row < ROWS; row++)
                            for (int half = 0; half < 2; half++) {
                                __m256i* to = reinterpret_cast<__m256i*>(sum + row * OUTS + half * 8);
                                const __m256i added = _mm256_madd_epi16(narrow[row][half], ones);
                                _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), added));
                            }
                    }
                }
    }
    for (int out = 0; out < outs; out++)
        for (int tap = 0; tap < TAPS; tap++) {
            const int32_t* sum = &sums[(int64_t(out / OUTS) * TAPS + tap) * planes * OUTS + out % OUTS];
            const int32_t alone = sum[int64_t(channels) * OUTS];
            for (int channel = 0; channel < channels; channel++)
                gradient_weights[(int64_t(out) * TAPS + tap) * channels + channel] =
                    float(2 * int64_t(sum[int64_t(channel) * OUTS]) - alone) * most[out];
        }
}
}
