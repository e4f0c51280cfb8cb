// Empty on purpose: everything in CLinux.h is `static inline`, and a C target needs one file to compile.
#include "CLinux.h"
