#ifndef TAG_H
#define TAG_H

#include <protokit/codec.h>

extern const pk_codec tag_codec;

#endif
