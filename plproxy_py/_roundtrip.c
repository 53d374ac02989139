/* A prepared statement's round trip on libpq itself, and many of them in a pipeline.

psycopg wraps each of libpq's steps: six calls from Python for one round trip. Here they
are one call that lets go of the GIL once. What came is then taken through psycopg.

The functions are those of the very libpq which psycopg uses, handed to bind() as
addresses: a connection belongs to the library that opened it. Connections come as
pgconn_ptr, which is None once they were closed. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <time.h>

#define TICK 0.1 /* as in _waiting.py */
#define FEW 16   /* parameters that need no memory of their own */
#define HEAD 64  /* about what a call has beside its parameters, in bytes */
#define LARGE 4096 /* bytes of parameters: from 8192 on, libpq sends by itself */

enum { BROKEN = -1, WAITING = 0, ANSWERED = 1 };

static int (*send_prepared)(void *, const char *, int, const char *const *,
                            const int *, const int *, int);
static int (*flush)(void *);
static int (*consume_input)(void *);
static int (*is_busy)(void *);
static int (*get_socket)(const void *);
static int (*send_sync)(void *); /* NULL before libpq 17 */

typedef struct {
    void *conn;
    const char *name;
    int count;
    Py_ssize_t size; /* bytes of all values, with their lengths */
    const char **values;
    const char *few[FEW];
} Call;

static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Read pointer, name and parameters. The values belong to the list's own items, which
the caller keeps as they are. */
static int
read_call(Call *call, PyObject *const *args)
{
    Py_ssize_t count;

    call->values = call->few;
    if (send_prepared == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "no libpq is bound");
        return -1;
    }
    call->conn = PyLong_AsVoidPtr(args[0]);
    if (call->conn == NULL) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "no connection");
        return -1;
    }
    call->name = PyBytes_AsString(args[1]);
    if (call->name == NULL)
        return -1;
    if (!PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "parameters are a list");
        return -1;
    }
    count = PyList_Size(args[2]);
    if (count > FEW) {
        call->values = PyMem_Malloc((size_t)count * sizeof *call->values);
        if (call->values == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    call->count = (int)count;
    call->size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyList_GetItem(args[2], i);

        call->values[i] = NULL;
        call->size += 4; /* its length, sent for NULL as well */
        if (item == Py_None)
            continue;
        call->values[i] = PyBytes_AsString(item);
        if (call->values[i] == NULL)
            return -1;
        call->size += PyBytes_Size(item);
    }
    return 0;
}

static void
end_call(Call *call)
{
    if (call->values != call->few)
        PyMem_Free(call->values);
}

static int
is_sent(const Call *call)
{
    return send_prepared(call->conn, call->name, call->count, call->values, NULL, NULL,
                         0);
}

static PyObject *
converse(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    Call call;
    double seconds, looked, until = INFINITY;
    int state = WAITING, interrupted = 0;

    if (nargs != 4) {
        PyErr_SetString(PyExc_TypeError, "converse() takes 4 arguments");
        return NULL;
    }
    seconds = PyFloat_AsDouble(args[3]);
    if (seconds == -1.0 && PyErr_Occurred())
        return NULL;
    if (read_call(&call, args) < 0) {
        end_call(&call);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    looked = now();
    if (isfinite(seconds))
        until = looked + seconds;
    if (!is_sent(&call))
        state = BROKEN;
    else {
        int unsent = flush(call.conn);
        struct pollfd wanted = {.fd = get_socket(call.conn), .events = POLLIN};

        if (unsent < 0 || wanted.fd < 0)
            state = BROKEN;
        while (!unsent && state == WAITING) {
            /* A signal that arrives just before an endless poll would be seen late. */
            double wait = TICK;
            int ready;

            if (isfinite(until)) {
                double left = until - now();

                if (left <= 0)
                    break;
                wait = left < wait ? left : wait;
            }
            ready = poll(&wanted, 1, (int)ceil(wait * 1000));
            if (ready < 0 && errno != EINTR)
                state = BROKEN;
            else if (ready > 0) {
                if (!consume_input(call.conn))
                    state = BROKEN;
                else if (!is_busy(call.conn))
                    state = ANSWERED;
            }
            /* A long answer may keep the socket readable to its end. */
            if (state == WAITING && (ready <= 0 || now() - looked >= TICK)) {
                Py_BLOCK_THREADS
                interrupted = PyErr_CheckSignals();
                Py_UNBLOCK_THREADS
                if (interrupted)
                    break;
                looked = now();
            }
        }
    }
    Py_END_ALLOW_THREADS
    end_call(&call);
    return interrupted ? NULL : PyLong_FromLong(state);
}

static PyObject *
queue(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    Call call;
    PyObject *size = NULL;

    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "queue() takes 3 arguments");
        return NULL;
    }
    if (send_sync == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this libpq queues no Sync");
        return NULL;
    }
    /* What is queued is copied, and nothing waits: the GIL is kept. */
    if (read_call(&call, args) == 0) {
        Py_ssize_t queued = HEAD + call.size;

        if (queued > LARGE)
            queued = 0;
        else if (!is_sent(&call) || !send_sync(call.conn))
            queued = BROKEN;
        size = PyLong_FromSsize_t(queued);
    }
    end_call(&call);
    return size;
}

static PyObject *
bind(PyObject *module, PyObject *args)
{
    unsigned long long found[6];

    if (!PyArg_ParseTuple(args, "KKKKKK:bind", found, found + 1, found + 2, found + 3,
                          found + 4, found + 5))
        return NULL;
    flush = (int (*)(void *))(uintptr_t)found[1];
    consume_input = (int (*)(void *))(uintptr_t)found[2];
    is_busy = (int (*)(void *))(uintptr_t)found[3];
    get_socket = (int (*)(const void *))(uintptr_t)found[4];
    send_sync = (int (*)(void *))(uintptr_t)found[5];
    send_prepared = (int (*)(void *, const char *, int, const char *const *,
                             const int *, const int *, int))(uintptr_t)found[0];
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"bind", bind, METH_VARARGS, NULL},
    {"converse", (PyCFunction)(void (*)(void))converse, METH_FASTCALL, NULL},
    {"queue", (PyCFunction)(void (*)(void))queue, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "plproxy_py._roundtrip",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__roundtrip(void)
{
    return PyModuleDef_Init(&definition);
}
