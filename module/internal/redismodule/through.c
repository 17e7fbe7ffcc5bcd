// Commands that pass through us: one that uses a key which may have to be
// brought back becomes a command of ours, which makes its client wait for that,
// and then runs it.

#include "binding.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "_cgo_export.h"

// Settled keys
//
// A key is settled if a command may use it without asking us. The table forgets
// a key whose place another one takes: then we are asked once more.

#define SETTLED_PLACES (1u << 16)
#define SETTLED_NAME 256 // a longer name is not noted: anybody may make one up

struct settled {
    char *name;
    size_t len;
    uint64_t generation;
    int64_t until; // unix milliseconds; 0: for good
};

// The main thread's own, but for generation.
static struct settled *settled;
static uint64_t generation = 1;
static size_t settled_size; // bytes of all of it

size_t table_bytes(void) { return settled_size; }

static struct settled *place_of(const char *name, size_t len) {
    // Eight bytes at a time, with the numbers of FNV-1a: who finds names that
    // share a place has us asked more often, and that is all.
    uint64_t hash = 14695981039346656037u ^ len;
    for (; len >= sizeof(uint64_t); len -= sizeof(uint64_t)) {
        uint64_t part;
        memcpy(&part, name, sizeof(part));
        name += sizeof(part);
        hash = (hash ^ part) * 1099511628211u;
        hash ^= hash >> 29;
    }
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)name[i]) * 1099511628211u;
    return &settled[(hash ^ hash >> 32) & (SETTLED_PLACES - 1)];
}

