/* abbnn.h : bare-metal driver of abbnn_ip
 * SPDX-FileCopyrightText: 2026 The abbnn authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * The driver reads and writes the registers; moving pixels, results and load images is a DMA engine's business, whose lengths
 * it gives. Order of calls:
 *
 *     abbnn device;
 *     abbnn_open(&device, base);
 *     abbnn_load(&device, image, words, send, context, polls);    a loadable block, once
 *     abbnn_start(&device, ABBNN_IRQ_ENABLE_RESULT_MASK, polls);
 *     for each image: start the transfer of the result, then that of the image
 *
 * One transfer moves one image: the DMA engine's tlast tells the block where an image ends.
 */
#ifndef ABBNN_H
#define ABBNN_H

#include <stddef.h>
#include <stdint.h>

#include "registers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The last word of a result that a soft reset has cut; a class is never that. */
#define ABBNN_CUT 0xFFFFFFFFu

enum abbnn_status {
    ABBNN_OK = 0,
    ABBNN_NOT_FOUND = -1,    /* no such block there, or one with another register map */
    ABBNN_TIMEOUT = -2,      /* nothing has changed in that many polls */
    ABBNN_BAD_IMAGE = -3,    /* no load image, or one for a block of another layout */
    ABBNN_NOT_SENT = -4,     /* the caller's function has failed */
    ABBNN_REFUSED = -5       /* the block has refused the load image */
};

typedef struct {
    volatile uint32_t *registers;
    uint32_t width;      /* of an image in pixels */
    uint32_t height;
    uint32_t classes;    /* scores of a result */
    uint32_t stages;
} abbnn;

struct abbnn_counters {
    uint32_t frames, short_frames, long_frames, loads, load_errors;
};

/* Sends `words` 32-bit words to s_load_axis with tlast on the last; 0 if that was begun. */
typedef int (*abbnn_send)(void *context, const uint32_t *image, size_t words);

/* Looks for the block at `base` and reads its sizes. */
int abbnn_open(abbnn *device, volatile void *base);

/* Drops every frame under way and clears the counters of frames; loaded tables stay. */
int abbnn_reset(abbnn *device, uint32_t polls);

/* Sends a load image and waits until the block has taken or refused it. */
int abbnn_load(abbnn *device, const uint32_t *image, size_t words, abbnn_send send, void *context, uint32_t polls);

/* Waits until the block takes images, clears what is pending and enables `events` (ABBNN_IRQ_ENABLE_*_MASK). */
int abbnn_start(abbnn *device, uint32_t events, uint32_t polls);

/* What is pending (ABBNN_IRQ_PENDING_*_MASK); it is cleared. */
uint32_t abbnn_acknowledge(abbnn *device);

/* First 64 bits of the network's sha256; 0 before the first good load. */
uint64_t abbnn_network(const abbnn *device);

/* Clock cycles since the last reset. */
uint64_t abbnn_cycles(const abbnn *device);

struct abbnn_counters abbnn_counters(const abbnn *device);

/* Bytes of a buffer for `images` images, and for their results; for one image the length of its DMA transfer. */
size_t abbnn_pixel_bytes(const abbnn *device, size_t images);
size_t abbnn_result_bytes(const abbnn *device, size_t images);

/* Words of an image, from bytes red, green, blue of each pixel in raster order. */
void abbnn_pack(const abbnn *device, const uint8_t *rgb, uint32_t *words);

/* The class of a result of which `bytes` have come, or -1 if a soft reset has cut it. */
int32_t abbnn_class(const abbnn *device, const uint32_t *result, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif /* ABBNN_H */
