/* Labels and confidence of every pixel from scores at a lower resolution, cell by cell: what
   labels.py and prediction.py do in numpy.

   The arithmetic of labels is that of labels.py in the same order, so both give the same bytes;
   compile without contraction to FMA. Confidence is within a step of float16 of prediction.py's.
   tests/inference/test_labels.py and test_prediction.py compare them. */

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

/* One row of scores. */
typedef struct {
    int64_t number;
    int32_t *best;  /* (width,) the first of the highest classes */
    float *highest; /* (width,) */
    float *scores;  /* (width, classes), so that the scores of a cell's corner lie side by side */
} Row;

static void read_row(Row *row, int64_t number, const float *scores, Py_ssize_t classes,
                     Py_ssize_t height, Py_ssize_t width)
{
    row->number = number;
    memset(row->best, 0, width * sizeof(int32_t));
    for (Py_ssize_t k = 0; k < classes; k++) {
        const float *score = scores + (k * height + number) * width;
        if (k == 0)
            memcpy(row->highest, score, width * sizeof(float));
        for (Py_ssize_t x = 0; x < width; x++) {
            int32_t above = -(score[x] > row->highest[x]);
            row->best[x] = (row->best[x] & ~above) | ((int32_t)k & above);
            row->highest[x] = above ? score[x] : row->highest[x];
        }
        for (Py_ssize_t x = 0; x < width; x++)
            row->scores[x * classes + k] = score[x];
    }
}

/* The two rows of scores around the cells of a line. */
typedef struct {
    Row pair[2], *top, *bottom;
    int32_t *best;
    float *floats;
} Rows;

/* Return whether there is memory for them; `close_rows` in any case. */
static int open_rows(Rows *rows, Py_ssize_t classes, Py_ssize_t width)
{
    rows->best = malloc(2 * width * sizeof(int32_t));
    rows->floats = malloc((1 + 2 * classes) * width * sizeof(float));
    float *by_column = rows->floats + width;
    for (int i = 0; i < 2; i++)
        rows->pair[i] = (Row){-1, rows->best + i * width, rows->floats,
                              by_column + i * classes * width};
    rows->top = &rows->pair[0], rows->bottom = &rows->pair[1];
    return rows->best && rows->floats;
}

static void close_rows(Rows *rows)
{
    free(rows->best), free(rows->floats);
}

static void move_rows(Rows *rows, int64_t lower, int64_t upper, const float *scores,
                      Py_ssize_t classes, Py_ssize_t height, Py_ssize_t width)
{
    if (rows->bottom->number == lower) {
        Row *other = rows->top;
        rows->top = rows->bottom, rows->bottom = other;
    }
    if (rows->top->number != lower)
        read_row(rows->top, lower, scores, classes, height, width);
    if (rows->bottom->number != upper)
        read_row(rows->bottom, upper, scores, classes, height, width);
}

/* Pixels of a tile each way: a cell at the usual stride, else a part of one. Of a fixed size, so
   that the compiler vectorises its loops; pixels beyond the cell are not copied to the labels. */
#define SIDE 8
#define TILE (SIDE * SIDE)

/* Bilinear interpolation at the pixels of a tile. */
static inline void interpolate(const float corner[4], const float *down, const float *across,
                               float out[TILE])
{
    float top[SIDE], rise[SIDE];
    for (int x = 0; x < SIDE; x++) {
        top[x] = corner[0] + (corner[1] - corner[0]) * across[x];
        rise[x] = corner[2] + (corner[3] - corner[2]) * across[x] - top[x];
    }
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            out[y * SIDE + x] = rise[x] * down[y] + top[x];
}

