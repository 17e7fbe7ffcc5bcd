// What our C offers to Go: the calls that cgo cannot make by itself (function
// pointers, variadic functions), and nothing that decides anything but which
// key events are worth a call into Go.

#ifndef SPONSOR_BINDING_H
#define SPONSOR_BINDING_H

#include "api.h"

// What stat_key tells about a key.
struct key_stat {
    int type;            // RM_KEYTYPE_…; RM_KEYTYPE_EMPTY: no such key
    size_t length;       // elements, or bytes of a string
    long long expire_at; // unix milliseconds, or RM_NO_EXPIRE
};

// Finds every function of api.h. Returns the name of the first that the server
// does not have, or NULL.
const char *load_api(RedisModuleCtx *ctx);

// cgo cannot call a function pointer; these do.

static inline void set_attributes(RedisModuleCtx *ctx, const char *name,
                                  int version) {
    rm_SetModuleAttribs(ctx, name, version, RM_APIVER_1);
}

static inline int name_is_busy(const char *name) {
    return rm_IsModuleNameBusy(name);
}

static inline void log_line(RedisModuleCtx *ctx, const char *level,
                            const char *line) {
    rm_Log(ctx, level, "%s", line);
}

static inline int context_flags(RedisModuleCtx *ctx) {
    return rm_GetContextFlags(ctx);
}

static inline const char *string_bytes(const RedisModuleString *s,
                                       size_t *len) {
    return rm_StringPtrLen(s, len);
}

static inline RedisModuleString *new_string(const char *bytes, size_t len) {
    return rm_CreateString(NULL, bytes, len);
}

static inline void free_string(RedisModuleString *s) { rm_FreeString(NULL, s); }

static inline void reply_error(RedisModuleCtx *ctx, const char *message) {
    rm_ReplyWithError(ctx, message);
}

static inline void reply_simple(RedisModuleCtx *ctx, const char *message) {
    rm_ReplyWithSimpleString(ctx, message);
}

static inline void reply_bulk(RedisModuleCtx *ctx, const char *bytes,
                              size_t len) {
    rm_ReplyWithStringBuffer(ctx, bytes, len);
}

static inline void reply_int(RedisModuleCtx *ctx, long long n) {
    rm_ReplyWithLongLong(ctx, n);
}

static inline void reply_array(RedisModuleCtx *ctx, long n) {
    rm_ReplyWithArray(ctx, n);
}

static inline void reply_map(RedisModuleCtx *ctx, long n) {
    rm_ReplyWithMap(ctx, n);
}

static inline const char *reply_proto(RedisModuleCallReply *reply,
                                      size_t *len) {
    return rm_CallReplyProto(reply, len);
}

static inline void free_reply(RedisModuleCallReply *reply) {
    rm_FreeCallReply(reply);
}

static inline RedisModuleCtx *new_detached(RedisModuleCtx *ctx) {
    return rm_GetDetachedThreadSafeContext(ctx);
}

static inline void free_detached(RedisModuleCtx *ctx) {
    rm_FreeThreadSafeContext(ctx);
}

static inline void info_section(RedisModuleInfoCtx *ctx, const char *name) {
    rm_InfoAddSection(ctx, name);
}

static inline void info_string(RedisModuleInfoCtx *ctx, const char *field,
                               const char *value) {
    rm_InfoAddFieldCString(ctx, field, value);
}

static inline void info_int(RedisModuleInfoCtx *ctx, const char *field,
                            long long value) {
    rm_InfoAddFieldLongLong(ctx, field, value);
}

static inline int load_configs(RedisModuleCtx *ctx) {
    return rm_LoadConfigs(ctx);
}

// These do a little more.

int create_command(RedisModuleCtx *ctx, const char *name, const char *flags);
int set_command_info(RedisModuleCtx *ctx, const char *name,
                     RedisModuleCommandInfo *info);

// Calls a command on behalf of the module. args holds the arguments one after
// the other, lens their lengths. While it runs, key events are not reported:
// what the module does itself is no news to it. NULL with errno set: Redis did
// not run the command.
RedisModuleCallReply *call(RedisModuleCtx *ctx, const char *name,
                           const char *fmt, const char *args,
                           const size_t *lens, int n);

// Looks at a key without touching its access time and without reporting a
// miss.
struct key_stat stat_key(RedisModuleCtx *ctx, const char *key, size_t len);

RedisModuleBlockedClient *block_client(RedisModuleCtx *ctx);
int unblock_client(RedisModuleBlockedClient *client, uintptr_t privdata);
uintptr_t blocked_privdata(RedisModuleCtx *ctx);

// Has go_turn called on the main thread, soon. Any thread may ask.
int ask_for_turn(void);

// Whether the keyspace must be left alone just now: a script or a transaction
// is under way, so that what we did would be in the midst of it; or clients are
// paused, when Redis asserts that nothing is propagated.
int busy(void);

// Whether clients are paused: then nothing must be propagated.
int paused(void);

// Some bytes of somebody else's.
struct bytes {
    const char *p;
    size_t n;
};

// Key events are reported for database 0 and keys that begin with one of the
// prefixes. prefixes holds them one after the other; the memory is copied. The
// caller holds the Redis lock.
int set_key_prefixes(const char *prefixes, const size_t *lens, int n);
int subscribe_key_events(RedisModuleCtx *ctx);

// Has the arguments of commands kept for the key events that they cause.
int register_filter(RedisModuleCtx *ctx);

// Has go_unit_end called when the command, script or transaction that caused
// the current key event has ended, in the same transaction of the AOF. RM_ERR:
// the server cannot do that, or not now.
int at_unit_end(RedisModuleCtx *ctx);

// How many commands clients have sent. Any thread may ask.
uint64_t commands(void);

int subscribe_server_event(RedisModuleCtx *ctx, uint64_t event);

int register_info(RedisModuleCtx *ctx);

int register_string(RedisModuleCtx *ctx, const char *name, const char *def);
int register_bool(RedisModuleCtx *ctx, const char *name, int def);
int register_int(RedisModuleCtx *ctx, const char *name, long long def,
                 long long min, long long max);
int register_enum(RedisModuleCtx *ctx, const char *name, int def,
                  const char **names, const int *values, int n);

#endif
