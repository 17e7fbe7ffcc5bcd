package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// demo plays the story from the beginning to the end. Its error names the step
// that did not hold.
func demo(ctx context.Context, cfg config, steps []step, out *printer) error {
	begun := time.Now()
	s := &story{cfg: cfg, out: out, patience: max(cfg.patience, defaultPatience)}
	defer s.abandon()
	err := s.tell(ctx, steps)
	switch {
	case ctx.Err() != nil:
		return errors.New("stopped before the end of the story")
	case err != nil && s.w != nil:
		return fmt.Errorf("%w\n%s", err, s.w.autopsy())
	case err != nil:
		return err
	}
	out.printf("\n%s in %.1f s.", out.in(green, fmt.Sprintf("All %d steps held,", len(steps))), time.Since(begun).Seconds())
	return nil
}
