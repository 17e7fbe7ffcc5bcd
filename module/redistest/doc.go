// Package redistest is the test lab: real servers, never mocks. It starts
// redis-server and valkey-server processes on free ports of 127.0.0.1 and on
// unix sockets, with modules, TLS and passwords as a test asks, kills and
// restarts them, and puts a proxy in front of them that fails on demand.
//
// A test begins with New, or with Each to run on every flavor of server that
// is here:
//
//	func TestR3_Eviction(t *testing.T) {
//		redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
//			s := redistest.New(t, redistest.Config{
//				Flavor:  flavor,
//				Modules: []string{redistest.Module(t)},
//			})
//			if err := s.Client().Set(t.Context(), "k", "v", 0).Err(); err != nil {
//				t.Fatal(err)
//			}
//		})
//	}
//
// What a test needs and the machine lacks is skipped on a laptop and fails
// where CI=true. Nothing outlives the test: the processes end in its cleanup,
// and with the test process if that dies.
//
// Start and StartProxy serve programs that are not tests, such as the one
// behind make run. Only tests and scripts may import this package.
package redistest
