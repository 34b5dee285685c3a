/* abbnn.c : bare-metal driver of abbnn_ip
 * SPDX-FileCopyrightText: 2026 The abbnn authors
 * SPDX-License-Identifier: Apache-2.0
 */
#include "abbnn.h"

#define VERSION (ABBNN_VERSION_RESET >> ABBNN_VERSION_MAJOR_SHIFT)

static uint32_t get(const abbnn *device, uint32_t offset)
{
    return device->registers[offset / 4];
}

static void set(abbnn *device, uint32_t offset, uint32_t value)
{
    device->registers[offset / 4] = value;
}

int abbnn_open(abbnn *device, volatile void *base)
{
    uint32_t image, shape;

    device->registers = base;
    if (get(device, ABBNN_ID_OFFSET) != ABBNN_ID_RESET
        || get(device, ABBNN_VERSION_OFFSET) >> ABBNN_VERSION_MAJOR_SHIFT != VERSION)
        return ABBNN_NOT_FOUND;
    image = get(device, ABBNN_IMAGE_OFFSET);
    shape = get(device, ABBNN_SHAPE_OFFSET);
    device->width = (image & ABBNN_IMAGE_WIDTH_MASK) >> ABBNN_IMAGE_WIDTH_SHIFT;
    device->height = (image & ABBNN_IMAGE_HEIGHT_MASK) >> ABBNN_IMAGE_HEIGHT_SHIFT;
    device->classes = (shape & ABBNN_SHAPE_CLASSES_MASK) >> ABBNN_SHAPE_CLASSES_SHIFT;
    device->stages = (shape & ABBNN_SHAPE_STAGES_MASK) >> ABBNN_SHAPE_STAGES_SHIFT;
    return ABBNN_OK;
}

int abbnn_reset(abbnn *device, uint32_t polls)
{
    set(device, ABBNN_CONTROL_OFFSET, ABBNN_CONTROL_SOFT_RESET_MASK);
    while (get(device, ABBNN_CONTROL_OFFSET) & ABBNN_CONTROL_SOFT_RESET_MASK)
        if (polls-- == 0)
            return ABBNN_TIMEOUT;
    return ABBNN_OK;
}

int abbnn_load(abbnn *device, const uint32_t *image, size_t words, abbnn_send send, void *context, uint32_t polls)
{
    uint32_t loads = get(device, ABBNN_LOADS_OFFSET);
    uint32_t errors = get(device, ABBNN_LOAD_ERRORS_OFFSET);

    if (words < 2 || image[0] != ABBNN_LOAD_MAGIC || image[1] != get(device, ABBNN_LAYOUT_OFFSET))
        return ABBNN_BAD_IMAGE;
    if (send(context, image, words) != 0)
        return ABBNN_NOT_SENT;
    do {
        if (get(device, ABBNN_LOAD_ERRORS_OFFSET) != errors)
            return ABBNN_REFUSED;
        if (get(device, ABBNN_LOADS_OFFSET) != loads)
            return ABBNN_OK;
    } while (polls-- != 0);
    return ABBNN_TIMEOUT;
}

int abbnn_start(abbnn *device, uint32_t events, uint32_t polls)
{
    while (!(get(device, ABBNN_STATUS_OFFSET) & ABBNN_STATUS_READY_MASK))
        if (polls-- == 0)
            return ABBNN_TIMEOUT;
    (void)abbnn_acknowledge(device);
    set(device, ABBNN_IRQ_ENABLE_OFFSET, events);
    return ABBNN_OK;
}

uint32_t abbnn_acknowledge(abbnn *device)
{
    uint32_t pending = get(device, ABBNN_IRQ_PENDING_OFFSET);

    set(device, ABBNN_IRQ_PENDING_OFFSET, pending);
    return pending;
}

uint64_t abbnn_network(const abbnn *device)
{
    return (uint64_t)get(device, ABBNN_NETWORK_HI_OFFSET) << 32 | get(device, ABBNN_NETWORK_LO_OFFSET);
}

uint64_t abbnn_cycles(const abbnn *device)
{
    /* Reading the low half keeps the high half that belongs to it. */
    uint32_t low = get(device, ABBNN_CYCLES_LO_OFFSET);

    return (uint64_t)get(device, ABBNN_CYCLES_HI_OFFSET) << 32 | low;
}

struct abbnn_counters abbnn_counters(const abbnn *device)
{
    struct abbnn_counters counters;

    counters.frames = get(device, ABBNN_FRAMES_OFFSET);
    counters.short_frames = get(device, ABBNN_SHORT_FRAMES_OFFSET);
    counters.long_frames = get(device, ABBNN_LONG_FRAMES_OFFSET);
    counters.loads = get(device, ABBNN_LOADS_OFFSET);
    counters.load_errors = get(device, ABBNN_LOAD_ERRORS_OFFSET);
    return counters;
}

size_t abbnn_pixel_bytes(const abbnn *device, size_t images)
{
    return images * device->width * device->height * sizeof(uint32_t);
}

size_t abbnn_result_bytes(const abbnn *device, size_t images)
{
    return images * (device->classes + 1) * sizeof(uint32_t);
}

void abbnn_pack(const abbnn *device, const uint8_t *rgb, uint32_t *words)
{
    size_t pixels = (size_t)device->width * device->height;

    for (size_t pixel = 0; pixel < pixels; pixel++, rgb += 3)
        words[pixel] = rgb[0] | (uint32_t)rgb[1] << 8 | (uint32_t)rgb[2] << 16;
}

int32_t abbnn_class(const abbnn *device, const uint32_t *result, size_t bytes)
{
    if (bytes != abbnn_result_bytes(device, 1) || result[device->classes] == ABBNN_CUT)
        return -1;
    return (int32_t)result[device->classes];
}
