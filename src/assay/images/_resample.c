/* The centre crop of Pillow's antialiased resize, bit for bit, computing the crop alone; see resize.py.
 *
 * What Pillow does (src/libImaging/Resample.c, since 4.2): per axis, double coefficients normalised to 1,
 * rounded half away from zero to 22 fractional bits; one axis, rounded and clipped to uint8, then the other.
 * An axis whose size stays is copied. Which axis goes first, the caller says. Compile with -ffp-contract=off: fused operations give other bits.
 */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__)
#define WITH_AVX2 1
#include <immintrin.h>
#else
#define WITH_AVX2 0
#endif

#define BITS 22
#define HALF (1 << (BITS - 1))
#define LOW_BITS 11
#define SLACK 32         /* bytes that vector code may read or write beyond the end of a row */
#define MAX_SIDE (1LL << 40) /* of the resized picture: its coordinates are exact in a double */

enum { OK, NO_MEMORY };

typedef double (*Kernel)(double);

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* sin and cos are those of the C library, as in Pillow: their last bits do not reach weights of 22 bits. */
#define PI 3.14159265358979323846

static double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

static double sinc(double x) {
    if (x == 0.0) return 1.0;
    x *= PI;
    return sin(x) / x;
}

static double hamming(double x) {
    x = fabs(x);
    if (x == 0.0) return 1.0; /* the other constants do not quite add up to it */
    if (x >= 1.0) return 0.0;
    return sinc(x) * (0.54f + 0.46f * cos(x * PI)); /* float constants, as there */
}

static double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static const struct Filter {
    const char *name;
    Kernel kernel;
    double reach;
} FILTERS[] = {
    {"bilinear", triangle, 1.0}, {"bicubic", cubic, 2.0},   {"box", box, 0.5},
    {"hamming", hamming, 1.0},   {"lanczos", lanczos, 3.0},
};

/* One axis of the crop: output i is the sum of taps values from start[i] on, by weights[i * taps]. */
typedef struct {
    int64_t count; /* outputs */
    int64_t taps;  /* a multiple of 4; those not needed have weight 0 */
    int64_t *start;
    int64_t *used; /* taps that are needed */
    int32_t *weights;
} Axis;

static void free_axis(Axis *axis) {
    free(axis->start);
    free(axis->used);
    free(axis->weights);
}

/* Returns malloc(a * b * size), NULL also where the product overflows. */
static void *allocate(int64_t a, int64_t b, size_t size) {
    if (a < 0 || b < 0 || (b && a > (int64_t)(PTRDIFF_MAX / 64) / b)) return NULL;
    return malloc((size_t)(a * b) * size + 1);
}

