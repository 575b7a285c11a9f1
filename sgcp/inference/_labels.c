/* Labels of every pixel from scores at a lower resolution: what labels.py does, cell by cell.

   The arithmetic is that of labels.py in the same order, so both give the same bytes; compile
   without contraction to FMA. tests/inference/test_labels.py compares the two. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Py_ssize_t cells;      /* between scores */
    const int64_t *lower;  /* (cells,) the scores around each */
    const int64_t *upper;
    const int64_t *start;  /* (cells + 1,) its first pixel */
    const float *share;    /* (pixels,) weight of `upper` */
} Axis;

/* The first of the highest classes along one row of scores. */
static void best_of_row(const float *scores, Py_ssize_t classes, Py_ssize_t plane, Py_ssize_t width,
                        float *highest, int32_t *best)
{
    memcpy(highest, scores, width * sizeof(float));
    memset(best, 0, width * sizeof(int32_t));
    for (int32_t k = 1; k < classes; k++) {
        const float *score = scores + k * plane;
        for (Py_ssize_t x = 0; x < width; x++) {
            int32_t above = -(score[x] > highest[x]);
            best[x] = (best[x] & ~above) | (k & above);
            highest[x] = above ? score[x] : highest[x];
        }
    }
}

/* Bilinear interpolation inside a cell, at `count` pixels of one row. */
static inline __attribute__((always_inline)) void interpolate(const float *corner, float down, const float *across,
                               Py_ssize_t count, float *out)
{
    float rise_top = corner[1] - corner[0], rise_bottom = corner[3] - corner[2];
    for (Py_ssize_t x = 0; x < count; x++) {
        float top = corner[0] + rise_top * across[x];
        float rise = corner[2] + rise_bottom * across[x] - top;
        out[x] = rise * down + top;
    }
}

#define WIDEST 64 /* pixels of a piece of a cell's row */

static inline __attribute__((always_inline)) void choose_of_two(const float *difference, uint8_t low, uint8_t high, float down,
                                 const float *across, Py_ssize_t count, uint8_t *out)
{
    float above[WIDEST];
    interpolate(difference, down, across, count, above);
    for (Py_ssize_t x = 0; x < count; x++)
        out[x] = above[x] > 0 ? high : low;
}

static inline __attribute__((always_inline)) void choose_of_many(const float *corners, const uint8_t *rivals, Py_ssize_t number,
                                  float down, const float *across, Py_ssize_t count, uint8_t *out)
{
    float highest[WIDEST], score[WIDEST];
    int32_t best[WIDEST];
    interpolate(corners + 4 * rivals[0], down, across, count, highest);
    for (Py_ssize_t x = 0; x < count; x++)
        best[x] = rivals[0];
    for (Py_ssize_t i = 1; i < number; i++) {
        int32_t k = rivals[i];
        interpolate(corners + 4 * k, down, across, count, score);
        for (Py_ssize_t x = 0; x < count; x++) {
            int32_t above = -(score[x] > highest[x]);
            best[x] = (best[x] & ~above) | (k & above);
            highest[x] = above ? score[x] : highest[x];
        }
    }
    for (Py_ssize_t x = 0; x < count; x++)
        out[x] = (uint8_t)best[x];
}

/* Whether a class may win somewhere in the cell: nowhere above a bound means it cannot. */
static inline int may_win(const float *s, const float *first, const float *second)
{
    int over_first = 0, over_second = 0, over_mean = 0;
    for (int i = 0; i < 4; i++) {
        over_first |= s[i] > first[i];
        over_second |= s[i] > second[i];
        over_mean |= s[i] > (first[i] + second[i]) / 2;
    }
    return over_first & over_second & over_mean;
}

static void label_cell(const float *corners, Py_ssize_t classes, uint8_t low, uint8_t high,
                       const Axis *rows, const Axis *columns, Py_ssize_t r, Py_ssize_t c,
                       uint8_t *labels, Py_ssize_t width)
{
    const float *first = corners + 4 * low, *second = corners + 4 * high;
    float difference[4];
    uint8_t rivals[256];
    Py_ssize_t number = 0;
    for (Py_ssize_t k = 0; k < classes; k++)
        if (k == low || k == high || may_win(corners + 4 * k, first, second))
            rivals[number++] = (uint8_t)k;
    for (int i = 0; i < 4; i++)
        difference[i] = second[i] - first[i];
    for (int64_t y = rows->start[r]; y < rows->start[r + 1]; y++)
        for (int64_t x = columns->start[c]; x < columns->start[c + 1]; x += WIDEST) {
            int64_t count = columns->start[c + 1] - x;
            const float *across = columns->share + x;
            uint8_t *out = labels + y * width + x;
            count = count < WIDEST ? count : WIDEST;
            if (number > 2 && count == 8) /* the usual count, which the compiler unrolls */
                choose_of_many(corners, rivals, number, rows->share[y], across, 8, out);
            else if (number > 2)
                choose_of_many(corners, rivals, number, rows->share[y], across, count, out);
            else if (count == 8)
                choose_of_two(difference, low, high, rows->share[y], across, 8, out);
            else
                choose_of_two(difference, low, high, rows->share[y], across, count, out);
        }
}

