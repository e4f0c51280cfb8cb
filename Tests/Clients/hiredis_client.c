/* hiredis against the server: CL.THROTTLE until denied, a pipeline of 1000, reconnect after CLIENT KILL.
 * Owns only its connections; prints "ok" and exits 0, or prints the error and exits 1.
 * Usage: hiredis_client PORT. Does not flush: its keys begin with "hiredis:". */

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FAIL(...)                       \
    do {                                \
        fprintf(stderr, __VA_ARGS__);   \
        fputc('\n', stderr);            \
        exit(1);                        \
    } while (0)

static redisContext *open_connection(int port) {
    struct timeval limit = {10, 0};
    redisContext *context = redisConnectWithTimeout("127.0.0.1", port, limit);
    if (context == NULL || context->err) FAIL("connect: %s", context ? context->errstr : "out of memory");
    redisSetTimeout(context, limit);
    return context;
}

static time_t began;

/* The last two are times in seconds, which count down: they may be lower by the number of seconds begun since the
 * program started. */
static void check_five(const redisReply *reply, const long long *expected, const char *what) {
    long long passed = (long long)(time(NULL) - began);
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 5) FAIL("%s: not five elements", what);
    for (int i = 0; i < 5; i++) {
        if (reply->element[i]->type != REDIS_REPLY_INTEGER) FAIL("%s: element %d is not an integer", what, i);
        long long missing = expected[i] - reply->element[i]->integer;
        if (missing < 0 || missing > (i >= 3 && expected[i] > 0 ? passed : 0))
            FAIL("%s: element %d is %lld, not %lld", what, i, reply->element[i]->integer, expected[i]);
    }
}

static long long integer(redisContext *context, const char *command) {
    redisReply *reply = redisCommand(context, command);
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) FAIL("%s: no integer (%s)", command, context->errstr);
    long long value = reply->integer;
    freeReplyObject(reply);
    return value;
}

static void until_denied(redisContext *context) {
    for (int i = 0; i < 6; i++) {
        redisReply *reply = redisCommand(context, "CL.THROTTLE %s %d %d %d", "hiredis:k", 4, 1, 1000);
        long long allowed[5] = {0, 5, 4 - i, -1, 1000 * (i + 1)}, denied[5] = {1, 5, 0, 1000, 5000};
        check_five(reply, i < 5 ? allowed : denied, "CL.THROTTLE");
        freeReplyObject(reply);
    }
}

static void pipeline(redisContext *context) {
    for (int i = 0; i < 1000; i++) redisAppendCommand(context, "CL.THROTTLE %b 1999 1 1000", "hiredis:\0pipe", (size_t)13);
    for (int i = 0; i < 1000; i++) {
        redisReply *reply;
        if (redisGetReply(context, (void **)&reply) != REDIS_OK) FAIL("pipeline, reply %d: %s", i, context->errstr);
        long long expected[5] = {0, 2000, 1999 - i, -1, 1000LL * (i + 1)};
        check_five(reply, expected, "pipeline");
        freeReplyObject(reply);
    }
}

static void reconnect(redisContext *context, int port) {
    long long before = integer(context, "CLIENT ID");
    redisContext *killer = open_connection(port);
    char command[64];
    snprintf(command, sizeof command, "CLIENT KILL ID %lld", before);
    if (integer(killer, command) != 1) FAIL("CLIENT KILL killed none");
    redisFree(killer);
    redisReply *reply = redisCommand(context, "PING");
    if (reply != NULL) FAIL("a killed connection answered");
    if (redisReconnect(context) != REDIS_OK) FAIL("reconnect: %s", context->errstr);
    if (integer(context, "CLIENT ID") == before) FAIL("the same connection after CLIENT KILL");
    reply = redisCommand(context, "CL.THROTTLE hiredis:k 4 1 1000");
    long long denied[5] = {1, 5, 0, 1000, 5000};
    check_five(reply, denied, "after reconnecting");
    freeReplyObject(reply);
}

int main(int argc, char **argv) {
    if (argc != 2) FAIL("usage: %s PORT", argv[0]);
    int port = atoi(argv[1]);
    began = time(NULL);
    redisContext *context = open_connection(port);
    until_denied(context);
    pipeline(context);
    reconnect(context, port);
    redisFree(context);
    puts("ok");
    return 0;
}
