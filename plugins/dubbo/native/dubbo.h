/* dubbo.h: the Dubbo 2.0.2 codec. */
#ifndef DUBBO_H
#define DUBBO_H

#include <protokit/codec.h>

extern const pk_codec pk_dubbo_codec;

#endif
