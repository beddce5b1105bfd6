/* tr.h: the codec of TB Remoting. */
#ifndef TR_H
#define TR_H

#include <protokit/codec.h>

extern const pk_codec pk_tr_codec;

#endif
