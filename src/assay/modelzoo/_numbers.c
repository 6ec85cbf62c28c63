/* The numbers in lines of text as doubles, each the one that Python's float() makes of it; see result_values.py.
 *
 * A number of at most 2^53 without its point, times or divided by a power of ten of at most 10^22, is one operation
 * on two exact doubles, so it is rounded once (Clinger, PLDI 1990). Any other goes to Python's own function. Neither
 * asks the locale.
 */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <stdint.h>
#include <stdlib.h>

#define LARGEST_EXACT (1ULL << 53)
#define LARGEST_POWER 22
#define MOST_DIGITS 19 /* more do not fit in 64 bits */
#define FAR 9999       /* exponents are not counted beyond */

static const double POWERS[LARGEST_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

typedef struct {
    const char *text;
    const char *end;
} Line;

typedef struct {
    uint64_t digits; /* all of them as one whole number; wrapped around where they are too many */
    Py_ssize_t digit_count;
    int exponent; /* the number is digits * 10^exponent */
    int negative;
} Decimal;

static inline int is_digit(char letter) { return letter >= '0' && letter <= '9'; }
static inline int is_blank(char letter) { return letter == ' ' || letter == '\t'; }

/* Returns where the digits end. */
static inline const char *scan_digits(const char *at, const char *end, Decimal *number) {
    const char *const start = at;
    uint64_t digits = number->digits;
    for (; at < end && is_digit(*at); at++) digits = digits * 10 + (uint64_t)(*at - '0');
    number->digits = digits;
    number->digit_count += at - start;
    return at;
}

/* Returns where the exponent ends, NULL where it has no digits. */
static const char *scan_exponent(const char *at, const char *end, Decimal *number) {
    const int negative = at < end && *at == '-';
    int exponent = 0;
    if (at < end && (*at == '-' || *at == '+')) at++;
    if (at == end || !is_digit(*at)) return NULL;
    for (; at < end && is_digit(*at); at++) exponent = exponent < FAR ? exponent * 10 + (*at - '0') : FAR;
    number->exponent += negative ? -exponent : exponent;
    return at;
}

/* Returns where the number ends, at a blank or at the end; NULL for anything else. */
static inline const char *scan_number(const char *at, const char *end, Decimal *number) {
    number->negative = *at == '-';
    if (*at == '-' || *at == '+') at++;
    at = scan_digits(at, end, number);
    if (at < end && *at == '.') {
        const char *const point = at + 1;
        at = scan_digits(point, end, number);
        number->exponent = at - point < FAR ? -(int)(at - point) : -FAR;
    }
    if (!number->digit_count) return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) at = scan_exponent(at + 1, end, number);
    return at && (at == end || is_blank(*at)) ? at : NULL;
}

/* Whether the value is exact before the one rounding; not where doubles are computed with more digits (x87). */
static inline int round_once(const Decimal *number, double *value) {
    if (FLT_EVAL_METHOD != 0 || number->digit_count > MOST_DIGITS || number->digits > LARGEST_EXACT ||
        number->exponent < -LARGEST_POWER || number->exponent > LARGEST_POWER) {
        return 0;
    }
    const double whole = (double)number->digits;
    const double size = number->exponent < 0 ? whole / POWERS[-number->exponent] : whole * POWERS[number->exponent];
    *value = number->negative ? -size : size;
    return 1;
}

/* As float() does, with the interpreter's lock: an infinity where it is too large. */
static int ask_python(const char *text, const char *end, double *value, PyThreadState **released) {
    char *stop = NULL;
    PyEval_RestoreThread(*released);
    *value = PyOS_string_to_double(text, &stop, NULL);
    if (PyErr_Occurred()) PyErr_Clear();
    *released = PyEval_SaveThread();
    return stop == end;
}

/* Whether the line is `count` numbers with blanks between and perhaps around them; they are written to `out`. */
static int parse_line(const Line *line, double *out, Py_ssize_t count, PyThreadState **released) {
    const char *at = line->text;
    for (Py_ssize_t found = 0;; found++) {
        while (at < line->end && is_blank(*at)) at++;
        if (at == line->end) return found == count;
        if (found == count) return 0;
        Decimal number = {0};
        const char *const stop = scan_number(at, line->end, &number);
        if (!stop || (!round_once(&number, out + found) && !ask_python(at, stop, out + found, released))) return 0;
        at = stop;
    }
}

/* The texts without their line ends; NULL with an error set. They live as long as the tuple. */
static Line *list_lines(PyObject *texts, Py_ssize_t count) {
    Line *const lines = malloc((size_t)(count + 1) * sizeof(Line));
    if (!lines) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        char *text;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(texts, i), &text, &size)) {
            free(lines);
            return NULL;
        }
        while (size && (text[size - 1] == '\n' || text[size - 1] == '\r')) size--;
        lines[i] = (Line){text, text + size};
    }
    return lines;
}

static int fits(const Py_buffer *out, Py_ssize_t line_count) {
    return out->ndim == 2 && out->shape[0] == line_count && out->format && out->format[0] == 'd' &&
           !out->format[1];
}

PyDoc_STRVAR(parse_lines_doc,
             "parse_lines(lines, out, /)\n--\n\n"
             "Write the numbers of the lines, a tuple of bytes, into float64 (lines, numbers); whether that\n"
             "succeeded: each line holds so many numbers, with blanks or tabs between, and nothing else.");

static PyObject *parse_lines(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *texts, *out_object;
    Py_buffer out;
    int whole = 1;
    if (!PyArg_ParseTuple(args, "O!O:parse_lines", &PyTuple_Type, &texts, &out_object)) return NULL;
    if (PyObject_GetBuffer(out_object, &out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)) return NULL;
    const Py_ssize_t line_count = PyTuple_Size(texts);
    if (!fits(&out, line_count)) PyErr_SetString(PyExc_ValueError, "expected out of float64, (lines, numbers)");
    Line *const lines = PyErr_Occurred() ? NULL : list_lines(texts, line_count);
    if (lines) {
        const Py_ssize_t count = out.shape[1];
        PyThreadState *released = PyEval_SaveThread();
        for (Py_ssize_t i = 0; whole && i < line_count; i++) {
            whole = parse_line(lines + i, (double *)out.buf + i * count, count, &released);
        }
        PyEval_RestoreThread(released);
        free(lines);
    }
    PyBuffer_Release(&out);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(whole);
}

static PyMethodDef methods[] = {
    {"parse_lines", parse_lines, METH_VARARGS, parse_lines_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_numbers", "Numbers in text as doubles.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__numbers(void) { return PyModuleDef_Init(&definition); }
