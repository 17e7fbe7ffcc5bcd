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

static inline int selected_db(RedisModuleCtx *ctx) {
    return rm_GetSelectedDb(ctx);
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

// More than zero while the module itself uses the keyspace. Whoever reads or
// writes it holds the Redis lock.
extern int own_use;

// Looks at a key without touching its access time and without reporting a
// miss.
struct key_stat stat_key(RedisModuleCtx *ctx, const char *key, size_t len);

// Makes the client wait. through says that its command is one that passes
// through us, and that is not run if the client is unblocked by CLIENT UNBLOCK.
RedisModuleBlockedClient *block_client(RedisModuleCtx *ctx, int through);
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

// Reads a key that is not there, as a client would, and tells what of that is
// seen. key begins with one of the prefixes.
enum { COMMAND_SEEN = 2, MISS_SEEN = 4 };
int probe(RedisModuleCtx *ctx, const char *key, size_t len);

// Has the arguments of commands kept for the key events that they cause.
int register_filter(RedisModuleCtx *ctx);

// Has go_unit_end called when the command, script or transaction that caused
// the current key event has ended, in the same transaction of the AOF. RM_ERR:
// the server cannot do that, or not now.
int at_unit_end(RedisModuleCtx *ctx);

// How many commands clients have sent. Any thread may ask.
uint64_t commands(void);

// Whether a key begins with one of the prefixes.
int is_reported(const char *name, size_t len);

// Commands that pass through us (through.c)

// The commands of ours by which clients' commands pass through us.
#define THROUGH_READ "sponsor.read"
#define THROUGH_WRITE "sponsor.write"

int create_through_commands(RedisModuleCtx *ctx);

// Whether commands on keys that are not settled pass through us.
void set_through(int on);

// Looks whether there is a maxmemory.
void look_at_limit(void);

// Has commands on a key pass by, until unix millisecond until, or for good if
// that is zero: until the key has gone, or unsettle is called, or was called
// since known was what knowledge returned.
void settle_key(const char *name, size_t len, int64_t until, uint64_t known);
uint64_t knowledge(void);
size_t table_bytes(void); // that all of this takes; the main thread's to ask
void unsettle_key(const char *name, size_t len);

// Forgets all settled keys. Any thread may call it.
uint64_t unsettle(void);

// Whether a key event tells that its key may not be settled any more.
int may_unsettle(int type, const char *event);

// More than zero while a command runs that has passed through us; THROUGH_ASKED
// says that we know what it misses.
extern int passing_through;
enum { THROUGH_NOT = 0, THROUGH_UNASKED = 1, THROUGH_ASKED = 2 };

// What Go wants of a command.
enum { FILTER_PASS = 0, FILTER_READ = 1, FILTER_WRITE = 2 };

// Makes a command one of ours if it uses a key that is not settled, and Go
// wants it.
int rewrite(RedisModuleCommandFilterCtx *filter, int argc);

// Positions of a command's keys, in memory that free_positions frees, or NULL.
int *key_positions(RedisModuleString **argv, int argc, int *n);
void free_positions(int *positions);

// Whether the client's user may run a command.
int may_run(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);

// Whether the user of client id may run a command: as it is (FILTER_PASS), or
// as the command of ours that it would become. Where the server does not tell
// which client it is (id 0), nobody knows: then yes.
int client_may(RedisModuleCtx *ctx, uint64_t id, RedisModuleString **argv,
               int argc, int how);

// Whether the client caches what it reads (CLIENT TRACKING).
int tracks(RedisModuleCtx *ctx);

// Runs a command like run_through, but that n of its arguments are others:
// names holds these one after the other. The client's user need not have rights
// for them.
void run_renamed(RedisModuleCtx *ctx, RedisModuleString **argv, int argc,
                 const int *positions, const char *names, const size_t *lens,
                 int n);

// Runs a command as the client of ctx would, and answers with what it answers.
void run_through(RedisModuleCtx *ctx, RedisModuleString **argv, int argc,
                 int how);

int subscribe_server_event(RedisModuleCtx *ctx, uint64_t event);

int register_info(RedisModuleCtx *ctx);

int register_string(RedisModuleCtx *ctx, const char *name, const char *def);
int register_bool(RedisModuleCtx *ctx, const char *name, int def);
int register_int(RedisModuleCtx *ctx, const char *name, long long def,
                 long long min, long long max);
int register_enum(RedisModuleCtx *ctx, const char *name, int def,
                  const char **names, const int *values, int n);

#endif
