// Keeps the arguments that the kernel started the process with.
//
// The Swift runtime looks for them just below `environ` when it is loaded. A preloaded library that has called setenv by
// then, as libfaketime does, has moved `environ` to the heap, and CommandLine.arguments is empty without an error. glibc
// calls every function of .init_array with the arguments of main, whatever `environ` is by then, so they are taken there.
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
