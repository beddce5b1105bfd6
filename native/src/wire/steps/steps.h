/* steps.h: the steps that come with the core. They register like any plugin's (pk_step). */
#ifndef PK_STEPS_H
#define PK_STEPS_H

#include <protokit/codec.h>

/* Fields of the object in front, by name, in Hessian 2.0 or in its draft, which sofa-hessian 3 writes.
 * arguments: the names; what is no string or null is not found. */
int pk_step_hessian_fields(const uint8_t *section, size_t size, const pk_slice *arguments,
                           uint32_t argument_count, pk_slice *out, uint32_t count);

/* The strings in front, in Hessian 2.0. Ends at the first value that is none. */
int pk_step_hessian2_strings(const uint8_t *section, size_t size, const pk_slice *arguments,
                             uint32_t argument_count, pk_slice *out, uint32_t count);

/* What stands inside of a structure: each argument is a path (path.h). */
int pk_step_protobuf(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                     pk_slice *out, uint32_t count);
int pk_step_tlv(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                pk_slice *out, uint32_t count);
int pk_step_thrift_binary(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                          pk_slice *out, uint32_t count);
int pk_step_thrift_compact(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                           pk_slice *out, uint32_t count);
int pk_step_msgpack(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                    pk_slice *out, uint32_t count);
int pk_step_ber(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count, pk_slice *out,
                uint32_t count);
int pk_step_blocks(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count, pk_slice *out,
                   uint32_t count);
int pk_step_json(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                 pk_slice *out, uint32_t count);

#endif
