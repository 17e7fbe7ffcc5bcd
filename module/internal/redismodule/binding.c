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

int own_use;

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
    return go_unblocked(ctx, argv, argc, blocked_privdata(ctx));
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

static int on_through_timeout(RedisModuleCtx *ctx, RedisModuleString **argv,
                              int argc) {
    (void)argv;
    (void)argc;
    return rm_ReplyWithError(
        ctx, "UNBLOCKED client unblocked via CLIENT UNBLOCK; the command was "
             "not run");
}

RedisModuleBlockedClient *block_client(RedisModuleCtx *ctx, int through) {
    // Without a time-out callback CLIENT UNBLOCK would not work.
    return rm_BlockClient(ctx, on_unblocked,
                          through ? on_through_timeout : on_timeout, on_free,
                          0);
}

int unblock_client(RedisModuleBlockedClient *client, uintptr_t privdata) {
    return rm_UnblockClient(client, (void *)privdata);
}

uintptr_t blocked_privdata(RedisModuleCtx *ctx) {
    return (uintptr_t)rm_GetBlockedClientPrivateData(ctx);
}

// Events

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
    if (event.id == RM_EVENT_CONFIG) {
        look_at_limit();
        return;
    }
    unsettle();
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
