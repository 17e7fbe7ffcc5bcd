// Compiles only if every struct that api.h declares is laid out as the
// server's.

#include <stddef.h>

#define RedisModuleEvent OurEvent
#define RedisModuleFlushInfo OurFlushInfo
#define RedisModuleSwapDbInfo OurSwapDbInfo
#define RedisModuleClientInfo OurClientInfo
#define RedisModuleCommandInfoVersion OurCommandInfoVersion
#define RedisModuleCommandHistoryEntry OurCommandHistoryEntry
#define RedisModuleCommandKeySpec OurCommandKeySpec
#define RedisModuleCommandArg OurCommandArg
#define RedisModuleCommandInfo OurCommandInfo
#define RedisModuleEventCallback OurEventCallback
#include "../api.h"
#undef RedisModuleEvent
#undef RedisModuleFlushInfo
#undef RedisModuleSwapDbInfo
#undef RedisModuleClientInfo
#undef RedisModuleCommandInfoVersion
#undef RedisModuleCommandHistoryEntry
#undef RedisModuleCommandKeySpec
#undef RedisModuleCommandArg
#undef RedisModuleCommandInfo
#undef RedisModuleEventCallback

#include "redismodule.h"

// Valkey's compatibility header does not rename all structs.
#ifndef THEIR
#define THEIR(name) RedisModule##name
#endif

#define SAME_SIZE(name)                                                        \
    _Static_assert(sizeof(Our##name) == sizeof(THEIR(name)), #name)
#define SAME_FIELD(name, field)                                                \
    _Static_assert(offsetof(Our##name, field) ==                               \
                           offsetof(THEIR(name), field) &&                     \
                       sizeof(((Our##name *)0)->field) ==                      \
                           sizeof(((THEIR(name) *)0)->field),                  \
                   #name "." #field)

SAME_SIZE(Event);
SAME_FIELD(Event, id);
SAME_FIELD(Event, dataver);

SAME_SIZE(ClientInfo);
SAME_FIELD(ClientInfo, version);
SAME_FIELD(ClientInfo, flags);
SAME_FIELD(ClientInfo, id);
SAME_FIELD(ClientInfo, db);

SAME_SIZE(FlushInfo);
SAME_FIELD(FlushInfo, version);
SAME_FIELD(FlushInfo, sync);
SAME_FIELD(FlushInfo, dbnum);

SAME_SIZE(SwapDbInfo);
SAME_FIELD(SwapDbInfo, version);
SAME_FIELD(SwapDbInfo, dbnum_first);
SAME_FIELD(SwapDbInfo, dbnum_second);

SAME_SIZE(CommandInfoVersion);
SAME_FIELD(CommandInfoVersion, version);
SAME_FIELD(CommandInfoVersion, sizeof_historyentry);
SAME_FIELD(CommandInfoVersion, sizeof_keyspec);
SAME_FIELD(CommandInfoVersion, sizeof_arg);

SAME_SIZE(CommandHistoryEntry);
SAME_FIELD(CommandHistoryEntry, since);
SAME_FIELD(CommandHistoryEntry, changes);

SAME_SIZE(CommandKeySpec);
SAME_FIELD(CommandKeySpec, notes);
SAME_FIELD(CommandKeySpec, flags);
SAME_FIELD(CommandKeySpec, begin_search_type);
SAME_FIELD(CommandKeySpec, bs);
SAME_FIELD(CommandKeySpec, find_keys_type);
SAME_FIELD(CommandKeySpec, fk);

// Newer servers have more fields at the end; sizeof_arg tells them that we have
// not.
_Static_assert(sizeof(OurCommandArg) <= sizeof(THEIR(CommandArg)), "arg");
SAME_FIELD(CommandArg, name);
SAME_FIELD(CommandArg, type);
SAME_FIELD(CommandArg, key_spec_index);
SAME_FIELD(CommandArg, token);
SAME_FIELD(CommandArg, summary);
SAME_FIELD(CommandArg, since);
SAME_FIELD(CommandArg, flags);
SAME_FIELD(CommandArg, deprecated_since);
SAME_FIELD(CommandArg, subargs);

SAME_SIZE(CommandInfo);
SAME_FIELD(CommandInfo, version);
SAME_FIELD(CommandInfo, summary);
SAME_FIELD(CommandInfo, complexity);
SAME_FIELD(CommandInfo, since);
SAME_FIELD(CommandInfo, history);
SAME_FIELD(CommandInfo, tips);
SAME_FIELD(CommandInfo, arity);
SAME_FIELD(CommandInfo, key_specs);
SAME_FIELD(CommandInfo, args);
