// The part of the Redis Modules API that redis-sponsor uses, declared by us.
//
// Names, signatures and values are those of the API as documented at
// https://redis.io/docs/latest/develop/reference/modules/modules-api-ref/;
// apicheck_test.go holds them against the redismodule.h of the servers we
// support, where those headers can be had.
//
// Every function is a pointer named rm_NAME, found at load by load_api.

#ifndef SPONSOR_REDISMODULE_API_H
#define SPONSOR_REDISMODULE_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleKey RedisModuleKey;
typedef struct RedisModuleCallReply RedisModuleCallReply;
typedef struct RedisModuleBlockedClient RedisModuleBlockedClient;
typedef struct RedisModuleCommand RedisModuleCommand;
typedef struct RedisModuleInfoCtx RedisModuleInfoCtx;
typedef struct RedisModuleCommandFilter RedisModuleCommandFilter;
typedef struct RedisModuleCommandFilterCtx RedisModuleCommandFilterCtx;
typedef struct RedisModuleUser RedisModuleUser;

// apicheck.c compiles against the server's own structs, and compares them with
// ours field by field; everybody else compiles against ours.
#ifndef API_FOREIGN_STRUCTS

typedef struct RedisModuleEvent {
    uint64_t id;
    uint64_t dataver;
} RedisModuleEvent;

typedef struct RedisModuleFlushInfo {
    uint64_t version;
    int32_t sync;
    int32_t dbnum;
} RedisModuleFlushInfo;

typedef struct RedisModuleSwapDbInfo {
    uint64_t version;
    int32_t dbnum_first;
    int32_t dbnum_second;
} RedisModuleSwapDbInfo;

typedef struct RedisModuleClientInfo {
    uint64_t version;
    uint64_t flags;
    uint64_t id;
    char addr[46];
    uint16_t port;
    uint16_t db;
} RedisModuleClientInfo;

typedef struct {
    int version;
    size_t sizeof_historyentry;
    size_t sizeof_keyspec;
    size_t sizeof_arg;
} RedisModuleCommandInfoVersion;

typedef struct {
    const char *since;
    const char *changes;
} RedisModuleCommandHistoryEntry;

typedef struct {
    const char *notes;
    uint64_t flags;
    int begin_search_type;
    union {
        struct {
            int pos;
        } index;
        struct {
            const char *keyword;
            int startfrom;
        } keyword;
    } bs;
    int find_keys_type;
    union {
        struct {
            int lastkey;
            int keystep;
            int limit;
        } range;
        struct {
            int keynumidx;
            int firstkey;
            int keystep;
        } keynum;
    } fk;
} RedisModuleCommandKeySpec;

typedef struct RedisModuleCommandArg {
    const char *name;
    int type;
    int key_spec_index;
    const char *token;
    const char *summary;
    const char *since;
    int flags;
    const char *deprecated_since;
    struct RedisModuleCommandArg *subargs;
} RedisModuleCommandArg;

typedef struct {
    const RedisModuleCommandInfoVersion *version;
    const char *summary;
    const char *complexity;
    const char *since;
    RedisModuleCommandHistoryEntry *history;
    const char *tips;
    int arity;
    RedisModuleCommandKeySpec *key_specs;
    RedisModuleCommandArg *args;
} RedisModuleCommandInfo;

#endif

typedef int (*RedisModuleCmdFunc)(RedisModuleCtx *, RedisModuleString **, int);
typedef int (*RedisModuleNotificationFunc)(RedisModuleCtx *, int, const char *,
                                           RedisModuleString *);
typedef void (*RedisModuleEventCallback)(RedisModuleCtx *, RedisModuleEvent,
                                         uint64_t, void *);
typedef void (*RedisModuleEventLoopOneShotFunc)(void *);
typedef void (*RedisModuleInfoFunc)(RedisModuleInfoCtx *, int);
typedef void (*RedisModuleCommandFilterFunc)(RedisModuleCommandFilterCtx *);
typedef void (*RedisModulePostNotificationJobFunc)(RedisModuleCtx *, void *);
typedef RedisModuleString *(*RedisModuleConfigGetStringFunc)(const char *,
                                                             void *);