static int holds(const struct settled *place, const char *name, size_t len) {
    return place->name != NULL && place->len == len &&
           memcmp(place->name, name, len) == 0;
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int is_settled(const char *name, size_t len) {
    if (settled == NULL)
        return 0;
    const struct settled *place = place_of(name, len);
    return holds(place, name, len) && place->generation == knowledge() &&
           (place->until == 0 || now() < place->until);
}

void settle_key(const char *name, size_t len, int64_t until, uint64_t known) {
    if (len > SETTLED_NAME)
        return;
    if (settled == NULL) {
        settled = calloc(SETTLED_PLACES, sizeof(*settled));
        if (settled == NULL)
            return;
        settled_size = SETTLED_PLACES * sizeof(*settled);
    }
    struct settled *place = place_of(name, len);
    if (!holds(place, name, len)) {
        char *copy = malloc(len + 1);
        if (copy == NULL)
            return;
        memcpy(copy, name, len);
        if (place->name != NULL)
            settled_size -= place->len + 1;
        settled_size += len + 1;
        free(place->name);
        place->name = copy;
        place->len = len;
    }
    place->until = until;
    place->generation = known;
}

void unsettle_key(const char *name, size_t len) {
    if (settled == NULL)
        return;
    struct settled *place = place_of(name, len);
    if (holds(place, name, len))
        place->generation = 0;
}

uint64_t unsettle(void) {
    return __atomic_add_fetch(&generation, 1, __ATOMIC_RELEASE);
}

uint64_t knowledge(void) {
    return __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
}

int may_unsettle(int type, const char *event) {
    if (type & (RM_NOTIFY_NEW | RM_NOTIFY_EXPIRED | RM_NOTIFY_EVICTED))
        return 1;
    return (type & RM_NOTIFY_GENERIC) != 0 && strcmp(event, "expire") != 0 &&
           strcmp(event, "persist") != 0;
}

// Commands of others

int passing_through;

static int through; // whether any command becomes one of ours
static int limited; // whether there is a maxmemory
static RedisModuleString *read_name, *write_name;

void look_at_limit(void) { limited = rm_GetUsedMemoryRatio() > 0; }

void set_through(int on) {
    look_at_limit();
    through = on;
    unsettle();
}

// Whether the server may evict keys before it runs the command that passes by:
// a settled key may be gone by then.
static int may_evict(void) {
    return limited && rm_GetUsedMemoryRatio() > 0.99f;
}

// Whether one of a command's arguments may be a key that is not settled.
static int uses_unsettled(RedisModuleCommandFilterCtx *filter, int argc) {
    for (int i = 1; i < argc; i++) {
        size_t len;
        const char *arg =
            rm_StringPtrLen(rm_CommandFilterArgGet(filter, i), &len);
        if (is_reported(arg, len) && (!is_settled(arg, len) || may_evict()))
            return 1;
    }
    return 0;
}

// Whether a command is one by which others pass through us.
static int is_ours(const RedisModuleString *command) {
    size_t len;
    const char *name = rm_StringPtrLen(command, &len);
    return (len == strlen(THROUGH_READ) &&
            strncasecmp(name, THROUGH_READ, len) == 0) ||
           (len == strlen(THROUGH_WRITE) &&
            strncasecmp(name, THROUGH_WRITE, len) == 0);
}

int rewrite(RedisModuleCommandFilterCtx *filter, int argc) {
    // Redis 7.0 shows a command once more that was postponed by CLIENT PAUSE.
    if (!through || !uses_unsettled(filter, argc) ||
        is_ours(rm_CommandFilterArgGet(filter, 0)))
        return 0;
    // A master's stream passes by here, too; and a script must run as it is.
    int flags = rm_GetContextFlags(NULL);
    if ((flags & RM_CTX_FLAGS_MASTER) == 0 ||
        (flags & (RM_CTX_FLAGS_LUA | RM_CTX_FLAGS_LOADING)) != 0)
        return 0;
    RedisModuleString *few[16], **argv = few;
    if (argc > 16)
        argv = malloc((size_t)argc * sizeof(*argv));
    if (argv == NULL)
        return 0;
    for (int i = 0; i < argc; i++)
        argv[i] = rm_CommandFilterArgGet(filter, i);
    uint64_t client = rm_CommandFilterGetClientId == NULL
                          ? 0
                          : rm_CommandFilterGetClientId(filter);
    int how = go_filter(argv, argc, client);
    if (argv != few)
        free(argv);
    if (how == FILTER_PASS)
        return 0;
    RedisModuleString *name = how == FILTER_WRITE ? write_name : read_name;
    rm_RetainString(NULL, name);
    rm_CommandFilterArgInsert(filter, 0, name);
    return 1;
}

int *key_positions(RedisModuleString **argv, int argc, int *n) {
    return rm_GetCommandKeysWithFlags(NULL, argv, argc, n, NULL);
}

void free_positions(int *positions) { rm_Free(positions); }

// Commands of ours

static void tell_keys(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int n, *flags;
    if (argc < 2 || is_ours(argv[1]))
        return; // or whoever repeats the name would have us call ourselves
    int *positions =
        rm_GetCommandKeysWithFlags(ctx, argv + 1, argc - 1, &n, &flags);
    if (positions == NULL)
        return;
    for (int i = 0; i < n; i++)
        rm_KeyAtPosWithFlags(ctx, positions[i] + 1, flags[i]);
    rm_Free(positions);
    rm_Free(flags);
}

static int on_through(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (rm_IsKeysPositionRequest(ctx)) {
        tell_keys(ctx, argv, argc);
        return RM_OK;
    }
    if (argc < 2 || (argv[0] != read_name && argv[0] != write_name))
        return rm_ReplyWithError(
            ctx, "ERR this command is for the module itself; send the command "
                 "that you mean");
    go_through(ctx, argv + 1, argc - 1, argv[0] == write_name);
    return RM_OK;
}

int create_through_commands(RedisModuleCtx *ctx) {
    if (read_name == NULL) {
        read_name = rm_CreateString(NULL, THROUGH_READ, strlen(THROUGH_READ));
        write_name =
            rm_CreateString(NULL, THROUGH_WRITE, strlen(THROUGH_WRITE));
    }
    if (rm_CreateCommand(ctx, THROUGH_READ, on_through, "readonly getkeys-api",
                         0, 0, 0) != RM_OK)
        return RM_ERR;
    return rm_CreateCommand(ctx, THROUGH_WRITE, on_through, "write getkeys-api",
                            0, 0, 0);
}

static int user_may(RedisModuleString *user_name, RedisModuleString **argv,
                    int argc) {
    if (user_name == NULL)
        return 0;
    RedisModuleUser *user = rm_GetModuleUserFromUserName(user_name);
    if (user == NULL)
        return 0;
    int ok = rm_ACLCheckCommandPermissions(user, argv, argc) == RM_OK;
    rm_FreeModuleUser(user);
    return ok;
}

// Whether it is a client that runs the command. Another module has no user.
static int has_user(RedisModuleCtx *ctx) {
    return rm_GetClientInfoById(NULL, rm_GetClientId(ctx)) == RM_OK;
}

int may_run(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (!has_user(ctx))
        return 1;
    RedisModuleString *name = rm_GetCurrentUserName(ctx);
    int ok = user_may(name, argv, argc);
    rm_FreeString(ctx, name);
    return ok;
}

int client_may(RedisModuleCtx *ctx, uint64_t id, RedisModuleString **argv,
               int argc, int how) {
    if (id == 0)
        return 1;
    RedisModuleString **whole = malloc(((size_t)argc + 1) * sizeof(*whole));
    if (whole == NULL)
        return 0;
    whole[0] = how == FILTER_WRITE ? write_name : read_name;
    memcpy(whole + 1, argv, (size_t)argc * sizeof(*argv));
    RedisModuleString *name = rm_GetClientUserNameById(ctx, id);
    int ok = how == FILTER_PASS ? user_may(name, argv, argc)
                                : user_may(name, whole, argc + 1);
    if (name != NULL)
        rm_FreeString(ctx, name);
    free(whole);
    return ok;
}

int tracks(RedisModuleCtx *ctx) {
    RedisModuleClientInfo info = {.version = 1};
    return rm_GetClientInfoById(&info, rm_GetClientId(ctx)) == RM_OK &&
           (info.flags & RM_CLIENTINFO_FLAG_TRACKING) != 0;
}

// Runs a command and answers with what it answers. format is that of rm_Call.
static void run(RedisModuleCtx *ctx, RedisModuleString **argv, int argc,
                int how, const char *format) {
    int before = passing_through;
    errno = 0;
    passing_through = how;
    RedisModuleCallReply *reply = rm_Call(ctx, rm_StringPtrLen(argv[0], NULL),
                                          format, argv + 1, (size_t)argc - 1);
    int why = errno;
    passing_through = before;
    if (reply == NULL || why == EACCES) {
        char text[256], name[65];
        const char *given = rm_StringPtrLen(argv[0], NULL);
        size_t n = 0;
        for (; n < sizeof(name) - 1 && given[n] != '\0'; n++)
            name[n] = (char)tolower((unsigned char)given[n]);
        name[n] = '\0';
        snprintf(text, sizeof(text),
                 why == EACCES
                     ? "NOPERM this user has no permissions to run the '%s' "
                       "command, or to access one of its keys"
                     : "ERR the command '%s' was not run; try it again",
                 name);
        rm_ReplyWithError(ctx, text);
    } else {
        rm_ReplyWithCallReply(ctx, reply);
    }
    if (reply != NULL)
        rm_FreeCallReply(reply);
}

void run_through(RedisModuleCtx *ctx, RedisModuleString **argv, int argc,
                 int how) {
    // As the client's user, in its protocol, with what it writes going to the
    // AOF and the replicas, and refused for want of memory as it would be.
    run(ctx, argv, argc, how, has_user(ctx) ? "!v0CME" : "!v0ME");
}

void run_renamed(RedisModuleCtx *ctx, RedisModuleString **argv, int argc,
                 const int *positions, const char *names, const size_t *lens,
                 int n) {
    RedisModuleString **others = malloc((size_t)argc * sizeof(*others));
    if (others == NULL) {
        rm_ReplyWithError(ctx, "ERR out of memory");
        return;
    }
    memcpy(others, argv, (size_t)argc * sizeof(*others));
    for (int i = 0; i < n; i++) {
        others[positions[i]] = rm_CreateString(NULL, names, lens[i]);
        names += lens[i];
    }
    run(ctx, others, argc, THROUGH_ASKED, "v0E");
    for (int i = 0; i < n; i++)
        rm_FreeString(NULL, others[positions[i]]);
    free(others);
}