/* The best of `number` classes, by rising class, at the pixels of a tile. */
static void label_tile(const float *const corners[4], const uint8_t *rivals, int number,
                       const float *down, const float *across, uint8_t out[TILE])
{
    float corner[4], score[TILE], highest[TILE];
    int32_t best[TILE];
    uint8_t first = rivals[0], second = rivals[1];
    if (number == 2) {
        for (int i = 0; i < 4; i++)
            corner[i] = corners[i][second] - corners[i][first];
        interpolate(corner, down, across, score);
        for (int p = 0; p < TILE; p++)
            out[p] = score[p] > 0 ? second : first;
        return;
    }
    for (int i = 0; i < 4; i++)
        corner[i] = corners[i][first];
    interpolate(corner, down, across, highest);
    for (int p = 0; p < TILE; p++)
        best[p] = first;
    for (int r = 1; r < number; r++) {
        int32_t k = rivals[r];
        for (int i = 0; i < 4; i++)
            corner[i] = corners[i][k];
        interpolate(corner, down, across, score);
        for (int p = 0; p < TILE; p++) {
            int32_t above = -(score[p] > highest[p]);
            best[p] = (best[p] & ~above) | (k & above);
            highest[p] = above ? score[p] : highest[p];
        }
    }
    for (int p = 0; p < TILE; p++)
        out[p] = (uint8_t)best[p];
}

/* Find the classes that may win somewhere in a cell: those nowhere above a bound cannot. */
static int find_rivals(const float *const corners[4], Py_ssize_t classes, uint8_t low, uint8_t high,
                       uint8_t *rivals)
{
    int32_t may_win[256];
    int number = 0;
    float first[4], second[4], mean[4];
    for (int i = 0; i < 4; i++) {
        first[i] = corners[i][low], second[i] = corners[i][high];
        mean[i] = (first[i] + second[i]) / 2;
    }
    for (Py_ssize_t k = 0; k < classes; k++) {
        int32_t over_first = 0, over_second = 0, over_mean = 0;
        for (int i = 0; i < 4; i++) {
            over_first |= corners[i][k] > first[i];
            over_second |= corners[i][k] > second[i];
            over_mean |= corners[i][k] > mean[i];
        }
        may_win[k] = over_first & over_second & over_mean;
    }
    may_win[low] = may_win[high] = 1;
    for (Py_ssize_t k = 0; k < classes; k++) {
        rivals[number] = (uint8_t)k;
        number += may_win[k];
    }
    return number;
}

/* Copy the shares of a tile's pixels, the last one again up to SIDE; return how many there are. */
static inline int64_t take_shares(const float *share, int64_t start, int64_t end, float out[SIDE])
{
    int64_t count = end - start < SIDE ? end - start : SIDE;
    for (int64_t i = 0; i < SIDE; i++)
        out[i] = share[start + (i < count ? i : count - 1)];
    return count;
}

static void label_cell(const float *const corners[4], const uint8_t *rivals, int number,
                       const Axis *rows, const Axis *columns, Py_ssize_t r, Py_ssize_t c,
                       uint8_t *labels, Py_ssize_t width)
{
    float down[SIDE], across[SIDE];
    uint8_t tile[TILE];
    int64_t bottom = rows->start[r + 1], right = columns->start[c + 1];
    for (int64_t y = rows->start[r]; y < bottom; y += SIDE) {
        int64_t high = take_shares(rows->share, y, bottom, down);
        for (int64_t x = columns->start[c]; x < right; x += SIDE) {
            int64_t wide = take_shares(columns->share, x, right, across);
            label_tile(corners, rivals, number, down, across, tile);
            uint8_t *out = labels + y * width + x;
            for (int64_t i = 0; i < high; i++, out += width)
                if (wide == SIDE)
                    memcpy(out, tile + i * SIDE, SIDE); /* a single move */
                else
                    memcpy(out, tile + i * SIDE, wide);
        }
    }
}

