package module

import (
	"maps"
	"testing"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, info string
		want       map[string]float64
	}{
		{"no module", "", map[string]float64{}},
		{"somebody else's fields", "# Server\r\nredis_version:7.0.15\r\nuptime:3\r\n", map[string]float64{}},
		{"numbers", "# sponsor\r\nsponsor_lag_ms:12\r\nsponsor_fetched:3\r\n", map[string]float64{"lag_ms": 12, "fetched": 3}},
		{"all is well", "sponsor_state:connected\r\nsponsor_self_test:ok\r\nsponsor_users_without_grant:\r\n", map[string]float64{
			"connected": 1, "self_test": 1, "users_without_grant": 0,
		}},
		{"nothing is well", "sponsor_state:down\r\nsponsor_self_test:failed: no\r\nsponsor_users_without_grant:a b\r\n", map[string]float64{
			"connected": 0, "self_test": 0, "users_without_grant": 2,
		}},
		// An organisation and users may be called so.
		{"text that reads as a number", "sponsor_org:nan\r\nsponsor_last_error:5\r\nsponsor_role:1\r\nsponsor_users_without_grant:1000\r\n", map[string]float64{
			"users_without_grant": 1,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := figuresOf(tt.info); !maps.Equal(got, tt.want) {
				t.Errorf("figures = %v, want %v", got, tt.want)
			}
		})
	}
}