static int fill_axis(Axis *axis, int64_t in_size, int64_t out_size, int64_t first, Kernel kernel, double reach) {
    const double scale = (double)in_size / (double)out_size;
    const double filter_scale = scale < 1.0 ? 1.0 : scale;
    const double support = reach * filter_scale, inverse = 1.0 / filter_scale;
    int64_t taps = 0;
    double *row;
    axis->start = allocate(axis->count, 1, sizeof(int64_t));
    axis->used = allocate(axis->count, 1, sizeof(int64_t));
    if (!axis->start || !axis->used) return NO_MEMORY;
    for (int64_t i = 0; i < axis->count; i++) {
        const double centre = ((double)(first + i) + 0.5) * scale;
        int64_t low = (int64_t)(centre - support + 0.5), high = (int64_t)(centre + support + 0.5);
        if (low < 0) low = 0;
        if (high > in_size) high = in_size;
        axis->start[i] = low;
        axis->used[i] = high - low;
        if (high - low > taps) taps = high - low;
    }
    axis->taps = (taps + 3) / 4 * 4;
    axis->weights = allocate(axis->count, axis->taps, sizeof(int32_t));
    row = allocate(axis->taps, 1, sizeof(double));
    if (!axis->weights || !row) {
        free(row);
        return NO_MEMORY;
    }
    for (int64_t i = 0; i < axis->count; i++) {
        const double centre = ((double)(first + i) + 0.5) * scale;
        int32_t *weights = axis->weights + i * axis->taps;
        double sum = 0.0;
        for (int64_t t = 0; t < axis->used[i]; t++) {
            row[t] = kernel(((double)(t + axis->start[i]) - centre + 0.5) * inverse);
            sum += row[t];
        }
        memset(weights, 0, (size_t)axis->taps * sizeof(int32_t));
        for (int64_t t = 0; t < axis->used[i]; t++) {
            const double weight = (sum != 0.0 ? row[t] / sum : row[t]) * (1 << BITS);
            weights[t] = (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
    }
    free(row);
    return OK;
}

static inline uint8_t clip(int32_t sum) {
    const int32_t value = sum >> BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* -- in plain C ------------------------------------------------------------------------------------- */

/* Sums fit in 32 bits: the positive weights of lanczos add up to at most 9/7 of 2^22, its negative ones to 2/7 (those
 * of bicubic to 8/7 and 1/7; the others have none), so sums lie between -0.4e9 and 1.4e9. */
static void squeeze_row(const Axis *axis, const uint8_t *in, uint8_t *out) {
    for (int64_t i = 0; i < axis->count; i++) {
        const uint8_t *pixel = in + 3 * axis->start[i];
        const int32_t *weights = axis->weights + i * axis->taps;
        int32_t red = HALF, green = HALF, blue = HALF;
        for (int64_t t = 0; t < axis->used[i]; t++, pixel += 3) {
            red += pixel[0] * weights[t];
            green += pixel[1] * weights[t];
            blue += pixel[2] * weights[t];
        }
        out[3 * i] = clip(red);
        out[3 * i + 1] = clip(green);
        out[3 * i + 2] = clip(blue);
    }
}

static void blend_rows(const Axis *axis, int64_t i, const uint8_t *rows, int64_t stride, int32_t *sums,
                       uint8_t *out, int64_t length) {
    const int32_t *weights = axis->weights + i * axis->taps;
    for (int64_t x = 0; x < length; x++) sums[x] = HALF;
    for (int64_t t = 0; t < axis->used[i]; t++, rows += stride) {
        for (int64_t x = 0; x < length; x++) sums[x] += rows[x] * weights[t];
    }
    for (int64_t x = 0; x < length; x++) out[x] = clip(sums[x]);
}

/* -- in AVX2 ---------------------------------------------------------------------------------------- */

/* A weight of 24 bits is high * 2^11 + low, both int16: madd sums exact products of either part with two
 * pixels. The sums of the parts may wrap, since the whole sum fits. */
#if WITH_AVX2
#define AVX2 __attribute__((target("avx2")))

/* For two outputs at a time, one in each half of a register, and two taps, the high and low parts of their
 * weights: [output pair][tap pair][high, low][half][4 times, one for each colour and one idle][2]. */
static int16_t *spread_weights(const Axis *axis) {
    const int64_t pairs = (axis->count + 1) / 2;
    int16_t *spread = allocate(pairs * 32, axis->taps / 2, sizeof(int16_t));
    if (!spread) return NULL;
    int16_t *at = spread;
    for (int64_t pair = 0; pair < pairs; pair++) {
        for (int64_t t = 0; t < axis->taps; t += 2, at += 32) {
            for (int half = 0; half < 2; half++) {
                const int64_t i = 2 * pair + half < axis->count ? 2 * pair + half : axis->count - 1;
                const int32_t *weights = axis->weights + i * axis->taps + t;
                for (int k = 0; k < 8; k++) {
                    at[8 * half + k] = (int16_t)(weights[k & 1] >> LOW_BITS);
                    at[16 + 8 * half + k] = (int16_t)(weights[k & 1] & ((1 << LOW_BITS) - 1));
                }
            }
        }
    }
    return spread;
}

AVX2 static inline __m256i load_halves(const uint8_t *first, const uint8_t *second) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)first)),
                                   _mm_loadu_si128((const __m128i *)second), 1);
}

