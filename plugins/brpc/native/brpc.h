/* brpc.h: baidu_std, in two forms that differ in where headers stand. */
#ifndef BRPC_H
#define BRPC_H

#include <protokit/codec.h>

extern const pk_codec brpc_codec;      /* headers: the meta's user fields, as brpc has them */
extern const pk_codec jprotobuf_codec; /* headers: the request's extension fields, as jprotobuf-rpc has them */

#endif