typedef long long (*RedisModuleConfigGetNumericFunc)(const char *, void *);
typedef int (*RedisModuleConfigGetBoolFunc)(const char *, void *);
typedef int (*RedisModuleConfigGetEnumFunc)(const char *, void *);
typedef int (*RedisModuleConfigSetStringFunc)(const char *, RedisModuleString *,
                                              void *, RedisModuleString **);
typedef int (*RedisModuleConfigSetNumericFunc)(const char *, long long, void *,
                                               RedisModuleString **);
typedef int (*RedisModuleConfigSetBoolFunc)(const char *, int, void *,
                                            RedisModuleString **);
typedef int (*RedisModuleConfigSetEnumFunc)(const char *, int, void *,
                                            RedisModuleString **);
typedef int (*RedisModuleConfigApplyFunc)(RedisModuleCtx *, void *,
                                          RedisModuleString **);

// clang-format off
#define API_FUNCTIONS(X) \
    X(void, SetModuleAttribs, (RedisModuleCtx *ctx, const char *name, int ver, int apiver)) \
    X(int, IsModuleNameBusy, (const char *name)) \
    X(void, Log, (RedisModuleCtx *ctx, const char *level, const char *fmt, ...)) \
    X(int, GetContextFlags, (RedisModuleCtx *ctx)) \
    X(int, GetSelectedDb, (RedisModuleCtx *ctx)) \
    X(int, CreateCommand, (RedisModuleCtx *ctx, const char *name, RedisModuleCmdFunc cmdfunc, const char *strflags, int firstkey, int lastkey, int keystep)) \
    X(RedisModuleCommand *, GetCommand, (RedisModuleCtx *ctx, const char *name)) \
    X(int, SetCommandInfo, (RedisModuleCommand *command, const RedisModuleCommandInfo *info)) \
    X(int, ReplyWithError, (RedisModuleCtx *ctx, const char *err)) \
    X(int, ReplyWithSimpleString, (RedisModuleCtx *ctx, const char *msg)) \
    X(int, ReplyWithStringBuffer, (RedisModuleCtx *ctx, const char *buf, size_t len)) \
    X(int, ReplyWithLongLong, (RedisModuleCtx *ctx, long long ll)) \
    X(int, ReplyWithArray, (RedisModuleCtx *ctx, long len)) \
    X(int, ReplyWithMap, (RedisModuleCtx *ctx, long len)) \
    X(RedisModuleString *, CreateString, (RedisModuleCtx *ctx, const char *ptr, size_t len)) \
    X(void, FreeString, (RedisModuleCtx *ctx, RedisModuleString *str)) \
    X(const char *, StringPtrLen, (const RedisModuleString *str, size_t *len)) \
    X(RedisModuleBlockedClient *, BlockClient, (RedisModuleCtx *ctx, RedisModuleCmdFunc reply_callback, RedisModuleCmdFunc timeout_callback, void (*free_privdata)(RedisModuleCtx *, void *), long long timeout_ms)) \
    X(int, UnblockClient, (RedisModuleBlockedClient *bc, void *privdata)) \
    X(void *, GetBlockedClientPrivateData, (RedisModuleCtx *ctx)) \
    X(RedisModuleCtx *, GetDetachedThreadSafeContext, (RedisModuleCtx *ctx)) \
    X(void, FreeThreadSafeContext, (RedisModuleCtx *ctx)) \
    X(int, EventLoopAddOneShot, (RedisModuleEventLoopOneShotFunc func, void *user_data)) \
    X(int, AvoidReplicaTraffic, ()) \
    X(int, SubscribeToServerEvent, (RedisModuleCtx *ctx, RedisModuleEvent event, RedisModuleEventCallback callback)) \
    X(int, SubscribeToKeyspaceEvents, (RedisModuleCtx *ctx, int types, RedisModuleNotificationFunc cb)) \
    X(RedisModuleCallReply *, Call, (RedisModuleCtx *ctx, const char *cmdname, const char *fmt, ...)) \
    X(const char *, CallReplyProto, (RedisModuleCallReply *reply, size_t *len)) \
    X(void, FreeCallReply, (RedisModuleCallReply *reply)) \
    X(RedisModuleKey *, OpenKey, (RedisModuleCtx *ctx, RedisModuleString *keyname, int mode)) \
    X(void, CloseKey, (RedisModuleKey *kp)) \
    X(int, KeyType, (RedisModuleKey *kp)) \
    X(size_t, ValueLength, (RedisModuleKey *kp)) \
    X(long long, GetAbsExpire, (RedisModuleKey *key)) \
    X(int, RegisterStringConfig, (RedisModuleCtx *ctx, const char *name, const char *default_val, unsigned int flags, RedisModuleConfigGetStringFunc getfn, RedisModuleConfigSetStringFunc setfn, RedisModuleConfigApplyFunc applyfn, void *privdata)) \
    X(int, RegisterBoolConfig, (RedisModuleCtx *ctx, const char *name, int default_val, unsigned int flags, RedisModuleConfigGetBoolFunc getfn, RedisModuleConfigSetBoolFunc setfn, RedisModuleConfigApplyFunc applyfn, void *privdata)) \
    X(int, RegisterNumericConfig, (RedisModuleCtx *ctx, const char *name, long long default_val, unsigned int flags, long long min, long long max, RedisModuleConfigGetNumericFunc getfn, RedisModuleConfigSetNumericFunc setfn, RedisModuleConfigApplyFunc applyfn, void *privdata)) \
    X(int, RegisterEnumConfig, (RedisModuleCtx *ctx, const char *name, int default_val, unsigned int flags, const char **enum_values, const int *int_values, int num_enum_vals, RedisModuleConfigGetEnumFunc getfn, RedisModuleConfigSetEnumFunc setfn, RedisModuleConfigApplyFunc applyfn, void *privdata)) \
    X(int, LoadConfigs, (RedisModuleCtx *ctx)) \
    X(int, RegisterInfoFunc, (RedisModuleCtx *ctx, RedisModuleInfoFunc cb)) \
    X(int, InfoAddSection, (RedisModuleInfoCtx *ctx, const char *name)) \
    X(int, InfoAddFieldCString, (RedisModuleInfoCtx *ctx, const char *field, const char *value)) \
    X(int, InfoAddFieldLongLong, (RedisModuleInfoCtx *ctx, const char *field, long long value)) \
    X(void, RetainString, (RedisModuleCtx *ctx, RedisModuleString *str)) \
    X(RedisModuleCommandFilter *, RegisterCommandFilter, (RedisModuleCtx *ctx, RedisModuleCommandFilterFunc cb, int flags)) \
    X(int, CommandFilterArgsCount, (RedisModuleCommandFilterCtx *fctx)) \
    X(RedisModuleString *, CommandFilterArgGet, (RedisModuleCommandFilterCtx *fctx, int pos)) \
    X(int, CommandFilterArgInsert, (RedisModuleCommandFilterCtx *fctx, int pos, RedisModuleString *arg)) \
    X(int *, GetCommandKeysWithFlags, (RedisModuleCtx *ctx, RedisModuleString **argv, int argc, int *num_keys, int **out_flags)) \
    X(int, IsKeysPositionRequest, (RedisModuleCtx *ctx)) \
    X(void, KeyAtPosWithFlags, (RedisModuleCtx *ctx, int pos, int flags)) \
    X(void, Free, (void *ptr)) \
    X(unsigned long long, GetClientId, (RedisModuleCtx *ctx)) \
    X(int, GetClientInfoById, (void *ci, uint64_t id)) \
    X(float, GetUsedMemoryRatio, ()) \
    X(int, ReplyWithCallReply, (RedisModuleCtx *ctx, RedisModuleCallReply *reply)) \
    X(RedisModuleString *, GetCurrentUserName, (RedisModuleCtx *ctx)) \
    X(RedisModuleString *, GetClientUserNameById, (RedisModuleCtx *ctx, uint64_t id)) \
    X(RedisModuleUser *, GetModuleUserFromUserName, (RedisModuleString *name)) \
    X(void, FreeModuleUser, (RedisModuleUser *user)) \
    X(int, ACLCheckCommandPermissions, (RedisModuleUser *user, RedisModuleString **argv, int argc))

