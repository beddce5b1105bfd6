/* declared_section.c: sections of a frame that is changed: what stands behind them moves, and they say how long they are. */
#include "wire/declared.h"

int pk_declared_resize(editing *e, uint32_t field, uint32_t at, uint32_t size, uint32_t now) {
  const pk_program_field *fields = e->d->fields, *one = &fields[field];
  int64_t *r = e->m->r, more = (int64_t)now - size;
  if (more == 0) return PK_OK;
  if (more > (int64_t)e->most - e->size) return PK_ERR_SPACE;
  memmove(e->out + at + now, e->out + at + size, e->size - at - size);
  e->size = (uint32_t)(e->size + more);
  if (pk_declared_is_digits(one)) r[one->at + 1] += more;
  if (pk_declared_is_section(one)) {
    r[one->at + 1] += more;
    if (one->seen != one->at) r[one->seen + 1] += more;
  }
  e->grown[field] += more;
  for (uint32_t i = field + 1; i < e->d->program->fields.count; i++) {
    if (r[fields[i].at] < 0 || pk_declared_is_value(&fields[i])) continue;
    r[fields[i].at] += more;
    if (pk_declared_is_section(&fields[i]) && fields[i].seen != fields[i].at && r[fields[i].seen] >= 0) r[fields[i].seen] += more;
  }
  return PK_OK;
}

pk_slice pk_declared_section(const editing *e, uint32_t field) {
  const int64_t *r = &e->m->r[e->d->fields[field].seen];
  return r[0] < 0 ? (pk_slice){NULL, 0} : (pk_slice){e->out + r[0], (uint32_t)r[1]};
}

/* A whole section; empty where there is to be nothing. */
int pk_declared_replace(editing *e, uint32_t field, pk_slice text) {
  pk_slice section = pk_declared_section(e, field);
  if (section.data == NULL) return text.size > 0 ? PK_ERR_UNSUPPORTED : PK_OK;
  uint32_t at = (uint32_t)(section.data - e->out);
  int result = pk_declared_resize(e, field, at, section.size, text.size);
  if (result == PK_OK && text.size > 0) memcpy(e->out + at, text.data, text.size);
  return result;
}
