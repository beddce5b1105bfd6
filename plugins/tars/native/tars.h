/* tars.h: TARS. */
#ifndef TARS_H
#define TARS_H

#include <protokit/codec.h>

extern const pk_codec tars_codec;

#endif