static int label_all(const float *scores, Py_ssize_t classes, Py_ssize_t height, Py_ssize_t width,
                     const Axis *rows, const Axis *columns, uint8_t *labels)
{
    Py_ssize_t plane = height * width, across = columns->start[columns->cells];
    float *highest = malloc(width * sizeof(float));
    int32_t *best = malloc(2 * width * sizeof(int32_t)), *top = best, *bottom = best + width;
    float *corners = malloc(4 * classes * sizeof(float));
    int64_t top_row = -1, bottom_row = -1;
    int done = highest && best && corners;
    for (Py_ssize_t r = 0; done && r < rows->cells; r++) {
        int64_t a = rows->lower[r], b = rows->upper[r];
        if (bottom_row == a) {
            int32_t *other = top;
            top = bottom, bottom = other, top_row = a, bottom_row = -1;
        }
        if (top_row != a)
            best_of_row(scores + a * width, classes, plane, width, highest, top), top_row = a;
        if (bottom_row != b)
            best_of_row(scores + b * width, classes, plane, width, highest, bottom), bottom_row = b;
        uint8_t *line = labels + rows->start[r] * across;
        for (Py_ssize_t c = 0; c < columns->cells; c++) /* the first line, as if no cell was mixed */
            memset(line + columns->start[c], top[columns->lower[c]],
                   columns->start[c + 1] - columns->start[c]);
        for (int64_t y = rows->start[r] + 1; y < rows->start[r + 1]; y++)
            memcpy(labels + y * across, line, across);
        for (Py_ssize_t c = 0; c < columns->cells; c++) {
            int64_t l = columns->lower[c], u = columns->upper[c];
            int32_t w = top[l], x = top[u], y = bottom[l], z = bottom[u];
            if (w == x && w == y && w == z)
                continue;
            int32_t low = w < x ? w : x, high = w < x ? x : w;
            low = low < y ? low : y, low = low < z ? low : z;
            high = high > y ? high : y, high = high > z ? high : z;
            for (Py_ssize_t k = 0; k < classes; k++) {
                const float *s = scores + k * plane;
                float *corner = corners + 4 * k;
                corner[0] = s[a * width + l], corner[1] = s[a * width + u];
                corner[2] = s[b * width + l], corner[3] = s[b * width + u];
            }
            label_cell(corners, classes, (uint8_t)low, (uint8_t)high, rows, columns, r, c, labels,
                       across);
        }
    }
    free(highest), free(best), free(corners);
    return done;
}

static PyObject *label_pixels(PyObject *self, PyObject *args)
{
    Py_buffer b[10];
    Py_ssize_t classes, height, width;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*nnny*y*y*y*y*y*y*y*w*", &b[0], &classes, &height, &width, &b[1],
                          &b[2], &b[3], &b[4], &b[5], &b[6], &b[7], &b[8], &b[9]))
        return NULL;
    int fits = b[0].len == classes * height * width * 4 && classes > 0 && classes < 256
               && b[9].len == (b[4].len / 4) * (b[8].len / 4);
    Axis rows = {b[1].len / 8, b[1].buf, b[2].buf, b[3].buf, b[4].buf};
    Axis columns = {b[5].len / 8, b[5].buf, b[6].buf, b[7].buf, b[8].buf};
    int done = 0;
    Py_BEGIN_ALLOW_THREADS
    done = fits && label_all(b[0].buf, classes, height, width, &rows, &columns, b[9].buf);
    Py_END_ALLOW_THREADS
    for (int i = 0; i < 10; i++)
        PyBuffer_Release(&b[i]);
    if (!fits)
        return PyErr_Format(PyExc_ValueError, "sizes of the buffers do not fit together");
    return done ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

static PyMethodDef methods[] = {
    {"label_pixels", label_pixels, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_labels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__labels(void)
{
    return PyModule_Create(&module);
}
