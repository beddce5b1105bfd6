"""Mutants of changes to frames of declared formats."""

from __future__ import annotations

from engine.mutant import Mutant

_SAME = "tests/wire/test_changes.py::test_the_engine_changes_frames_as_the_declaration_does"

MUTANTS = (
    Mutant(
        "of a key that is changed the others stay",
        "declared_map.c",
        "if (result == PK_OK && s.times > stay) result = without(",
        "if (result == PK_OK && s.times > stay && !stay) result = without(",
        f"{_SAME}[pairs]",
    ),
    Mutant(
        "a pair is put in behind what is none",
        "declared_map.c",
        "if (one.key.data != NULL || s->items < skip) s->behind = one.end;",
        "s->behind = one.end;",
        f"{_SAME}[lines]",
    ),
    Mutant(
        "a value may hold what ends its line",
        "declared_map.c",
        "holds(key, after) || holds(value, after)",
        "holds(key, after)",
        f"{_SAME}[lines on turn]",
    ),
    Mutant(
        "a value's length loses its front",
        "declared_map.c",
        "fits(key, map->key_size) && fits(value, map->value_size) ? PK_OK",
        "fits(key, map->key_size) ? PK_OK",
        f"{_SAME}[branches]",
    ),
    Mutant(
        "what ends a map is lost with its last pair",
        "declared_map.c",
        "  if (kept > 0 && last < end) memcpy",
        "  if (kept > 0 && last > end) memcpy",
        f"{_SAME}[lines]",
    ),
    Mutant(
        "the last of lines on turn is no pair",
        "declared_map.c",
        "    out->end = w->in.at;\n    return PK_OK;\n",
        "    out->key = (pk_slice){NULL, 0};\n    return PK_OK;\n",
        f"{_SAME}[lines on turn]",
    ),
    Mutant(
        "what stands behind a section stays where it was",
        "declared_map.c",
        "    r[fields[i].at] += more;\n",
        "",
        f"{_SAME}[texts]",
    ),
    Mutant(
        "a changed frame takes more room than there is",
        "declared_edit.c",
        "UINT32_MAX / 2) - behind};",
        "UINT32_MAX / 2) - behind + 1};",
        "tests/wire/test_changes.py::test_a_change_has_all_the_room_there_is_and_no_more",
    ),
    Mutant(
        "one length follows one section alone",
        "declared_edit.c",
        "more[d->counts[d->fields[i].first + k]] += e->grown[i];",
        "more[d->counts[d->fields[i].first + k]] = e->grown[i];",
        f"{_SAME}[texts]",
    ),
    Mutant(
        "checksums stay what they were",
        "declared_edit.c",
        "  seal(&e);\n",
        "",
        f"{_SAME}[texts]",
    ),
    Mutant(
        "nobody looks whether a text ends its section early",
        "declared_edit.c",
        "return is_as_written(&e, size, size + (whole - f->size), data, &was) ? (int)size : PK_ERR_UNSUPPORTED;",
        "return (int)size;",
        f"{_SAME}[delimited]",
    ),
    Mutant(
        "a part behind those that are there stands right behind them",
        "declared_edit.c",
        "  while (count > 0 && parts[count - 1].data == NULL) count--;\n",
        "  for (uint32_t i = count; i-- > 0;)\n    if (parts[i].data == NULL) memmove(parts + i, parts + i + 1, (--count - i) * sizeof *parts);\n",
        f"{_SAME}[texts]",
    ),
    Mutant(
        "the first of several is written, whichever is there",
        "declared_edit.c",
        "    if (there.data != NULL) return write(e, i, text);\n",
        "",
        f"{_SAME}[pairs]",
    ),
    Mutant(
        "a section that cannot be read is written to",
        "declared_map.c",
        "const int64_t *r = &e->m->r[e->d->fields[field].seen];",
        "const int64_t *r = &e->m->r[e->d->fields[field].at];",
        f"{_SAME}[branches]",
    ),
    Mutant(
        "an answer is given a service",
        "declared_edit.c",
        "  if (answer && edit->what != PK_EDIT_HEADER) return PK_ERR_UNSUPPORTED;\n",
        "  if (answer && edit->what != PK_EDIT_HEADER) answer = 0;\n",
        f"{_SAME}[delimited]",
    ),
    Mutant(
        "the length of a half-read frame is that of what is there",
        "declared_edit.c",
        "size + (whole - f->size), data, &was)",
        "size, data, &was)",
        "tests/wire/test_changes.py::test_a_large_frame_of_which_the_front_is_there_is_changed",
    ),
    Mutant(
        "an integer loses its front",
        "declared_edit.c",
        "  if (!negative && v > most) return 0;\n",
        "",
        f"{_SAME}[numbers]",
    ),
    Mutant(
        "the least integer has no room",
        "declared_edit.c",
        "|| v - 1 > most)) return 0;",
        "|| v > most)) return 0;",
        f"{_SAME}[numbers]",
    ),
    Mutant(
        "a part that is written may hold its separator",
        "declared_edit.c",
        "same_text(parts[w->index], text) ? PK_OK : PK_ERR_UNSUPPORTED",
        "PK_OK",
        "tests/wire/test_changes.py::test_a_part_that_holds_its_separator_is_no_part",
    ),
    Mutant(
        "a separator may begin in front of a header",
        "declared_map.c",
        "return result != PK_OK || same ? result : PK_ERR_UNSUPPORTED;",
        "return result != PK_OK || same ? result : PK_OK;",
        "tests/wire/test_changes.py::test_a_header_that_would_be_read_as_another_one_is_not_written",
    ),
    Mutant(
        "a section is shown that is nowhere",
        "declared_edit.c",
        "    if (r[one->at] < 0 && r[one->seen] >= 0) return 0;\n",
        "",
        "tests/wire/test_changes.py::test_a_program_that_shows_a_section_and_does_not_say_where_it_is_changes_nothing",
    ),
)
