package replication

import (
	"context"
	"strconv"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

// commands are some for the remote that it gets in one go, and whose each is.
type commands struct {
	list []*remote.Command
	of   []refusable
}

// A refusable is a key on its way, and is told if the remote has refused a command of
// it: the command's name, and why.
type refusable interface {
	refuse(operation string, err error)
}

func (c *commands) add(of refusable, cmds ...command) {
	for _, cmd := range cmds {
		c.ask(of, newCommand(cmd))
	}
}

// ask adds a command whose answer somebody wants to see.
func (c *commands) ask(of refusable, cmd *remote.Command) {
	c.list = append(c.list, cmd)
	c.of = append(c.of, of)
}

// exec runs the commands. An error means that it is not known which of them have
// run.
func (c *commands) exec(ctx context.Context, client *remote.Client) error {
	if len(c.list) == 0 {
		return nil
	}
	if err := client.Exec(ctx, c.list...); err != nil {
		return err
	}
	for i, cmd := range c.list {
		if err := cmd.Err(); err != nil {
			c.of[i].refuse(cmd.Name(), err)
		}
	}
	return nil
}

// newCommand makes a command one for the remote.
func newCommand(cmd command) *remote.Command {
	args := make([]any, len(cmd))
	for i := range cmd {
		if i < 3 {
			args[i] = cmd[i] // go-redis looks for the name and the key here
		} else {
			args[i] = &cmd[i] // which needs no memory of its own
		}
	}
	return remote.NewCommand(args...)
}

// expiryCommand gives the remote's key an expiry: unix milliseconds, 0 for never.
func expiryCommand(key string, at int64) command {
	if at == 0 {
		return command{"PERSIST", key}
	}
	return command{"PEXPIREAT", key, strconv.FormatInt(at, 10)}
}
