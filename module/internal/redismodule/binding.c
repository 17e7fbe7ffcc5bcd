#include "binding.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "_cgo_export.h"

#define API_FUNCTION(type, name, params) type(*rm_##name) params;
API_FUNCTIONS(API_FUNCTION)
API_OPTIONAL_FUNCTIONS(API_FUNCTION)
#undef API_FUNCTION

const char *load_api(RedisModuleCtx *ctx) {
    // A context begins with the function that finds all others.
    int (*get_api)(const char *, void *) = *(int (**)(const char *, void *))ctx;
#define API_FUNCTION(type, name, params)                                       \
    if (get_api("RedisModule_" #name, (void *)&rm_##name) != RM_OK)            \
        return #name;
    API_FUNCTIONS(API_FUNCTION)
#undef API_FUNCTION
#define API_FUNCTION(type, name, params)                                       \
    if (get_api("RedisModule_" #name, (void *)&rm_##name) != RM_OK)            \
        rm_##name = NULL;
    API_OPTIONAL_FUNCTIONS(API_FUNCTION)
#undef API_FUNCTION
    return NULL;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv,
                       int argc) {
    return go_load(ctx, argv, argc);
}

int RedisModule_OnUnload(RedisModuleCtx *ctx) { return go_unload(ctx); }

// Commands

static int on_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return go_command(ctx, argv, argc);
}

int create_command(RedisModuleCtx *ctx, const char *name, const char *flags) {
    return rm_CreateCommand(ctx, name, on_command, flags, 0, 0, 0);
}

int set_command_info(RedisModuleCtx *ctx, const char *name,
                     RedisModuleCommandInfo *info) {
    static const RedisModuleCommandInfoVersion version = {
        .version = 1,
        .sizeof_historyentry = sizeof(RedisModuleCommandHistoryEntry),
        .sizeof_keyspec = sizeof(RedisModuleCommandKeySpec),
        .sizeof_arg = sizeof(RedisModuleCommandArg),
    };
    RedisModuleCommand *command = rm_GetCommand(ctx, name);
    if (command == NULL)
        return RM_ERR;
    info->version = &version;
    return rm_SetCommandInfo(command, info);
}

// Keys

// More than zero while the module itself uses the keyspace. Whoever reads or
// writes it holds the Redis lock.
static int own_use;

RedisModuleCallReply *call(RedisModuleCtx *ctx, const char *name,
                           const char *fmt, const char *args,
                           const size_t *lens, int n) {
    RedisModuleString *few[8], **argv = few;
    if (n > 8)
        argv = malloc((size_t)n * sizeof(*argv));
    if (argv == NULL)
        return NULL;
    for (int i = 0; i < n; i++) {
        argv[i] = rm_CreateString(NULL, args, lens[i]);
        args += lens[i];
    }
    own_use++;
    RedisModuleCallReply *reply = rm_Call(ctx, name, fmt, argv, (size_t)n);
    own_use--;
    for (int i = 0; i < n; i++)
        rm_FreeString(NULL, argv[i]);
    if (argv != few)
        free(argv);
    return reply;
}

struct key_stat stat_key(RedisModuleCtx *ctx, const char *key, size_t len) {
    struct key_stat stat = {RM_KEYTYPE_EMPTY, 0, RM_NO_EXPIRE};
    RedisModuleString *name = rm_CreateString(NULL, key, len);
    own_use++;
    RedisModuleKey *k =
        rm_OpenKey(ctx, name, (int)RM_READ | (int)RM_OPEN_KEY_NOTOUCH);
    own_use--;
    if (k != NULL) {
        stat.type = rm_KeyType(k);
        stat.length = rm_ValueLength(k);
        stat.expire_at = rm_GetAbsExpire(k);
        rm_CloseKey(k);
    }
    rm_FreeString(NULL, name);
    return stat;
}

// The main thread

static void on_turn(void *unused) {
    (void)unused;
    go_turn();
}

int ask_for_turn(void) { return rm_EventLoopAddOneShot(on_turn, NULL); }

int busy(void) {
    int flags = rm_GetContextFlags(NULL);
    return (flags & (RM_CTX_FLAGS_LUA | RM_CTX_FLAGS_MULTI)) != 0 ||
           rm_AvoidReplicaTraffic();
}

int paused(void) { return rm_AvoidReplicaTraffic(); }

// Blocked clients

static int on_unblocked(RedisModuleCtx *ctx, RedisModuleString **argv,
                        int argc) {
    (void)argv;
    (void)argc;
    return go_unblocked(ctx, blocked_privdata(ctx));
}

static int on_timeout(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    (void)argc;
    return rm_ReplyWithError(ctx,
                             "UNBLOCKED the client was unblocked; the work "
                             "goes on, see SPONSOR.STATUS");
}

static void on_free(RedisModuleCtx *ctx, void *privdata) {
    (void)ctx;
    go_free_blocked((uintptr_t)privdata);
}

RedisModuleBlockedClient *block_client(RedisModuleCtx *ctx) {
    // Without a time-out callback CLIENT UNBLOCK would not work.
    return rm_BlockClient(ctx, on_unblocked, on_timeout, on_free, 0);
}

int unblock_client(RedisModuleBlockedClient *client, uintptr_t privdata) {
    return rm_UnblockClient(client, (void *)privdata);
}

uintptr_t blocked_privdata(RedisModuleCtx *ctx) {
    return (uintptr_t)rm_GetBlockedClientPrivateData(ctx);
}

// Events

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

// Whether a key may be one whose events are reported.
static int is_reported(const char *name, size_t len) {
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

// Stands on the path of every command of the whole server.
static void on_command_filter(RedisModuleCommandFilterCtx *filter) {
    if (own_use > 0)
        return;
    __atomic_store_n(&unit, unit + 1, __ATOMIC_RELAXED);
    if (captured.argc > 0)
        drop_captured();
    int argc = rm_CommandFilterArgsCount(filter);
    if (argc < 3 || prefixes.n == 0)
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

int register_filter(RedisModuleCtx *ctx) {
    return rm_RegisterCommandFilter(ctx, on_command_filter, 0) ? RM_OK : RM_ERR;
}

// Stands on the path of every write and every miss of the whole server.
static int on_key_event(RedisModuleCtx *ctx, int type, const char *event,
                        RedisModuleString *key) {
    if (own_use > 0)
        return RM_OK;
    size_t len;
    const char *name = rm_StringPtrLen(key, &len);
    if (!is_reported(name, len) || rm_GetSelectedDb(ctx) != 0)
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

static void on_server_event(RedisModuleCtx *ctx, RedisModuleEvent event,
                            uint64_t subevent, void *data) {
    (void)ctx;
    // Database 0 is ours, -1 means all.
    if (event.id == RM_EVENT_FLUSHDB && data != NULL &&
        ((RedisModuleFlushInfo *)data)->dbnum > 0)
        return;
    if (event.id == RM_EVENT_SWAPDB && data != NULL &&
        ((RedisModuleSwapDbInfo *)data)->dbnum_first != 0 &&
        ((RedisModuleSwapDbInfo *)data)->dbnum_second != 0)
        return;
    go_server_event(event.id, subevent);
}

int subscribe_server_event(RedisModuleCtx *ctx, uint64_t id) {
    RedisModuleEvent event = {.id = id, .dataver = 1};
    return rm_SubscribeToServerEvent(ctx, event, on_server_event);
}

static void on_info(RedisModuleInfoCtx *ctx, int for_crash_report) {
    // A crashed server must not enter Go any more.
    if (!for_crash_report)
        go_info(ctx);
}

int register_info(RedisModuleCtx *ctx) {
    return rm_RegisterInfoFunc(ctx, on_info);
}

// Settings. Redis hands the setting's name to each callback.

static RedisModuleString *get_string(const char *name, void *privdata) {
    (void)privdata;
    return go_get_string((char *)name);
}

static int set_string(const char *name, RedisModuleString *value,
                      void *privdata, RedisModuleString **err) {
    (void)privdata;
    size_t len;
    const char *bytes = rm_StringPtrLen(value, &len);
    return go_set_string((char *)name, (char *)bytes, len, err);
}

static int get_int(const char *name, void *privdata) {
    (void)privdata;
    return (int)go_get_number((char *)name);
}

static int set_int(const char *name, int value, void *privdata,
                   RedisModuleString **err) {
    (void)privdata;
    return go_set_number((char *)name, value, err);
}

static long long get_number(const char *name, void *privdata) {
    (void)privdata;
    return go_get_number((char *)name);
}

static int set_number(const char *name, long long value, void *privdata,
                      RedisModuleString **err) {
    (void)privdata;
    return go_set_number((char *)name, value, err);
}

static int on_apply(RedisModuleCtx *ctx, void *privdata,
                    RedisModuleString **err) {
    (void)ctx;
    (void)privdata;
    return go_apply(err);
}

int register_string(RedisModuleCtx *ctx, const char *name, const char *def) {
    return rm_RegisterStringConfig(ctx, name, def, RM_CONFIG_DEFAULT,
                                   get_string, set_string, on_apply, NULL);
}

int register_bool(RedisModuleCtx *ctx, const char *name, int def) {
    return rm_RegisterBoolConfig(ctx, name, def, RM_CONFIG_DEFAULT, get_int,
                                 set_int, on_apply, NULL);
}

int register_int(RedisModuleCtx *ctx, const char *name, long long def,
                 long long min, long long max) {
    return rm_RegisterNumericConfig(ctx, name, def, RM_CONFIG_DEFAULT, min, max,
                                    get_number, set_number, on_apply, NULL);
}

int register_enum(RedisModuleCtx *ctx, const char *name, int def,
                  const char **names, const int *values, int n) {
    return rm_RegisterEnumConfig(ctx, name, def, RM_CONFIG_DEFAULT, names,
                                 values, n, get_int, set_int, on_apply, NULL);
}
