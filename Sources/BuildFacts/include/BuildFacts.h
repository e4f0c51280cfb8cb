// How the program was built. Only texts that Package.swift defines; nothing that the server depends on.
#ifndef ESCAPEMENT_BUILD_FACTS_H
#define ESCAPEMENT_BUILD_FACTS_H

// The commit; empty if it was not built in a clone.
const char *build_facts_revision(void);
// The compiler's name and version; empty unless the build passes it.
const char *build_facts_compiler(void);

#endif