AVX2 static inline __m256i join_parts(__m256i high, __m256i low) {
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(HALF)), BITS);
}

/* Reads up to 16 bytes beyond a row's last tap, and writes up to SLACK beyond out's last pixel. */
AVX2 static void squeeze_row_avx2(const Axis *axis, const int16_t *spread, const uint8_t *in, uint8_t *out) {
    /* the first two and the next two of four pixels, as pairs of one colour in 16 bits each */
    const __m256i early = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m256i late = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
    const __m128i tight = _mm_setr_epi8(0, 1, 2, 4, 5, 6, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const int64_t pairs = (axis->count + 1) / 2, quads = axis->taps / 4;
    const __m256i *weights = (const __m256i *)spread;
    for (int64_t pair = 0; pair < pairs; pair++, out += 6) {
        const int64_t next = 2 * pair + 1 < axis->count ? 2 * pair + 1 : axis->count - 1;
        const uint8_t *first = in + 3 * axis->start[2 * pair], *second = in + 3 * axis->start[next];
        __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();
        for (int64_t quad = 0; quad < quads; quad++, weights += 4) {
            const __m256i pixels = load_halves(first + 12 * quad, second + 12 * quad);
            const __m256i a = _mm256_shuffle_epi8(pixels, early), b = _mm256_shuffle_epi8(pixels, late);
            high = _mm256_add_epi32(high, _mm256_madd_epi16(a, _mm256_loadu_si256(weights)));
            low = _mm256_add_epi32(low, _mm256_madd_epi16(a, _mm256_loadu_si256(weights + 1)));
            high = _mm256_add_epi32(high, _mm256_madd_epi16(b, _mm256_loadu_si256(weights + 2)));
            low = _mm256_add_epi32(low, _mm256_madd_epi16(b, _mm256_loadu_si256(weights + 3)));
        }
        const __m256i sums = join_parts(high, low); /* red green blue 0, twice */
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        const __m128i bytes = _mm_shuffle_epi8(_mm_packus_epi16(words, words), tight);
        _mm_storel_epi64((__m128i *)out, bytes);
    }
}

AVX2 static void blend_rows_avx2(const Axis *axis, int64_t i, const uint8_t *rows, int64_t stride,
                                 int32_t *sums, uint8_t *out, int64_t length) {
    const int32_t *weights = axis->weights + i * axis->taps;
    int64_t x = 0;
    for (; x + 16 <= length; x += 16) {
        __m256i high0 = _mm256_setzero_si256(), low0 = high0, high1 = high0, low1 = high0;
        for (int64_t t = 0; t < axis->used[i]; t += 2) {
            const uint8_t *upper = rows + t * stride + x;
            const uint8_t *lower = t + 1 < axis->used[i] ? upper + stride : upper; /* has weight 0 */
            const __m128i u = _mm_loadu_si128((const __m128i *)upper);
            const __m128i l = _mm_loadu_si128((const __m128i *)lower);
            const __m256i a = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(u, l));
            const __m256i b = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(u, l));
            int64_t two_weights;
            memcpy(&two_weights, weights + t, sizeof two_weights);
            const __m256i both = _mm256_set1_epi64x(two_weights);
            const __m256i h = _mm256_srai_epi32(both, LOW_BITS);
            const __m256i lows = _mm256_and_si256(both, _mm256_set1_epi32((1 << LOW_BITS) - 1));
            /* w0 w1 w0 w1 ... in 32 bits each, to w0 w1 pairs in 16 */
            const __m256i high_pair = _mm256_packs_epi32(h, h), low_pair = _mm256_packs_epi32(lows, lows);
            high0 = _mm256_add_epi32(high0, _mm256_madd_epi16(a, high_pair));
            low0 = _mm256_add_epi32(low0, _mm256_madd_epi16(a, low_pair));
            high1 = _mm256_add_epi32(high1, _mm256_madd_epi16(b, high_pair));
            low1 = _mm256_add_epi32(low1, _mm256_madd_epi16(b, low_pair));
        }
        const __m256i words = _mm256_packs_epi32(join_parts(high0, low0), join_parts(high1, low1));
        /* halves hold 0-3 8-11 and 4-7 12-15 */
        const __m128i bytes =
            _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128((__m128i *)(out + x), _mm_shuffle_epi32(bytes, _MM_SHUFFLE(3, 1, 2, 0)));
    }
    if (x < length) blend_rows(axis, i, rows + x, stride, sums, out + x, length - x);
}
#endif

