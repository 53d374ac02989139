/* The compiled twin of _pure.py: the same functions, the same bytes.

It hashes, deals rows to partitions and packs arrays as PostgreSQL's array_recv reads
them. What a function does is said in _pure.py.

Items are looked at by their exact type, so that no Python code runs while a list is
being read, and the GIL is held throughout: nobody can change the list meanwhile. What
may start the garbage collector, and with it anybody's __del__, is allocated before the
first look. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_items.h"
#include "_lookup3.h"

#define HEADER 20       /* dimensions, has NULLs, type, length, lower bound */
#define EMPTY_HEADER 12 /* no dimensions: the first three alone */

static PyObject *
hashtext(PyObject *module, PyObject *value)
{
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(value, &length);

    return text == NULL ? NULL : PyLong_FromLong(hash_data(text, (size_t)length));
}

static PyObject *
hashint4(PyObject *module, PyObject *value)
{
    unsigned long bits = PyLong_AsUnsignedLongMask(value);

    if (bits == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    return PyLong_FromLong(hash_word((uint32_t)bits));
}

static PyObject *
hashint8(PyObject *module, PyObject *value)
{
    int64_t number = PyLong_AsLongLong(value);

    if (number == -1 && PyErr_Occurred())
        return NULL;
    return PyLong_FromLong(hash_int8(number));
}

static PyObject *
hash_bytes(PyObject *module, PyObject *value)
{
    char *data;
    Py_ssize_t length;

    if (PyBytes_AsStringAndSize(value, &data, &length) < 0)
        return NULL;
    return PyLong_FromLong(hash_data(data, (size_t)length));
}

static PyObject *
hash_all(PyObject *module, PyObject *items)
{
    PyObject *hashes;
    Py_ssize_t count, i;
    int64_t *out;
    Item item;

    if (!is_list(items))
        return NULL;
    count = PyList_Size(items);
    hashes = PyBytes_FromStringAndSize(NULL, count * (Py_ssize_t)sizeof *out);
    if (hashes == NULL)
        return NULL;
    out = (int64_t *)PyBytes_AsString(hashes);
    for (i = 0; i < count; i++) {
        PyObject *object = PyList_GetItem(items, i);
        if (object == Py_None) {
            Py_DECREF(hashes);
            Py_RETURN_NONE;
        }
        if (read_item(object, &item) < 0) {
            Py_DECREF(hashes);
            return NULL;
        }
        out[i] = item.data == NULL ? hash_int8(item.number)
                                   : hash_data(item.data, (size_t)item.length);
    }
    return hashes;
}

static PyObject *
are_texts(PyObject *module, PyObject *items)
{
    Py_ssize_t count, i, length;

    if (!is_list(items))
        return NULL;
    count = PyList_Size(items);
    for (i = 0; i < count; i++) {
        PyObject *item = PyList_GetItem(items, i);
        const char *text;
        if (item == Py_None)
            continue;
        if (!PyUnicode_CheckExact(item))
            Py_RETURN_FALSE;
        text = PyUnicode_AsUTF8AndSize(item, &length);
        if (text == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
                return NULL;
            PyErr_Clear();
            Py_RETURN_FALSE;
        }
        if (memchr(text, 0, (size_t)length) != NULL)
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

static PyObject *
are_ints(PyObject *module, PyObject *args)
{
    PyObject *items;
    Py_ssize_t count, i;
    long long low, high, number;
    int overflow;

    if (!PyArg_ParseTuple(args, "O!LL:are_ints", &PyList_Type, &items, &low, &high))
        return NULL;
    count = PyList_Size(items);
    for (i = 0; i < count; i++) {
        PyObject *item = PyList_GetItem(items, i);
        if (item == Py_None)
            continue;
        if (!PyLong_CheckExact(item))
            Py_RETURN_FALSE;
        number = PyLong_AsLongLongAndOverflow(item, &overflow);
        if (overflow || number < low || number > high)
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

static PyObject *
deal(PyObject *module, PyObject *args)
{
    Py_buffer hashes = {0};
    Py_ssize_t part_count, count, i;
    int modular;
    uint32_t *places = NULL; /* by partition: its place in the answer, from 1 */
    uint32_t seen = 0;
    const int64_t *hash;
    uint32_t *dealt;
    PyObject *partitions = NULL, *places_dealt = NULL;

    if (!PyArg_ParseTuple(args, "y*np:deal", &hashes, &part_count, &modular))
        return NULL;
    if (part_count < 1 || part_count > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "no such count of partitions");
        goto done;
    }
    count = hashes.len / (Py_ssize_t)sizeof *hash;
    hash = hashes.buf;
    partitions = PyList_New(0);
    places_dealt = PyBytes_FromStringAndSize(NULL, count * (Py_ssize_t)sizeof *dealt);
    places = PyMem_Calloc((size_t)part_count, sizeof *places);
    if (places == NULL)
        PyErr_NoMemory();
    if (partitions == NULL || places_dealt == NULL || places == NULL)
        goto failed;
    dealt = (uint32_t *)PyBytes_AsString(places_dealt);
    for (i = 0; i < count; i++) {
        uint64_t bits = (uint64_t)hash[i];
        uint64_t partition = bits & (uint64_t)(part_count - 1);
        if (modular)
            partition = (hash[i] < 0 ? 0 - bits : bits) % (uint64_t)part_count;
        if (places[partition] == 0) {
            PyObject *number = PyLong_FromUnsignedLongLong(partition);
            int failed = number == NULL || PyList_Append(partitions, number) < 0;
            Py_XDECREF(number);
            if (failed)
                goto failed;
            places[partition] = ++seen;
        }
        dealt[i] = places[partition] - 1;
    }
    PyMem_Free(places);
    PyBuffer_Release(&hashes);
    return Py_BuildValue("(NN)", partitions, places_dealt);

failed:
    PyMem_Free(places);
    Py_XDECREF(partitions);
    Py_XDECREF(places_dealt);
done:
    PyBuffer_Release(&hashes);
    return NULL;
}

/* One part of an array while it is being packed. */
typedef struct {
    Py_ssize_t rows;
    Py_ssize_t size; /* of all elements and their lengths, in bytes */
    int has_nulls;
    char *end;
} Part;

static inline char *
put(char *at, uint64_t value, int width)
{
    while (width-- > 0)
        *at++ = (char)(value >> (8 * width));
    return at;
}

/* Returns -1 with an exception set. */
static int
measure(PyObject *items, int width, const uint32_t *places, Part *parts, int count)
{
    Py_ssize_t rows = PyList_Size(items), i;
    Item item;

    for (i = 0; i < rows; i++) {
        PyObject *object = PyList_GetItem(items, i);
        Part *part;
        if (places[i] >= (uint32_t)count) {
            PyErr_SetString(PyExc_ValueError, "a place beyond the last part");
            return -1;
        }
        part = &parts[places[i]];
        part->rows++;
        part->size += 4;
        if (object == Py_None) {
            part->has_nulls = 1;
            continue;
        }
        if (read_item(object, &item) < 0)
            return -1;
        if (item.data == NULL) {
            int64_t sign = item.number >> (8 * width - 1);
            item.length = sign == 0 || sign == -1 ? width : -1;
        }
        if (item.length < 0 || item.length > INT32_MAX || part->rows > INT32_MAX) {
            PyErr_SetString(PyExc_OverflowError, "more than an array can hold");
            return -1;
        }
        part->size += item.length;
    }
    return 0;
}

/* Makes the bytes of each part, with its header. Returns -1 with an exception set. */
static int
make_parts(PyObject *packed, Part *parts, int count, unsigned int oid)
{
    int i;

    for (i = 0; i < count; i++) {
        Part *part = &parts[i];
        PyObject *bytes = PyBytes_FromStringAndSize(
            NULL, part->size + (part->rows ? HEADER : EMPTY_HEADER));
        if (bytes == NULL)
            return -1;
        part->end = PyBytes_AsString(bytes);
        part->end = put(part->end, part->rows != 0, 4);
        part->end = put(part->end, (uint64_t)part->has_nulls, 4);
        part->end = put(part->end, oid, 4);
        if (part->rows) {
            part->end = put(part->end, (uint64_t)part->rows, 4);
            part->end = put(part->end, 1, 4);
        }
        if (PyList_SetItem(packed, i, bytes) < 0)
            return -1;
    }
    return 0;
}

/* Writes what `measure` has read without an error. */
static void
fill(PyObject *items, int width, const uint32_t *places, Part *parts)
{
    Py_ssize_t rows = PyList_Size(items), i;
    Item item;

    for (i = 0; i < rows; i++) {
        PyObject *object = PyList_GetItem(items, i);
        char **end = &parts[places[i]].end;
        if (object == Py_None) {
            *end = put(*end, UINT32_MAX, 4);
            continue;
        }
        read_item(object, &item);
        if (item.data == NULL) {
            *end = put(*end, (uint64_t)width, 4);
            *end = put(*end, (uint64_t)item.number, width);
        }
        else {
            *end = put(*end, (uint64_t)item.length, 4);
            memcpy(*end, item.data, (size_t)item.length);
            *end += item.length;
        }
    }
}

static PyObject *
pack(PyObject *module, PyObject *args)
{
    PyObject *items, *packed = NULL;
    Py_buffer places = {0};
    unsigned int oid;
    int width, count;
    Part *parts = NULL;

    if (!PyArg_ParseTuple(args, "O!Iiy*i:pack", &PyList_Type, &items, &oid, &width,
                          &places, &count))
        return NULL;
    if (count < 1 || width < 1 || width > 8) {
        PyErr_SetString(PyExc_ValueError, "no such count of parts, or width");
        goto done;
    }
    packed = PyList_New(count);
    parts = PyMem_Calloc((size_t)count, sizeof *parts);
    if (packed == NULL || parts == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    /* Behind PyList_New, which may collect garbage. */
    if (places.len != PyList_Size(items) * (Py_ssize_t)sizeof(uint32_t)) {
        PyErr_SetString(PyExc_ValueError, "a place for each item is needed");
        goto failed;
    }
    if (measure(items, width, places.buf, parts, count) < 0
        || make_parts(packed, parts, count, oid) < 0)
        goto failed;
    fill(items, width, places.buf, parts);
    goto done;

failed:
    Py_CLEAR(packed);
done:
    PyMem_Free(parts);
    PyBuffer_Release(&places);
    return packed;
}

PyDoc_STRVAR(hashtext_doc,
"hashtext($module, value, /)\n--\n\n"
"Return an int4 hash. Source: PostgreSQL hashfunc.c, hashtext.");
PyDoc_STRVAR(hashint4_doc,
"hashint4($module, value, /)\n--\n\n"
"Return an int4 hash. Source: PostgreSQL hashfunc.c, hashint4.");
PyDoc_STRVAR(hashint8_doc,
"hashint8($module, value, /)\n--\n\n"
"Return an int4 hash, the same as hashint4 where value fits an int4.\n\n"
"Source: PostgreSQL hashfunc.c, hashint8.");

static PyMethodDef methods[] = {
    {"hashtext", hashtext, METH_O, hashtext_doc},
    {"hashint4", hashint4, METH_O, hashint4_doc},
    {"hashint8", hashint8, METH_O, hashint8_doc},
    {"hash_bytes", hash_bytes, METH_O, NULL},
    {"hash_all", hash_all, METH_O, NULL},
    {"are_texts", are_texts, METH_O, NULL},
    {"are_ints", are_ints, METH_VARARGS, NULL},
    {"deal", deal, METH_VARARGS, NULL},
    {"pack", pack, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "plproxy_py._speedups",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
