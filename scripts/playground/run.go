package main

import (
	"context"
	"errors"
	"net"
)

// serve opens the world, tells a person how to use it, and waits for the end
// of ctx or of one of the processes.
func serve(ctx context.Context, cfg config, out *printer) error {
	w, err := openWorld(ctx, cfg)
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("stopped before everything was up")
	case err != nil:
		return err
	}
	w.introduce(out)
	if err := w.wait(ctx); err != nil {
		// What else ended by itself hardly matters now.
		_ = w.close()
		return err
	}
	out.printf("\nStopping.")
	if err := w.close(); err != nil {
		return errors.Join(errors.New("the end was not clean"), err)
	}
	out.printf("Everything has stopped, and its data are gone.")
	return nil
}

// introduce prints what a person can do now.
func (w *world) introduce(out *printer) {
	out.printf("\nredis-sponsor is up. Open this page in a browser:\n\n  %s\n", out.in(bold, w.url+"/"))
	if w.github != nil {
		out.printf("A stand-in for GitHub asks who you want to be: sponsor-1 and sponsor-2 sponsor\n"+
			"%s, visitor-1 and visitor-2 do not. It wants no password.", w.cfg.org)
	} else {
		out.printf("You sign in with GitHub, and are a sponsor if you sponsor %s there.", w.cfg.org)
	}
	out.printf("Then exclude a node of the graph, for example C5162902. What a sponsor excludes\n" +
		"goes to the remote Redis at once; what others exclude stays here.")
	if w.remote == nil {
		out.printf("The remote is %s:%s.", w.login.host, w.login.port)
	}
	out.printf("\nTry these in another terminal:\n")
	for _, line := range w.lines() {
		out.printf("  %s", out.in(green, line))
	}
	out.printf("\nThe first two ask the local Redis, the third the remote one.\n"+
		"%s stops everything. What was started here keeps its data in temporary\n"+
		"folders, which are removed then.", out.in(bold, "Ctrl-C"))
}

// lines are three for a shell, to be pasted as they are.
func (w *world) lines() []string {
	host, port, _ := net.SplitHostPort(w.local.Addr())
	local := remote{host: host, port: port}
	return []string{
		local.cli("SPONSOR.STATUS"),
		local.cli("SPONSOR.SYNC"),
		w.login.cli("SMEMBERS", "sponsors:"+w.cfg.org),
	}
}