/* -- the crop --------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *pixels; /* height * width * 3 */
    int64_t height, width;
    int64_t new_height, new_width, top, left;
    int64_t crop_height, crop_width;
    int avx2;
    const struct Filter *filter;
    int down_first;        /* the columns are resampled before the rows */
    const float *table;    /* 3 * 256, by plane, or NULL */
    int bgr;               /* plane 0 is blue */
    uint8_t *bytes;        /* crop_height * crop_width * 3, where table is NULL */
    float *planes;         /* 3 * crop_height * crop_width, otherwise */
} Job;

static void write_row(const Job *job, const uint8_t *row, int64_t y) {
    const int64_t width = job->crop_width, area = width * job->crop_height;
    if (!job->table) {
        memcpy(job->bytes + y * width * 3, row, (size_t)width * 3);
        return;
    }
    const float *first = job->table, *second = first + 256, *third = second + 256;
    float *out0 = job->planes + y * width, *out1 = out0 + area, *out2 = out1 + area;
    const int red = job->bgr ? 2 : 0, blue = 2 - red;
    for (int64_t x = 0; x < width; x++, row += 3) {
        out0[x] = first[row[red]];
        out1[x] = second[row[1]];
        out2[x] = third[row[blue]];
    }
}

/* What the passes need besides the job. */
typedef struct {
    Axis x, y;        /* without outputs where that size stays */
    int16_t *spread;  /* of x, for AVX2 */
    int64_t overread; /* bytes beyond a row's end that vector code may read: idle taps, and 16 bytes for 12 */
    uint8_t *padded;  /* a row of the picture with that many zeros behind it */
    uint8_t *between; /* what the first pass made */
    int32_t *sums;    /* as long as padded, or a row of the crop */
    uint8_t *row;     /* a row of the crop, with SLACK behind it */
} Work;

static void free_work(Work *work) {
    free_axis(&work->x);
    free_axis(&work->y);
    free(work->spread);
    free(work->padded);
    free(work->between);
    free(work->sums);
    free(work->row);
}

static int prepare_work(const Job *job, Work *work) {
    const Kernel kernel = job->filter->kernel;
    const double reach = job->filter->reach;
    const int64_t longer = job->width > job->crop_width ? job->width : job->crop_width;
    if (job->new_width != job->width) {
        work->x.count = job->crop_width;
        if (fill_axis(&work->x, job->width, job->new_width, job->left, kernel, reach)) return NO_MEMORY;
#if WITH_AVX2
        if (job->avx2 && !(work->spread = spread_weights(&work->x))) return NO_MEMORY;
#endif
    }
    if (job->new_height != job->height) {
        work->y.count = job->crop_height;
        if (fill_axis(&work->y, job->height, job->new_height, job->top, kernel, reach)) return NO_MEMORY;
    }
    work->overread = 3 * work->x.taps + 16;
    work->padded = allocate(job->width * 3 + work->overread, 1, 1);
    work->sums = allocate(longer * 3, 1, sizeof(int32_t));
    work->row = allocate(job->crop_width * 3 + SLACK, 1, 1);
    if (!work->padded || !work->sums || !work->row) return NO_MEMORY;
    memset(work->padded + job->width * 3, 0, (size_t)work->overread);
    return OK;
}

