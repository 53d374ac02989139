/* The items of a list, as _speedups.c reads them: by their exact type, so that no Python
code runs meanwhile. Python.h stands before it. */

#include <stddef.h>
#include <stdint.h>

static int
is_list(PyObject *items)
{
    if (PyList_Check(items))
        return 1;
    PyErr_SetString(PyExc_TypeError, "expected a list");
    return 0;
}

/* One item as what is hashed or packed: the bytes of a str or bytes, or a number. */
typedef struct {
    const char *data; /* NULL for a number */
    Py_ssize_t length;
    int64_t number;
} Item;

/* Borrows from the item. Returns -1 with an exception set. */
static inline int
read_item(PyObject *item, Item *read)
{
    if (PyUnicode_CheckExact(item)) {
        read->data = PyUnicode_AsUTF8AndSize(item, &read->length);
        return read->data == NULL ? -1 : 0;
    }
    if (PyLong_CheckExact(item)) {
        read->data = NULL;
        read->number = PyLong_AsLongLong(item);
        return read->number == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if (PyBytes_CheckExact(item)) {
        char *data;
        int failed = PyBytes_AsStringAndSize(item, &data, &read->length);
        read->data = data;
        return failed;
    }
    PyErr_SetString(PyExc_TypeError, "expected str, bytes, int or None");
    return -1;
}
