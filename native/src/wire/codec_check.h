/* codec_check.h: whether the engine can use a codec, whoever made it: a plugin, or a declaration. */
#ifndef PK_CODEC_CHECK_H
#define PK_CODEC_CHECK_H

#include <stdint.h>

/* python { */
/* NULL when the engine can use the codec at this address, else what is wrong with it. */
const char *pk_codec_check(uintptr_t codec);
/* } python */

#endif
