package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// look reads a key of that kind, as any client does: one that is away comes back first.
// Nobody else may write it meanwhile.
func look(ctx context.Context, db *redis.Client, key string, k kind) (value, error) {
	v := value{kind: k}
	var err error
	switch k {
	case aSet:
		var members []string
		members, err = db.SMembers(ctx, key).Result()
		v.elements = make(map[string]string, len(members))
		for _, m := range members {
			v.elements[m] = ""
		}
	case aHash:
		v.elements, err = db.HGetAll(ctx, key).Result()
	case aZset:
		var members []redis.Z
		members, err = db.ZRangeWithScores(ctx, key, 0, -1).Result()
		v.elements = make(map[string]string, len(members))
		for _, m := range members {
			v.elements[m.Member.(string)] = strconv.FormatFloat(m.Score, 'f', -1, 64)
		}
	case aList:
		v.list, err = db.LRange(ctx, key, 0, -1).Result()
	case aString:
		var text string
		text, err = db.Get(ctx, key).Result()
		if err == nil {
			v.list = []string{text}
		}
		if errors.Is(err, redis.Nil) {
			err = nil
		}
	case aStream:
		var entries []redis.XMessage
		entries, err = db.XRange(ctx, key, "-", "+").Result()
		for _, e := range entries {
			text, _ := e.Values["f"].(string)
			v.list = append(v.list, e.ID+"="+text)
		}
	}
	if err != nil {
		return value{}, err
	}
	at, err := db.Do(ctx, "PEXPIRETIME", key).Int64()
	if err != nil {
		return value{}, err
	}
	v.here = at != -2
	if !v.here {
		return value{}, nil
	}
	v.at = max(0, at)
	return v, nil
}

// notRun tells whether the server has refused a command without doing any of it.
func notRun(err error) bool {
	return redis.IsLoadingError(err) || redis.IsTryAgainError(err) || redis.IsOOMError(err) ||
		redis.IsMasterDownError(err) || redis.IsExecAbortError(err)
}

// isReply tells whether the server has answered with an error.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
