// What the Glibc module does not expose to Swift, and nothing else: epoll, accept4, eventfd, signalfd, futex, prefetch,
// the pause instruction, atomics on plain memory, a checksum, text of
// doubles, fork, the process's arguments. In the header, so that every
// call is inlined into its Swift caller, except for the arguments (arguments.c) and the lock ranks of debug builds
// (shim.c). Contains no policy: no retry, no error text, no allocation.
#ifndef ESCAPEMENT_CLINUX_H
#define ESCAPEMENT_CLINUX_H

#include <errno.h>
#include <linux/futex.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Not under _GNU_SOURCE: the Glibc module is built without it, and the two would define the same types differently.
// glibc therefore does not declare accept4.
extern int accept4(int, struct sockaddr *, socklen_t *, int);

static inline int clinux_accept(int listener) {
    return accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static inline int clinux_socket(int family, int type) {
    return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static inline int clinux_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

// ---- epoll: the event carries one 64-bit word chosen by the caller ----

static inline int clinux_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int clinux_epoll_control(int poller, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event;
    event.events = events;
    event.data.u64 = token;
    return epoll_ctl(poller, operation, fd, &event);
}

static inline uint64_t clinux_epoll_token(const struct epoll_event *event) { return event->data.u64; }

enum {
    clinux_epoll_in = EPOLLIN,
    clinux_epoll_out = EPOLLOUT,
    clinux_epoll_error = EPOLLERR,
    clinux_epoll_hangup = EPOLLHUP,
    clinux_epoll_peer_hangup = EPOLLRDHUP,
};

// ---- signals as a descriptor ----

static inline int clinux_signalfd(const sigset_t *signals) {
    return signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

// Reads one pending signal number; 0 when none is pending.
static inline int clinux_signalfd_next(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

// ---- numbers as text ----

// Writes `value` with this many significant digits, at most 17, in C's shortest form, and returns the length.
static inline int clinux_format_double(char *text, size_t size, int digits, double value) {
    return snprintf(text, size, "%.*g", digits, value);
}

// ---- futex and spinning ----

static inline void clinux_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

// Sleeps while *word contains `expected`. May return spuriously; the caller loops.
static inline void clinux_futex_wait(uint32_t *word, uint32_t expected) {
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, (void *)0, (void *)0, 0);
    errno = saved;
}

static inline void clinux_futex_wake_one(uint32_t *word) {
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, (void *)0, (void *)0, 0);
    errno = saved;
}

// A lock of four bytes. 0: free; 1: held; 2: held, and a thread may be asleep. Spins briefly, then sleeps in the
// kernel. Not fair, not recursive; any thread may release it.
static inline int clinux_lock_try(uint32_t *word) {
    uint32_t expected = 0;
    return __atomic_compare_exchange_n(word, &expected, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

__attribute__((noinline, unused)) static void clinux_lock_slow(uint32_t *word) {
    for (int spin = 0; spin < 100; spin++) {
        clinux_pause();
        if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0 && clinux_lock_try(word)) return;
    }
    while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE) != 0) clinux_futex_wait(word, 2);
}

static inline void clinux_lock(uint32_t *word) {
    if (__builtin_expect(!clinux_lock_try(word), 0)) clinux_lock_slow(word);
}

// Returns whether a thread may have been asleep, and is being woken up.
static inline int clinux_unlock(uint32_t *word) {
    int is_awaited = __builtin_expect(__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) == 2, 0);
    if (is_awaited) clinux_futex_wake_one(word);
    return is_awaited;
}

// As clinux_lock, but gives up after about `nanoseconds`. Returns whether the lock was acquired.
static inline int clinux_lock_for(uint32_t *word, int64_t nanoseconds) {
    if (clinux_lock_try(word)) return 1;
    for (int spin = 0; spin < 100; spin++) {
        clinux_pause();
        if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0 && clinux_lock_try(word)) return 1;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t end = now.tv_sec * 1000000000LL + now.tv_nsec + nanoseconds;
    while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE) != 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t left = end - (now.tv_sec * 1000000000LL + now.tv_nsec);
        if (left <= 0) return 0;
        int saved = errno;
        struct timespec limit = {left / 1000000000, left % 1000000000};
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 2, &limit, (void *)0, 0);
        errno = saved;
    }
    return 1;
}

