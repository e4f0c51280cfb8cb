// Keeps the arguments with which the kernel started the process.
//
// When it is loaded, the Swift runtime looks for them just below `environ`. If a preloaded library has called setenv
// before, as libfaketime does, `environ` has moved to the heap, and CommandLine.arguments is empty without an error.
// glibc calls every function in .init_array with the arguments of main, wherever `environ` is by then, so they are
// saved there.
#include "CLinux.h"

static int kept_count;
static char **kept_vector;

static void keep_arguments(int count, char **vector, char **environment) {
    (void)environment;
    kept_count = count;
    kept_vector = vector;
}

__attribute__((used, section(".init_array"))) static void (*keep_arguments_entry)(int, char **, char **) =
    keep_arguments;

int clinux_argument_count(void) { return kept_vector ? kept_count : 0; }

const char *clinux_argument(int index) { return kept_vector[index]; }
