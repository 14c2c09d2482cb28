// Pixels to tensors on the GPU: what engines/preprocess.py does on the CPU, in the same arithmetic.
//
// A frame lies in device memory as a decoder gave it: Y, and U and V apart (I420) or in pairs (NV12), rows `*_pitch`
// bytes apart. Both kernels resize each plane on its own, round it to bytes as OpenCV does, turn the three bytes into
// RGB, subtract the mean and divide by the deviation, and write float32 planes (channel, row, column).
//
// Launch: blocks of 32 x 8 threads, one thread an output pixel, so that a warp writes 128 adjoining bytes of each
// channel; a grid of (ceil(width / 32), ceil(height / 8), pictures). The weights of a block's 32 columns and 8 rows are
// worked out once, by 80 of its threads, into shared memory. Every choice of method is the same for a whole block.
//
// Compile with --fmad=false: OpenCV rounds after each product, and an average that lies on a half must fall alike.
#include "host_build.h"

enum { BLOCK_W = 32, BLOCK_H = 8, AXES = 2 * (BLOCK_W + BLOCK_H) };
enum { LUMA, CHROMA, KINDS };

// A frame in device memory; engines/cuda/layout.py holds the same fields.
struct Frame {
    unsigned long long y, u, v;  // addresses; NV12: v = u + 1
    int width, height;           // of the luma, in pixels
    int y_pitch, chroma_pitch;   // bytes from row to row
    int chroma_step;             // bytes from sample to sample: 1 (I420) or 2 (NV12)
    int matrix;                  // row of YUV_TO_RGB
};

// One face: a square on the chroma grid, in chroma samples; it may reach over the border.
struct Face {
    Frame frame;
    int left, top, extent, unused;
};

// What a network wants: output = (byte - mean) / deviation, channels in the network's own order.
struct Levels {
    float mean[3], deviation[3];
    int is_bgr;
};

// OpenCV's cv::transform on bytes: each coefficient in units of 1/1024, the offset with the rounding half added.
// Filled in by the host from engines.preprocess, the matrices' one home: rows Y, U, V, offset for R, G, B.
struct Matrices {
    int values[4][3][4];
};

#define EPSILON 2.220446049250313e-16 // of a double, as OpenCV tells whole scales

enum Method { AREA, AREA_WHOLE, AREA_2X2, LINEAR };

struct Resize {
    int from_w, from_h, to_w, to_h;
    Method method;
    bool stretches_area;  // INTER_AREA asked for where one side is enlarged: OpenCV interpolates, between cells' centres
    double scale_x, scale_y;
};

// The samples that one output column (or row) is made from.
struct Taps {
    int first, count;
    float head, middle, tail;  // area: weights of the first, the inner and the last sample
    int near, far;             // linear: weights of `first` and the one after it, in 1/2048
};

// `is_paired`: OpenCV's short way for halving takes no samples in pairs, and rounds a half otherwise than the long way.
DEVICE Resize resize_of(int from_w, int from_h, int to_w, int to_h, bool is_paired) {
    Resize resize;
    resize.from_w = from_w;
    resize.from_h = from_h;
    resize.to_w = to_w;
    resize.to_h = to_h;
    resize.scale_x = 1.0 / ((double)to_w / from_w);
    resize.scale_y = 1.0 / ((double)to_h / from_h);
    bool shrinks = from_w > to_w;  // the rule of engines.preprocess: by the width alone
    bool is_area = shrinks && resize.scale_x >= 1 && resize.scale_y >= 1;
    resize.stretches_area = shrinks && !is_area;
    int whole_x = (int)rint(resize.scale_x), whole_y = (int)rint(resize.scale_y);
    bool is_whole = fabs(resize.scale_x - whole_x) < EPSILON && fabs(resize.scale_y - whole_y) < EPSILON;
    bool is_2x2 = whole_x == 2 && whole_y == 2 && !is_paired;
    resize.method = !is_area ? LINEAR : !is_whole ? AREA : is_2x2 ? AREA_2X2 : AREA_WHOLE;
    return resize;
}

