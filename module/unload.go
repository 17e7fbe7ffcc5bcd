package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
)

// unloadPatience is how long MODULE UNLOAD, and so the whole server, waits for
// work to end.
const unloadPatience = 2 * time.Second

func (m *sponsor) mayUnload(ctx redismodule.Context) error {
	if m.engine.Syncing() {
		return errors.New("a SPONSOR.SYNC, PULL or VERIFY is under way; try again when SPONSOR.STATUS shows sync_done equal to sync_total, and so on")
	}
	clients, err := ctx.Read("CLIENT", "LIST")
	if err != nil {
		return err
	}
	if n := holders(clients); n > 0 {
		return fmt.Errorf("%d clients have run a command of this module last, or have a transaction open: "+
			"the server would crash when it looks at that command again; end these clients, or have them run another command", n)
	}
	return nil
}

func (m *sponsor) unload() error {
	if err := m.engine.Close(unloadPatience); err != nil {
		m.engine.Reopen()
		return err
	}
	m.checks.stop()
	return nil
}

// holders counts the clients, out of the reply to CLIENT LIST, in which the server
// keeps a pointer to one of our commands, or may do so. It frees the command
// nevertheless (https://github.com/redis/redis/pull/10259). Redis 8 then crashes
// at the client's next command, and every version at EXEC.
func holders(list string) int {
	n := 0
	for client := range strings.Lines(list) {
		fields := " " + client
		if strings.Contains(fields, " cmd=sponsor.") ||
			strings.Contains(fields, " multi=") && !strings.Contains(fields, " multi=-1 ") && !strings.Contains(fields, " multi=0 ") {
			n++
		}
	}
	return n
}