// Functions that not every server has: NULL where it has not. The oldest that
// does stands behind each.
#define API_OPTIONAL_FUNCTIONS(X) \
    X(int, AddPostNotificationJob, (RedisModuleCtx *ctx, RedisModulePostNotificationJobFunc callback, void *pd, void (*free_pd)(void*))) /* 7.2 */ \
    X(unsigned long long, CommandFilterGetClientId, (RedisModuleCommandFilterCtx *fctx)) /* 7.2 */

#define API_CONSTANTS(X) \
    X(OK, 0) \
    X(ERR, 1) \
    X(APIVER_1, 1) \
    X(READ, 1 << 0) \
    X(OPEN_KEY_NOTOUCH, 1 << 16) \
    X(KEYTYPE_EMPTY, 0) \
    X(KEYTYPE_STRING, 1) \
    X(KEYTYPE_LIST, 2) \
    X(KEYTYPE_HASH, 3) \
    X(KEYTYPE_SET, 4) \
    X(KEYTYPE_ZSET, 5) \
    X(KEYTYPE_MODULE, 6) \
    X(KEYTYPE_STREAM, 7) \
    X(NO_EXPIRE, -1) \
    X(CONFIG_DEFAULT, 0) \
    X(CTX_FLAGS_LUA, 1 << 0) \
    X(CTX_FLAGS_MULTI, 1 << 1) \
    X(CTX_FLAGS_MASTER, 1 << 2) \
    X(CTX_FLAGS_CLUSTER, 1 << 5) \
    X(CTX_FLAGS_LOADING, 1 << 13) \
    X(CTX_FLAGS_DENY_BLOCKING, 1 << 21) \
    X(CLIENTINFO_FLAG_TRACKING, 1 << 3) \
    X(NOTIFY_GENERIC, 1 << 2) \
    X(NOTIFY_EXPIRED, 1 << 8) \
    X(NOTIFY_EVICTED, 1 << 9) \
    X(NOTIFY_KEY_MISS, 1 << 11) \
    X(NOTIFY_NEW, 1 << 14) \
    X(NOTIFY_ALL, (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8) | (1 << 9) | (1 << 10) | (1 << 13)) \
    X(EVENT_REPLICATION_ROLE_CHANGED, 0) \
    X(EVENT_FLUSHDB, 2) \
    X(EVENT_LOADING, 3) \
    X(EVENT_SWAPDB, 11) \
    X(EVENT_CONFIG, 16) \
    X(EVENT_REPLROLECHANGED_NOW_MASTER, 0) \
    X(EVENT_REPLROLECHANGED_NOW_REPLICA, 1) \
    X(SUBEVENT_FLUSHDB_START, 0) \
    X(SUBEVENT_FLUSHDB_END, 1) \
    X(SUBEVENT_LOADING_ENDED, 3) \
    X(SUBEVENT_LOADING_FAILED, 4) \
    X(ARG_TYPE_STRING, 0) \
    X(ARG_TYPE_INTEGER, 1) \
    X(ARG_TYPE_PURE_TOKEN, 6) \
    X(CMD_ARG_OPTIONAL, 1 << 0) \
    X(CMD_ARG_MULTIPLE, 1 << 1)
// clang-format on

#define API_CONSTANT(name, value) RM_##name = (value),
enum { API_CONSTANTS(API_CONSTANT) };
#undef API_CONSTANT

#define API_FUNCTION(type, name, params) extern type(*rm_##name) params;
API_FUNCTIONS(API_FUNCTION)
API_OPTIONAL_FUNCTIONS(API_FUNCTION)
#undef API_FUNCTION

#endif
