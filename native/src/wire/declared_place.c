/* declared_place.c: where ids stand that are no field, in structures. */
#include "wire/declared.h"

void pk_declared_place(const declared *d, const pk_program_id *of, pk_slice section, pk_place *place) {
  const pk_program *p = d->program;
  place->at = (pk_slice){NULL, 0};
  place->count = 0;
  if (p->id_inside < PK_ID_IN_PROTOBUF || section.data == NULL || section.size == 0) return;
  pk_slice keys = d->literals[of->path];
  pk_path path = {keys.data, keys.data + keys.size};
  switch (p->id_inside) {
    case PK_ID_IN_PROTOBUF: pk_place_protobuf(section, path, p->id_form == PK_ID_VARINT, place); break;
    case PK_ID_IN_TLV: pk_place_tlv(section, path, place); break;
    case PK_ID_IN_JSON: pk_place_json(section, path, place); break;
    case PK_ID_IN_MSGPACK: pk_place_msgpack(section, path, place); break;
    default: pk_place_ber(section, path, place);
  }
}