// As computeResizeAreaTab of OpenCV's resize.cpp.
DEVICE Taps area_taps(int index, double scale, int from) {
    double begin = index * scale, end = begin + scale;
    double cell = fmin(scale, from - begin);
    int low = (int)ceil(begin), high = (int)floor(end);
    high = high < from - 1 ? high : from - 1;
    low = low < high ? low : high;
    bool has_head = low - begin > 1e-3, has_tail = end - high > 1e-3;
    Taps taps = {};
    taps.middle = (float)(1.0 / cell);
    taps.head = has_head ? (float)((low - begin) / cell) : taps.middle;
    taps.tail = has_tail ? (float)(fmin(fmin(end - high, 1.0), cell) / cell) : taps.middle;
    taps.first = low - (has_head ? 1 : 0);
    taps.count = high - low + (has_head ? 1 : 0) + (has_tail ? 1 : 0);
    return taps;
}

DEVICE Taps whole_taps(int index, double scale) {
    Taps taps = {};
    taps.count = (int)rint(scale);
    taps.first = index * taps.count;
    return taps;
}

// As the tables of cv::resize for INTER_LINEAR on bytes: weights in 1/2048.
DEVICE Taps linear_taps(int index, double scale, int from, int to, bool stretches_area) {
    float part;
    int first;
    if (stretches_area) {
        first = (int)floor(index * scale);
        part = (float)((index + 1) - (first + 1) * ((double)to / from));
        part = part <= 0 ? 0.0f : part - floorf(part);
    } else {
        part = (float)((index + 0.5) * scale - 0.5);
        first = (int)floorf(part);
        part -= first;
    }
    Taps taps = {};
    taps.first = first;
    taps.near = (int)rintf((1.0f - part) * 2048);
    taps.far = (int)rintf(part * 2048);
    return taps;
}

DEVICE Taps taps_of(const Resize& resize, int index, bool is_row) {
    double scale = is_row ? resize.scale_y : resize.scale_x;
    int from = is_row ? resize.from_h : resize.from_w, to = is_row ? resize.to_h : resize.to_w;
    if (resize.method == LINEAR) return linear_taps(index, scale, from, to, resize.stretches_area);
    if (resize.method == AREA) return area_taps(index, scale, from);
    return whole_taps(index, scale);
}

// One plane as a picture of (from_w, from_h) whose upper left sample is (left, top): beyond the border the last sample
// is repeated.
struct Plane {
    const unsigned char* samples;
    int width, height, pitch, step, left, top;
};

DEVICE int within(int value, int size) { return value < 0 ? 0 : value < size ? value : size - 1; }

DEVICE int sample(const Plane& plane, int x, int y) {
    x = within(plane.left + x, plane.width);
    y = within(plane.top + y, plane.height);
    return plane.samples[(long long)y * plane.pitch + (long long)x * plane.step];
}

DEVICE int to_byte(float value) {
    int rounded = (int)rintf(value);
    return rounded < 0 ? 0 : rounded > 255 ? 255 : rounded;
}

DEVICE float weight(const Taps& taps, int index) {
    return index == 0 ? taps.head : index == taps.count - 1 ? taps.tail : taps.middle;
}

DEVICE int area(const Plane& plane, const Taps& column, const Taps& row) {
    float total = 0;
    for (int j = 0; j < row.count; ++j) {
        float line = 0;
        for (int i = 0; i < column.count; ++i)
            line += sample(plane, column.first + i, row.first + j) * weight(column, i);
        total += line * weight(row, j);
    }
    return to_byte(total);
}

