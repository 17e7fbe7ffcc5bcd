// Compiles only if every function and every constant that api.h declares is the
// server's.

#include "redismodule.h"

#define API_FOREIGN_STRUCTS
#include "../api.h"

#define API_FUNCTION(type, name, params)                                       \
    _Static_assert(                                                            \
        __builtin_types_compatible_p(__typeof__(*rm_##name),                   \
                                     __typeof__(*RedisModule_##name)),         \
        #name);
API_FUNCTIONS(API_FUNCTION)
#ifdef REDISMODULE_OPTIONS_ALLOW_NESTED_KEYSPACE_NOTIFICATIONS // 7.2
API_OPTIONAL_FUNCTIONS(API_FUNCTION)
#endif

// OK, ERR and the like have names of their own there.
#define API_CONSTANT(name, value)                                              \
    _Static_assert((value) == REDISMODULE_##name, #name);
API_CONSTANTS(API_CONSTANT)
