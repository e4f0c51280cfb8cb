// Empty on purpose: everything in CLinux.h but the process's arguments is `static inline`.
#include "CLinux.h"