static int label_all(const float *scores, Py_ssize_t classes, Py_ssize_t height, Py_ssize_t width,
                     const Axis *rows, const Axis *columns, uint8_t *labels)
{
    Py_ssize_t across = columns->start[columns->cells];
    Rows lines;
    int done = open_rows(&lines, classes, width);
    for (Py_ssize_t r = 0; done && r < rows->cells; r++) {
        move_rows(&lines, rows->lower[r], rows->upper[r], scores, classes, height, width);
        const Row *top = lines.top, *bottom = lines.bottom;
        uint8_t *line = labels + rows->start[r] * across;
        for (Py_ssize_t c = 0; c < columns->cells; c++) /* first line, as if no cell was mixed */
            memset(line + columns->start[c], top->best[columns->lower[c]],
                   columns->start[c + 1] - columns->start[c]);
        for (int64_t y = rows->start[r] + 1; y < rows->start[r + 1]; y++)
            memcpy(labels + y * across, line, across);
        for (Py_ssize_t c = 0; c < columns->cells; c++) {
            int64_t l = columns->lower[c], u = columns->upper[c];
            int32_t w = top->best[l], x = top->best[u], y = bottom->best[l], z = bottom->best[u];
            if (w == x && w == y && w == z)
                continue;
            int32_t low = w < x ? w : x, high = w < x ? x : w;
            low = low < y ? low : y, low = low < z ? low : z;
            high = high > y ? high : y, high = high > z ? high : z;
            const float *corners[4] = {top->scores + l * classes, top->scores + u * classes,
                                       bottom->scores + l * classes, bottom->scores + u * classes};
            uint8_t rivals[256];
            int number = find_rivals(corners, classes, (uint8_t)low, (uint8_t)high, rivals);
            label_cell(corners, rivals, number, rows, columns, r, c, labels, across);
        }
    }
    close_rows(&lines);
    return done;
}

/* 2 to the power of x <= 0, to 4e-6 of it; 0 where it is below 2^-126. Without a branch, so that
   the compiler vectorises the loops around it. */
static inline float power_of_two(float x)
{
    int32_t bits, keep = -(x > -126);
    memcpy(&bits, &x, sizeof bits);
    bits &= keep;
    memcpy(&x, &bits, sizeof x);
    int32_t whole = (int32_t)x;
    float part = x - whole, power;
    bits = ((whole + 127) << 23) & keep;
    memcpy(&power, &bits, sizeof power);
    return power
           * (1 + part * (0.693055871f + part * (0.239405678f + part * (0.053127681f
                                                                       + part * 0.006777875f))));
}

/* The bits of a float of 2^-14 .. 1 in 16 bits, rounded to the nearest, of two to the even one. */
static inline uint16_t to_half(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(((bits + 0xFFF + (bits >> 13 & 1)) >> 13) - (112 << 10));
}
#define HALF_ONE 0x3C00

/* The classes with a share of the probability that counts somewhere in a cell, and their scores at
   its corners over those of `base`, the first of them. */
static int find_shares(const float *const corners[4], Py_ssize_t classes, int32_t base,
                       float negligible, float over[][4])
{
    int number = 1;
    memset(over[0], 0, sizeof over[0]);
    for (Py_ssize_t k = 0; k < classes; k++) {
        float most = corners[0][k] - corners[0][base];
        for (int i = 0; i < 4; i++) {
            over[number][i] = corners[i][k] - corners[i][base];
            most = over[number][i] > most ? over[number][i] : most;
        }
        number += k != base && most > negligible;
    }
    return number;
}

/* Of a function compiled twice, the processor takes the one that it can run. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define ALSO_AVX2 __attribute__((target_clones("avx2", "default")))
#else
#define ALSO_AVX2
#endif

/* The highest probability at the pixels of a tile, from the scores of `find_shares`. */
ALSO_AVX2
static void confidence_tile(float over[][4], int number, const float *down, const float *across,
                            uint16_t out[TILE])
{
    float score[255][TILE], highest[TILE] = {0}, sum[TILE] = {0};
    for (int n = 1; n < number; n++) {
        interpolate(over[n], down, across, score[n]);
        for (int p = 0; p < TILE; p++)
            highest[p] = score[n][p] > highest[p] ? score[n][p] : highest[p];
    }
    for (int p = 0; p < TILE; p++)
        sum[p] = power_of_two(-highest[p]);
    for (int n = 1; n < number; n++)
        for (int p = 0; p < TILE; p++)
            sum[p] += power_of_two(score[n][p] - highest[p]);
    for (int p = 0; p < TILE; p++)
        out[p] = to_half(1 / sum[p]);
}