// Debug builds record which locks the calling thread holds, and abort when one is acquired out of order:
// System/Lock.swift.
// Returns whether the calling thread may acquire a lock of this rank and order.
int clinux_rank_permits(uint32_t rank, uint32_t order);
void clinux_rank_acquire(const uint32_t *word, uint32_t rank, uint32_t order);
void clinux_rank_release(const uint32_t *word);
// Aborts if the calling thread holds a lock of a higher rank.
void clinux_rank_assert_free(uint32_t highest);
const char *clinux_rank_name(uint32_t rank);

// ---- counters on plain memory: one writer, any number of readers ----

static inline uint64_t clinux_counter_load(const uint64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline void clinux_counter_store(uint64_t *counter, uint64_t value) {
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

// For the counter's only writer: a plain load, add and store, without a locked instruction.
static inline void clinux_counter_add_owned(uint64_t *counter, uint64_t amount) {
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
}

// ---- memory ----

static inline void clinux_prefetch(const void *address) { __builtin_prefetch(address, 0, 3); }

// For memory that is about to be written: fetches the cache line in exclusive state, which avoids a second transfer.
// The compiler would emit the instruction only if told the processor has it; processors without it ignore it.
static inline void clinux_prefetch_to_write(const void *address) {
#if defined(__x86_64__)
    __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)address));
#else
    __builtin_prefetch(address, 1, 3);
#endif
}

static inline void *clinux_map_pages(uint64_t bytes) {
    void *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? 0 : memory;
}

// As clinux_map_pages, at a multiple of its size (a power of two of 2 MiB or more), in huge pages if the kernel has
// them: otherwise every random access to this memory would cost a page table walk.
static inline void *clinux_map_huge(uint64_t bytes) {
    char *memory = (char *)clinux_map_pages(2 * bytes);
    if (!memory) return 0;
    uint64_t skipped = (bytes - (uint64_t)memory % bytes) % bytes;
    if (skipped) munmap(memory, skipped);
    munmap(memory + skipped + bytes, bytes - skipped);
    madvise(memory + skipped, bytes, MADV_HUGEPAGE);
    return memory + skipped;
}

static inline int clinux_unmap_pages(void *memory, uint64_t bytes) { return munmap(memory, bytes); }

static inline int clinux_forget_pages(void *memory, uint64_t bytes) {
    return madvise(memory, bytes, MADV_DONTNEED);
}

// ---- the process's arguments, as passed by the kernel (arguments.c) ----

// Their number, including the program's name; 0 if the process was started without any.
int clinux_argument_count(void);

// One of them, valid for the lifetime of the process.
const char *clinux_argument(int index);

// Bytes allocated from the C library and not freed, including its overhead per allocation; and the number of its free
// chunks. Locks one arena after the other, and walks the free chunks of each under its lock. 0 if the library cannot
// tell.
static inline uint64_t clinux_heap_in_use(uint64_t *free_pieces) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    struct mallinfo2 info = mallinfo2();
    *free_pieces = info.ordblks + info.smblks;
    return info.uordblks + info.hblkhd;
#else
    *free_pieces = 0;
    return 0;
#endif
}

// The part of that used by this allocation.
static inline uint64_t clinux_heap_size(void *memory) { return malloc_usable_size(memory) + sizeof(size_t); }

// ---- process: constants whose C type Swift cannot pass back ----

static inline int clinux_usage(struct rusage *usage, int children) {
    return getrusage(children ? RUSAGE_CHILDREN : RUSAGE_SELF, usage);
}

// Shown by top and ps; truncated to 15 bytes by the kernel.
static inline void clinux_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