/* Makes the crop's columns of one row; work->overread bytes behind the row can be read. */
static void squeeze_one(const Job *job, const Work *work, const uint8_t *row, uint8_t *out) {
#if WITH_AVX2
    if (job->avx2) {
        squeeze_row_avx2(&work->x, work->spread, row, out);
        return;
    }
#endif
    (void)job;
    squeeze_row(&work->x, row, out);
}

static void blend_one(const Job *job, const Work *work, int64_t y, const uint8_t *rows, int64_t stride, uint8_t *out,
                      int64_t length) {
#if WITH_AVX2
    if (job->avx2) {
        blend_rows_avx2(&work->y, y, rows, stride, work->sums, out, length);
        return;
    }
#endif
    (void)job;
    blend_rows(&work->y, y, rows, stride, work->sums, out, length);
}

/* Each row of the crop's columns, then each row of the crop from those. */
static int across_then_down(const Job *job, Work *work) {
    const int across = work->x.count > 0, down = work->y.count > 0;
    const int64_t last_row = job->crop_height - 1, row_bytes = job->width * 3;
    const int64_t first = down ? work->y.start[0] : job->top; /* the rows that are needed */
    const int64_t last = down ? work->y.start[last_row] + work->y.used[last_row] : job->top + job->crop_height;
    const int64_t stride = job->crop_width * 3 + SLACK;
    const uint8_t *end = job->pixels + job->height * row_bytes;
    if (!(work->between = allocate(last - first, stride, 1))) return NO_MEMORY;
    for (int64_t y = first; y < last; y++) {
        const uint8_t *row = job->pixels + y * row_bytes;
        uint8_t *out = work->between + (y - first) * stride;
        if (!across) {
            memcpy(out, row + job->left * 3, (size_t)job->crop_width * 3);
            continue;
        }
        if (end - row < row_bytes + work->overread) row = memcpy(work->padded, row, (size_t)row_bytes);
        squeeze_one(job, work, row, out);
    }
    for (int64_t y = 0; y < job->crop_height; y++) {
        const uint8_t *row = work->between + ((down ? work->y.start[y] : job->top + y) - first) * stride;
        if (down) {
            blend_one(job, work, y, row, stride, work->row, job->crop_width * 3);
            row = work->row;
        }
        write_row(job, row, y);
    }
    return OK;
}

/* Each whole row of the crop's height, then its columns. Both sizes change. */
static void down_then_across(const Job *job, const Work *work) {
    const int64_t row_bytes = job->width * 3;
    for (int64_t y = 0; y < job->crop_height; y++) {
        const uint8_t *rows = job->pixels + work->y.start[y] * row_bytes;
        blend_one(job, work, y, rows, row_bytes, work->padded, row_bytes);
        squeeze_one(job, work, work->padded, work->row);
        write_row(job, work->row, y);
    }
}

static int make_crop(const Job *job) {
    Work work = {0};
    int status = prepare_work(job, &work);
    if (!status) {
        if (job->down_first && work.x.count && work.y.count) down_then_across(job, &work);
        else status = across_then_down(job, &work);
    }
    free_work(&work);
    return status;
}

/* -- for Python ------------------------------------------------------------------------------------- */

static int has_avx2(void) {
#if WITH_AVX2
    return __builtin_cpu_supports("avx2") != 0;
#else
    return 0;
#endif
}

/* Returns whether a buffer holds items of `format` in `ndim` dimensions, the dimension `three` being 3. */
static int has_form(const Py_buffer *view, const char *format, Py_ssize_t item_size, int ndim, int three) {
    return view->format && !strcmp(view->format, format) && view->itemsize == item_size &&
           view->ndim == ndim && view->shape[three] == 3;
}

/* Returns what is wrong with a job, or NULL. */
static const char *find_fault(const Job *job) {
    if (job->height < 1 || job->width < 1) return "pixels is empty";
    if (job->crop_height < 1 || job->crop_width < 1) return "out is empty";
    if (job->new_height > MAX_SIDE || job->new_width > MAX_SIDE) return "the new size is too large";
    if (job->top < 0 || job->left < 0) return "the crop begins before the picture";
    if (job->top > job->new_height - job->crop_height || job->left > job->new_width - job->crop_width) {
        return "the crop does not lie inside the new size";
    }
    if (job->avx2 && !has_avx2()) return "avx2 is not there";
    return NULL;
}