static void confidence_cell(float over[][4], int number, const Axis *rows, const Axis *columns,
                            Py_ssize_t r, Py_ssize_t c, uint16_t *confidence, Py_ssize_t width)
{
    float down[SIDE], across[SIDE];
    uint16_t tile[TILE];
    int64_t bottom = rows->start[r + 1], right = columns->start[c + 1];
    for (int i = 0; i < TILE; i++)
        tile[i] = HALF_ONE;
    for (int64_t y = rows->start[r]; y < bottom; y += SIDE) {
        int64_t high = take_shares(rows->share, y, bottom, down);
        for (int64_t x = columns->start[c]; x < right; x += SIDE) {
            int64_t wide = take_shares(columns->share, x, right, across);
            if (number > 1)
                confidence_tile(over, number, down, across, tile);
            for (int64_t i = 0; i < high; i++)
                memcpy(confidence + (y + i) * width + x, tile + i * SIDE, wide * sizeof *tile);
        }
    }
}

static int confidence_all(const float *scores, Py_ssize_t classes, Py_ssize_t height,
                          Py_ssize_t width, const Axis *rows, const Axis *columns,
                          float negligible, uint16_t *confidence)
{
    Py_ssize_t across = columns->start[columns->cells];
    Rows lines;
    int done = open_rows(&lines, classes, width);
    for (Py_ssize_t r = 0; done && r < rows->cells; r++) {
        move_rows(&lines, rows->lower[r], rows->upper[r], scores, classes, height, width);
        for (Py_ssize_t c = 0; c < columns->cells; c++) {
            int64_t l = columns->lower[c] * classes, u = columns->upper[c] * classes;
            const float *top = lines.top->scores, *bottom = lines.bottom->scores;
            const float *corners[4] = {top + l, top + u, bottom + l, bottom + u};
            float over[256][4];
            int32_t base = lines.top->best[columns->lower[c]];
            int number = find_shares(corners, classes, base, negligible, over);
            confidence_cell(over, number, rows, columns, r, c, confidence, across);
        }
    }
    close_rows(&lines);
    return done;
}

/* Arguments of both functions: scores and their shape, the two axes, the result, the bound. */
typedef struct {
    Py_buffer buffers[10];
    Py_ssize_t classes, height, width;
    Axis rows, columns;
    float negligible;
} Arguments;

static int parse(PyObject *given, Arguments *to, Py_ssize_t bytes)
{
    Py_buffer *b = to->buffers;
    to->negligible = 0;
    if (!PyArg_ParseTuple(given, "y*nnny*y*y*y*y*y*y*y*w*|f", &b[0], &to->classes, &to->height,
                          &to->width, &b[1], &b[2], &b[3], &b[4], &b[5], &b[6], &b[7], &b[8],
                          &b[9], &to->negligible))
        return 0;
    to->rows = (Axis){b[1].len / 8, b[1].buf, b[2].buf, b[3].buf, b[4].buf};
    to->columns = (Axis){b[5].len / 8, b[5].buf, b[6].buf, b[7].buf, b[8].buf};
    if (b[0].len == to->classes * to->height * to->width * 4 && to->classes > 0
        && to->classes < 256 && b[9].len == (b[4].len / 4) * (b[8].len / 4) * bytes)
        return 1;
    for (int i = 0; i < 10; i++)
        PyBuffer_Release(&b[i]);
    PyErr_SetString(PyExc_ValueError, "sizes of the buffers do not fit together");
    return 0;
}

static PyObject *finish(Arguments *from, int done)
{
    for (int i = 0; i < 10; i++)
        PyBuffer_Release(&from->buffers[i]);
    return done ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

static PyObject *label_pixels(PyObject *self, PyObject *given)
{
    Arguments a;
    int done;
    (void)self;
    if (!parse(given, &a, 1))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    done = label_all(a.buffers[0].buf, a.classes, a.height, a.width, &a.rows, &a.columns,
                     a.buffers[9].buf);
    Py_END_ALLOW_THREADS
    return finish(&a, done);
}

static PyObject *confidence_pixels(PyObject *self, PyObject *given)
{
    Arguments a;
    int done;
    (void)self;
    if (!parse(given, &a, 2))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    done = confidence_all(a.buffers[0].buf, a.classes, a.height, a.width, &a.rows, &a.columns,
                          a.negligible, a.buffers[9].buf);
    Py_END_ALLOW_THREADS
    return finish(&a, done);
}

static PyMethodDef methods[] = {{"label_pixels", label_pixels, METH_VARARGS, NULL},
                                {"confidence_pixels", confidence_pixels, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_labels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__labels(void)
{
    return PyModule_Create(&module);
}