static inline int clinux_open_files_limit(struct rlimit *limit) { return getrlimit(RLIMIT_NOFILE, limit); }

static inline int clinux_set_open_files_limit(const struct rlimit *limit) { return setrlimit(RLIMIT_NOFILE, limit); }

// ---- CRC-32C (Castagnoli), with the processor's instruction if it has one ----

// A table of sixteen entries, two lookups per byte: small, and used only where there is no instruction.
static inline uint32_t clinux_crc32c_portable(uint32_t crc, const unsigned char *bytes, uint64_t count) {
    static const uint32_t steps[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    while (count--) {
        crc ^= *bytes++;
        crc = (crc >> 4) ^ steps[crc & 15];
        crc = (crc >> 4) ^ steps[crc & 15];
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"), unused)) static uint32_t clinux_crc32c_hardware(
    uint32_t crc, const unsigned char *bytes, uint64_t count) {
    uint64_t wide = crc;
    for (; count >= 8; count -= 8, bytes += 8) {
        uint64_t word;
        __builtin_memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (count--) crc = __builtin_ia32_crc32qi(crc, *bytes++);
    return crc;
}
static inline int clinux_crc32c_has_hardware(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__)
__attribute__((target("crc"), unused)) static uint32_t clinux_crc32c_hardware(
    uint32_t crc, const unsigned char *bytes, uint64_t count) {
    for (; count >= 8; count -= 8, bytes += 8) {
        uint64_t word;
        __builtin_memcpy(&word, bytes, 8);
        crc = __builtin_arm_crc32cd(crc, word);
    }
    while (count--) crc = __builtin_arm_crc32cb(crc, *bytes++);
    return crc;
}
static inline int clinux_crc32c_has_hardware(void) { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
#else
static inline uint32_t clinux_crc32c_hardware(uint32_t crc, const unsigned char *bytes, uint64_t count) {
    return clinux_crc32c_portable(crc, bytes, count);
}
static inline int clinux_crc32c_has_hardware(void) { return 0; }
#endif

// Continues the checksum `crc` (0 to begin) over `count` bytes.
static inline uint32_t clinux_crc32c(uint32_t crc, const void *bytes, uint64_t count) {
    crc = ~crc;
    crc = clinux_crc32c_has_hardware() ? clinux_crc32c_hardware(crc, (const unsigned char *)bytes, count)
                                       : clinux_crc32c_portable(crc, (const unsigned char *)bytes, count);
    return ~crc;
}

// ---- waiting with a time-out ----

// As clinux_futex_wait, but for at most `nanoseconds`.
static inline void clinux_futex_wait_for(uint32_t *word, uint32_t expected, int64_t nanoseconds) {
    int saved = errno;
    struct timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &limit, (void *)0, 0);
    errno = saved;
}

// Sequentially consistent: a ring that does not see the sleeper is seen by the sleeper.
static inline uint32_t clinux_word_load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }

static inline void clinux_word_increment(uint32_t *word) { __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST); }

static inline void clinux_word_decrement(uint32_t *word) { __atomic_fetch_sub(word, 1, __ATOMIC_SEQ_CST); }

// ---- processes ----

// Starts a program in a process that blocks no signals and is killed if this thread ends before it. Returns the process,
// or -1. Only for a process without other threads.
static inline pid_t clinux_start_tied(const char *path, char *const words[]) {
    pid_t parent = getpid();
    pid_t process = fork();
    if (process != 0) return process;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // The parent may have ended in the meantime.
    if (getppid() == parent) execv(path, words);
    _exit(127);
}

// ---- files ----

// Locks an open file until the process ends, exclusively or shared with other readers; 0 if another process holds the
// lock.
static inline int clinux_lock_file(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0; }
static inline int clinux_lock_file_shared(int fd) { return flock(fd, LOCK_SH | LOCK_NB) == 0; }

// Lowers the calling thread's scheduling priority.
static inline void clinux_lower_priority(void) { setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10); }

#endif
