// What passes by: every command of the server, and every key event.

#include "binding.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "_cgo_export.h"

static struct {
    char *bytes;
    size_t *lens;
    int n;
} prefixes;

int set_key_prefixes(const char *bytes, const size_t *lens, int n) {
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += lens[i];
    char *new_bytes = malloc(total + 1);
    size_t *new_lens = malloc(((size_t)n + 1) * sizeof(*new_lens));
    if (new_bytes == NULL || new_lens == NULL) {
        free(new_bytes);
        free(new_lens);
        return RM_ERR;
    }
    memcpy(new_bytes, bytes, total);
    memcpy(new_lens, lens, (size_t)n * sizeof(*lens));
    free(prefixes.bytes);
    free(prefixes.lens);
    prefixes.bytes = new_bytes;
    prefixes.lens = new_lens;
    prefixes.n = n;
    return RM_OK;
}

int is_reported(const char *name, size_t len) {
    const char *prefix = prefixes.bytes;
    for (int i = 0; i < prefixes.n; prefix += prefixes.lens[i], i++) {
        if (len >= prefixes.lens[i] &&
            memcmp(name, prefix, prefixes.lens[i]) == 0)
            return 1;
    }
    return 0;
}

// The arguments of the command that is being carried out, if they tell what it
// does to a key. Redis does not hand them to key events, so that the filter
// keeps them: until the event, or the next command.
static struct {
    RedisModuleString **argv;
    struct bytes *bytes; // of argv
    int argc;
    int room;
    int two_keys; // it is SMOVE, which has two events
} captured;

// Counts commands: a transaction is one, what a script calls are several. The
// main thread alone writes it.
static uint64_t unit;

uint64_t commands(void) { return __atomic_load_n(&unit, __ATOMIC_RELAXED); }

static void drop_captured(void) {
    for (int i = 0; i < captured.argc; i++)
        rm_FreeString(NULL, captured.argv[i]);
    captured.argc = 0;
}

// The commands whose arguments are kept. What they mean is for Go to know.
static int is_telling(const char *name, size_t len) {
    static const char *const names[] = {
        "sadd",    "srem",     "smove",     "hset",         "hmset",
        "hsetnx",  "hdel",     "hincrby",   "hincrbyfloat", "expire",
        "pexpire", "expireat", "pexpireat", "getex"};
    if (len < 4 || len > 12)
        return 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strlen(names[i]) == len && strncasecmp(name, names[i], len) == 0)
            return 1;
    }
    return 0;
}

static int same_string(const RedisModuleString *s, const char *bytes,
                       size_t len) {
    size_t n;
    const char *p = rm_StringPtrLen(s, &n);
    return n == len && memcmp(p, bytes, len) == 0;
}

static int names_reported_key(RedisModuleCommandFilterCtx *filter, int pos) {
    size_t len;
    const char *key =
        rm_StringPtrLen(rm_CommandFilterArgGet(filter, pos), &len);
    return is_reported(key, len);
}

// What has been seen of a probe; 0: none is under way.
static int probing;

// Stands on the path of every command of the whole server.
static void on_command_filter(RedisModuleCommandFilterCtx *filter) {
    if (probing) {
        probing |= COMMAND_SEEN;
        return;
    }
    if (own_use > 0)
        return;
    __atomic_store_n(&unit, unit + 1, __ATOMIC_RELAXED);
    if (captured.argc > 0)
        drop_captured();
    int argc = rm_CommandFilterArgsCount(filter);
    if (argc < 2 || prefixes.n == 0)
        return;
    if (passing_through == THROUGH_NOT && rewrite(filter, argc))
        return; // it passes by here again
    if (argc < 3)
        return;
    // Only SMOVE has a second key, as its third argument of four.
    if (!names_reported_key(filter, 1) &&
        (argc != 4 || !names_reported_key(filter, 2)))
        return;
    size_t len;
    const char *name = rm_StringPtrLen(rm_CommandFilterArgGet(filter, 0), &len);
    // While clients are paused, this command may be put off, and be carried out
    // after others without passing here again.
    if (!is_telling(name, len) || rm_AvoidReplicaTraffic())
        return;
    if (argc > captured.room) {
        RedisModuleString **argv =
            realloc(captured.argv, (size_t)argc * sizeof(*argv));
        if (argv == NULL)
            return;
        captured.argv = argv;
        struct bytes *bytes =
            realloc(captured.bytes, (size_t)argc * sizeof(*bytes));
        if (bytes == NULL)
            return;
        captured.bytes = bytes;
        captured.room = argc;
    }
    for (int i = 0; i < argc; i++) {
        captured.argv[i] = rm_CommandFilterArgGet(filter, i);
        rm_RetainString(NULL, captured.argv[i]);
    }
    captured.argc = argc;
    captured.two_keys = len == 5 && (name[1] | 0x20) == 'm';
}

int probe(RedisModuleCtx *ctx, const char *key, size_t len) {
    RedisModuleString *name = rm_CreateString(NULL, key, len);
    int own = own_use;
    own_use = 0;
    probing = 1;
    RedisModuleCallReply *reply = rm_Call(ctx, "GET", "s", name);
    if (reply != NULL)
        rm_FreeCallReply(reply);
    int seen = probing;
    probing = 0;
    own_use = own;
    rm_FreeString(NULL, name);
    return seen;
}

int register_filter(RedisModuleCtx *ctx) {
    return rm_RegisterCommandFilter(ctx, on_command_filter, 0) ? RM_OK : RM_ERR;
}

// Stands on the path of every write and every miss of the whole server.
static int on_key_event(RedisModuleCtx *ctx, int type, const char *event,
                        RedisModuleString *key) {
    size_t len;
    const char *name = rm_StringPtrLen(key, &len);
    if (!is_reported(name, len) || rm_GetSelectedDb(ctx) != 0)
        return RM_OK;
    if (type == RM_NOTIFY_KEY_MISS && probing) {
        probing |= MISS_SEEN;
        return RM_OK;
    }
    if (may_unsettle(type, event))
        unsettle_key(name, len);
    if (own_use > 0 ||
        (passing_through == THROUGH_ASKED && type == RM_NOTIFY_KEY_MISS))
        return RM_OK;
    // What is loaded was told before it was saved.
    if (rm_GetContextFlags(ctx) & RM_CTX_FLAGS_LOADING)
        return RM_OK;
    int argc = captured.argc;
    if (argc > 0 && !same_string(captured.argv[1], name, len) &&
        !same_string(captured.argv[2], name, len))
        argc = 0;
    for (int i = 0; i < argc; i++)
        captured.bytes[i].p =
            rm_StringPtrLen(captured.argv[i], &captured.bytes[i].n);
    int used = go_key_event(ctx, type, (char *)event, (char *)name, len,
                            captured.bytes, argc, unit);
    if (used && !captured.two_keys)
        drop_captured();
    return RM_OK;
}

int subscribe_key_events(RedisModuleCtx *ctx) {
    return rm_SubscribeToKeyspaceEvents(
        ctx, (int)RM_NOTIFY_ALL | (int)RM_NOTIFY_KEY_MISS | (int)RM_NOTIFY_NEW,
        on_key_event);
}

static void on_unit_end(RedisModuleCtx *ctx, void *unused) {
    (void)unused;
    go_unit_end(ctx);
}

int at_unit_end(RedisModuleCtx *ctx) {
    if (rm_AddPostNotificationJob == NULL)
        return RM_ERR;
    return rm_AddPostNotificationJob(ctx, on_unit_end, NULL, NULL);
}