DEVICE int whole_area(const Plane& plane, const Taps& column, const Taps& row, bool is_2x2) {
    int total = 0;
    for (int j = 0; j < row.count; ++j)
        for (int i = 0; i < column.count; ++i) total += sample(plane, column.first + i, row.first + j);
    return is_2x2 ? (total + 2) >> 2 : to_byte(total * (1.0f / (column.count * row.count)));
}

DEVICE int linear(const Plane& plane, const Resize& resize, const Taps& column, const Taps& row) {
    int x0 = within(column.first, resize.from_w), x1 = within(column.first + 1, resize.from_w);
    int y0 = within(row.first, resize.from_h), y1 = within(row.first + 1, resize.from_h);
    int upper = sample(plane, x0, y0) * column.near + sample(plane, x1, y0) * column.far;
    int lower = sample(plane, x0, y1) * column.near + sample(plane, x1, y1) * column.far;
    return (((row.near * (upper >> 4)) >> 16) + ((row.far * (lower >> 4)) >> 16) + 2) >> 2;
}

DEVICE int resized(const Plane& plane, const Resize& resize, const Taps& column, const Taps& row) {
    if (resize.method == AREA) return area(plane, column, row);
    if (resize.method == LINEAR) return linear(plane, resize, column, row);
    return whole_area(plane, column, row, resize.method == AREA_2X2);
}

// What all threads of a block share, for the luma and for the chroma; double precision is dear, so it is done once.
struct Shared {
    Resize resizes[KINDS];
    Taps columns[KINDS][BLOCK_W], rows[KINDS][BLOCK_H];
};

DEVICE void find_taps(Shared& shared, int thread) {
    if (thread >= AXES) return;
    int kind = thread / (BLOCK_W + BLOCK_H), index = thread % (BLOCK_W + BLOCK_H);
    const Resize& resize = shared.resizes[kind];
    if (index < BLOCK_W)
        shared.columns[kind][index] = taps_of(resize, BLOCK_X * BLOCK_W + index, false);
    else
        shared.rows[kind][index - BLOCK_W] = taps_of(resize, BLOCK_Y * BLOCK_H + index - BLOCK_W, true);
}

// A picture's three planes.
struct Picture {
    Plane y, u, v;
    int matrix;
};

DEVICE Plane plane_of(unsigned long long address, int width, int height, int pitch, int step, int left, int top) {
    Plane plane = {(const unsigned char*)(size_t)address, width, height, pitch, step, left, top};
    return plane;
}

// The frame as seen from chroma sample (left, top).
DEVICE Picture picture_of(const Frame& frame, int left, int top) {
    int width = (frame.width + 1) / 2, height = (frame.height + 1) / 2;
    Picture picture;
    picture.y = plane_of(frame.y, frame.width, frame.height, frame.y_pitch, 1, 2 * left, 2 * top);
    picture.u = plane_of(frame.u, width, height, frame.chroma_pitch, frame.chroma_step, left, top);
    picture.v = plane_of(frame.v, width, height, frame.chroma_pitch, frame.chroma_step, left, top);
    picture.matrix = frame.matrix;
    return picture;
}

DEVICE bool is_paired(const Frame& frame, int kind) { return kind == CHROMA && frame.chroma_step == 2; }