static const struct Filter *find_filter(const char *name) {
    for (size_t i = 0; i < sizeof FILTERS / sizeof *FILTERS; i++) {
        if (!strcmp(name, FILTERS[i].name)) return &FILTERS[i];
    }
    return NULL;
}

static const char *describe_job(Job *job, const Py_buffer *pixels, const Py_buffer *out, const Py_buffer *table,
                                const char *filter) {
    if (!has_form(pixels, "B", 1, 3, 2)) return "pixels is not uint8 (height, width, 3)";
    job->pixels = pixels->buf;
    job->height = pixels->shape[0];
    job->width = pixels->shape[1];
    if (!(job->filter = find_filter(filter))) return "filter is none of bilinear, bicubic, box, hamming and lanczos";
    if (table) {
        if (!has_form(table, "f", 4, 2, 0) || table->shape[1] != 256) return "table is not float32 (3, 256)";
        if (!has_form(out, "f", 4, 3, 0)) return "out is not float32 (3, height, width)";
        job->table = table->buf;
        job->planes = out->buf;
    } else {
        if (!has_form(out, "B", 1, 3, 2)) return "out is not uint8 (height, width, 3)";
        job->bytes = out->buf;
    }
    job->crop_height = out->shape[table ? 1 : 0];
    job->crop_width = out->shape[table ? 2 : 1];
    return find_fault(job);
}

PyDoc_STRVAR(resample_crop_doc,
    "resample_crop(pixels, out, table, new_width, new_height, left, top, filter, down_first, bgr, avx2)\n--\n\n"
    "Write a part of the resized picture into out: as it is, or by a table of float32 (3, 256).");

static PyObject *resample_crop(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *pixels_object, *out_object, *table_object;
    Py_buffer pixels, out, table;
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT;
    const char *filter, *fault;
    long long new_width, new_height, left, top;
    Job job = {0};
    int status = OK;
    if (!PyArg_ParseTuple(args, "OOOLLLLsppp:resample_crop", &pixels_object, &out_object, &table_object, &new_width,
                          &new_height, &left, &top, &filter, &job.down_first, &job.bgr,
                          &job.avx2)) {
        return NULL;
    }
    const int has_table = table_object != Py_None;
    if (PyObject_GetBuffer(pixels_object, &pixels, flags)) return NULL;
    if (PyObject_GetBuffer(out_object, &out, flags | PyBUF_WRITABLE)) {
        PyBuffer_Release(&pixels);
        return NULL;
    }
    if (has_table && PyObject_GetBuffer(table_object, &table, flags)) {
        PyBuffer_Release(&pixels);
        PyBuffer_Release(&out);
        return NULL;
    }
    job.new_width = new_width;
    job.new_height = new_height;
    job.left = left;
    job.top = top;
    fault = describe_job(&job, &pixels, &out, has_table ? &table : NULL, filter);
    if (!fault) {
        Py_BEGIN_ALLOW_THREADS
        status = make_crop(&job);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&pixels);
    PyBuffer_Release(&out);
    if (has_table) PyBuffer_Release(&table);
    if (fault) {
        PyErr_SetString(PyExc_ValueError, fault);
        return NULL;
    }
    if (status == NO_MEMORY) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"resample_crop", resample_crop, METH_VARARGS, resample_crop_doc},
    {NULL, NULL, 0, NULL},
};

static int set_up(PyObject *module) {
    return PyModule_AddObjectRef(module, "HAS_AVX2", has_avx2() ? Py_True : Py_False);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, set_up},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_resample", "The centre crop of Pillow's resize.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__resample(void) { return PyModuleDef_Init(&definition); }
