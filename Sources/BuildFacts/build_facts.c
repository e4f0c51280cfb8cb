#include "BuildFacts.h"

const char *build_facts_revision(void) { return ESCAPEMENT_REVISION; }

const char *build_facts_compiler(void) { return ESCAPEMENT_COMPILER; }
