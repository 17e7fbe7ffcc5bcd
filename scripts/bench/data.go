package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// What the rows are about.
const (
	bulkOwners   = 20_000 // who have a set and a hash each,
	bulkElements = 50     // of so many elements

	flatSponsors = 1000
	flatOthers   = 10_000

	largeSet = 1_000_000
	smallSet = 10

	// manySponsors are those of whom a row takes one at random.
	manySponsors = 10_000
)

// owner is the id of the person with that number, as redis-benchmark writes it
// for __rand_int__.
func owner(number int) string { return fmt.Sprintf("%012d", number) }

// node is the name of a node, as those in the sponsors' sets.
func node(number int) string { return fmt.Sprintf("C%07d", number) }

// writeBulk writes the file for redis-cli --pipe: a SADD and an HSET for each of
// the bulk's owners.
func writeBulk(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(file, 1<<20)
	for i := range bulkOwners {
		set := []string{"SADD", keyspace.ExcludedNodesKey(owner(i))}
		hash := []string{"HSET", keyspace.UserDetailsKey(owner(i))}
		for j := range bulkElements {
			set = append(set, node(i*bulkElements+j))
			hash = append(hash, fmt.Sprintf("field-%02d", j), fmt.Sprintf("value-%d", i+j))
		}
		for _, command := range [][]string{set, hash} {
			_, _ = w.Write(encode(command...)) // Flush tells
		}
	}
	return errors.Join(w.Flush(), file.Close())
}

// addSponsors makes sponsors of the first people.
func (s *server) addSponsors(ctx context.Context, number int) error {
	return s.addMembers(ctx, keyspace.SponsorsKey(org), number, owner)
}

// addMembers adds members to a set.
func (s *server) addMembers(ctx context.Context, key string, number int, member func(int) string) error {
	const part = 1000 // members of a command
	return s.pipelined(ctx, func(send func(...any) error) error {
		for i := 0; i < number; i += part {
			command := []any{"SADD", key}
			for j := i; j < min(i+part, number); j++ {
				command = append(command, member(j))
			}
			if err := send(command...); err != nil {
				return err
			}
		}
		return nil
	})
}

// addSets gives each of the first people a set.
func (s *server) addSets(ctx context.Context, people, size int) error {
	return s.pipelined(ctx, func(send func(...any) error) error {
		for i := range people {
			command := []any{"SADD", keyspace.ExcludedNodesKey(owner(i))}
			for j := range size {
				command = append(command, node(i*size+j))
			}
			if err := send(command...); err != nil {
				return err
			}
		}
		return nil
	})
}

// pipelined runs commands in batches.
func (s *server) pipelined(ctx context.Context, commands func(send func(...any) error) error) error {
	const batch = 500
	pipe := s.db.Pipeline()
	exec := func() error {
		_, err := pipe.Exec(ctx)
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("fill %s: %w", s.Config().Name, err)
		}
		return nil
	}
	err := commands(func(args ...any) error {
		pipe.Do(ctx, args...)
		if pipe.Len() < batch {
			return nil
		}
		return exec()
	})
	if err != nil {
		return err
	}
	return exec()
}

// populate adds keys of nobody's, as fast as the server can.
func (s *server) populate(ctx context.Context, keys int) error {
	if err := s.db.Do(ctx, "DEBUG", "POPULATE", keys, "other").Err(); err != nil {
		return fmt.Errorf("DEBUG POPULATE: %w", err)
	}
	return nil
}

// openBulk makes the file of writeBulk in the lab's folder, or finds it.
func (l *lab) openBulk() (io.ReadSeekCloser, error) {
	path := l.dir + "/bulk"
	if _, err := os.Stat(path); err != nil {
		if err := writeBulk(path); err != nil {
			return nil, fmt.Errorf("write the commands of the bulk: %w", err)
		}
	}
	return os.Open(path)
}
