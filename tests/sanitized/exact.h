/* exact.h: each bytes object that Python gives to C is a block of malloc's of exactly its size, until that thread's next
 * call: AddressSanitizer sees what is read beside it, the NUL behind included, and whoever keeps its address.
 *
 * For what cffi generates: PK_PREAMBLE of native/build_native.py. What Python has made with ffi, see exact.py. */
#ifndef PK_EXACT_H
#define PK_EXACT_H

#include <Python.h>
#include <stdlib.h>
#include <string.h>

static __thread struct {
  void *blocks[16];
  int count, called;
} exact_given;

static void exact_release(void) {
  while (exact_given.count > 0) free(exact_given.blocks[--exact_given.count]);
  exact_given.called = 0;
}

/* A call with a pointer in its arguments begins with this, once for each of them. */
static Py_ssize_t exact_argument(struct _cffi_ctypedescr *type, PyObject *given, char **out) {
  Py_ssize_t result = _cffi_prepare_pointer_call_argument(type, given, out);
  /* Without a call: arguments were refused so often. */
  if (exact_given.called || exact_given.count == 16) exact_release();
  if (result != 0 || !PyBytes_Check(given)) return result;
  size_t size = (size_t)PyBytes_Size(given);
  char *block = malloc(size > 0 ? size : 1);
  if (block == NULL) return PyErr_NoMemory(), -1;
  exact_given.blocks[exact_given.count++] = block;
  memcpy(block, *out, size);
  *out = size > 0 ? block : block + 1; /* of an empty block the first byte can be read */
  return 0;
}
#undef _cffi_prepare_pointer_call_argument
#define _cffi_prepare_pointer_call_argument exact_argument

/* Every call ends with this. What it has returned may point into its arguments: they stay until the next one. */
static void exact_called(void) {
  _cffi_save_errno();
  exact_given.called = 1;
}
#undef _cffi_save_errno
#define _cffi_save_errno exact_called

static PyObject *exact_init(const char *name, Py_ssize_t version, const struct _cffi_type_context_s *context) {
  PyObject *module = _cffi_init(name, version, context), *exact = PyImport_ImportModule("exact");
  PyObject *changed = module != NULL && exact != NULL ? PyObject_CallMethod(exact, "change", "O", module) : NULL;
  Py_XDECREF(exact);
  Py_XDECREF(changed);
  if (changed != NULL) return module;
  Py_XDECREF(module);
  return NULL;
}
#define _cffi_init exact_init

#endif