DEVICE int channel_of(const int* row, int y, int u, int v) {
    int value = (row[0] * y + row[1] * u + row[2] * v + row[3]) >> 10;
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

DEVICE void write_pixel(float* out, long long channel_size, const int* rgb, const Levels& levels) {
    for (int channel = 0; channel < 3; ++channel) {
        int byte = rgb[levels.is_bgr ? 2 - channel : channel];
        out[channel * channel_size] = (byte - levels.mean[channel]) / levels.deviation[channel];
    }
}

DEVICE int resized_at(const Plane& plane, const Shared& shared, int kind, int tx, int ty) {
    return resized(plane, shared.resizes[kind], shared.columns[kind][tx], shared.rows[kind][ty]);
}

DEVICE void find_rgb(int* rgb, const Picture& picture, const Shared& shared, const Matrices& matrices, int tx, int ty) {
    int y = resized_at(picture.y, shared, LUMA, tx, ty);
    int u = resized_at(picture.u, shared, CHROMA, tx, ty);
    int v = resized_at(picture.v, shared, CHROMA, tx, ty);
    for (int channel = 0; channel < 3; ++channel)
        rgb[channel] = channel_of(matrices.values[picture.matrix][channel], y, u, v);
}

// All faces of all frames into one (faces, 3, size, size) batch; the grid's z counts faces.
KERNEL crop_faces(const Face* faces, const Matrices* matrices, const Levels* levels, float* out, int size) {
    SHARED Shared shared;
    const Face& face = faces[BLOCK_Z];
    Picture picture = picture_of(face.frame, face.left, face.top);
    FOR_THREADS(tx, ty) {
        int kind = ty * BLOCK_W + tx, extent = kind == LUMA ? 2 * face.extent : face.extent;
        if (kind < KINDS) shared.resizes[kind] = resize_of(extent, extent, size, size, is_paired(face.frame, kind));
    }
    BARRIER();
    FOR_THREADS(tx, ty) { find_taps(shared, ty * BLOCK_W + tx); }
    BARRIER();
    FOR_THREADS(tx, ty) {
        int x = BLOCK_X * BLOCK_W + tx, y = BLOCK_Y * BLOCK_H + ty, rgb[3];
        if (x >= size || y >= size) continue;
        find_rgb(rgb, picture, shared, *matrices, tx, ty);
        long long channel_size = (long long)size * size;
        write_pixel(out + 3 * channel_size * BLOCK_Z + (long long)y * size + x, channel_size, rgb, *levels);
    }
}

// One whole frame, resized to (inner_w, inner_h), in the upper left corner of a black (1, 3, canvas_h, canvas_w).
KERNEL letterbox(
    const Frame* frame, const Matrices* matrices, const Levels* levels, float* out, int inner_w, int inner_h,
    int canvas_w, int canvas_h) {
    SHARED Shared shared;
    Picture picture = picture_of(*frame, 0, 0);
    FOR_THREADS(tx, ty) {
        int kind = ty * BLOCK_W + tx;
        int width = kind == LUMA ? picture.y.width : picture.u.width;
        int height = kind == LUMA ? picture.y.height : picture.u.height;
        bool pairs = is_paired(*frame, kind);
        if (kind < KINDS) shared.resizes[kind] = resize_of(width, height, inner_w, inner_h, pairs);
    }
    BARRIER();
    FOR_THREADS(tx, ty) { find_taps(shared, ty * BLOCK_W + tx); }
    BARRIER();
    FOR_THREADS(tx, ty) {
        int x = BLOCK_X * BLOCK_W + tx, y = BLOCK_Y * BLOCK_H + ty, rgb[3] = {0, 0, 0};
        if (x >= canvas_w || y >= canvas_h) continue;
        if (x < inner_w && y < inner_h) find_rgb(rgb, picture, shared, *matrices, tx, ty);
        write_pixel(out + (long long)y * canvas_w + x, (long long)canvas_w * canvas_h, rgb, *levels);
    }
}

#ifndef __CUDACC__

extern "C" void crop_faces_on_host(
    int grid_x, int grid_y, int grid_z, const Face* faces, const Matrices* matrices, const Levels* levels, float* out,
    int size) {
    run_on_host(grid_x, grid_y, grid_z, [=] { crop_faces(faces, matrices, levels, out, size); });
}

extern "C" void letterbox_on_host(
    int grid_x, int grid_y, int grid_z, const Frame* frame, const Matrices* matrices, const Levels* levels, float* out,
    int inner_w, int inner_h, int canvas_w, int canvas_h) {
    run_on_host(grid_x, grid_y, grid_z, [=] {
        letterbox(frame, matrices, levels, out, inner_w, inner_h, canvas_w, canvas_h);
    });
}

#endif
