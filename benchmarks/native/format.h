/* format.h: a declared format that Python has compiled, for what is measured without Python. */
#ifndef BENCH_FORMAT_H
#define BENCH_FORMAT_H

#include "net.h"
#include "wire/program.h"
#include "wire/steps/steps.h"

static uint8_t *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) die(path);
  *size = (size_t)ftell(file);
  rewind(file);
  uint8_t *data = zeroed(1, *size);
  if (fread(data, 1, *size, file) != *size) die(path);
  fclose(file);
  return data;
}

/* Where the number `step` stands in its image, the step hessian_fields does here. */
static const pk_codec *load_format(const char *path, const char *step) {
  size_t size;
  uint8_t *image = read_file(path, &size);
  uint64_t placeholder = strtoull(step, NULL, 10), address = (uint64_t)(uintptr_t)&pk_step_hessian_fields;
  for (size_t at = 0; at + 8 <= size; at += 8)
    if (memcmp(image + at, &placeholder, 8) == 0) memcpy(image + at, &address, 8);
  const char *why;
  const pk_codec *codec = pk_declared_new(image, size, &why);
  if (codec == NULL) die(why);
  return codec;
}

#endif
