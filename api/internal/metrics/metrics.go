// Package metrics counts what the API does, and shows it to Prometheus together
// with what the module in Redis says of itself.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the figures of one process. They may be used from several
// goroutines.
type Metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	inFlight   prometheus.Gauge
	limited    *prometheus.CounterVec
	signIns    *prometheus.CounterVec
	webhooks   *prometheus.CounterVec
	erasures   *prometheus.CounterVec
	gitHub     *prometheus.HistogramVec
	reconciled *prometheus.CounterVec
	listed     prometheus.Gauge
	lastPass   prometheus.Gauge
}

// New returns metrics that all stand at zero.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sponsor_api_http_requests_total", Help: "Requests that were answered.",
		}, []string{"route", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sponsor_api_http_request_duration_seconds", Help: "How long requests took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sponsor_api_http_requests_in_flight", Help: "Requests that are being answered now.",
		}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sponsor_api_limited_total", Help: "Requests that were refused because there were too many of them, by address or person.",
		}, []string{"by"}),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sponsor_api_sign_ins_total", Help: "Sign-ins that came back from GitHub: sponsor, visitor or unknown by what GitHub said, or failed.",
		}, []string{"result"}),
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sponsor_api_webhooks_total", Help: "Deliveries of GitHub's webhook: accepted, repeated, ignored, refused or failed.",
		}, []string{"outcome"}),
		erasures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sponsor_api_erasures_total", Help: "People who asked to delete everything: erased, or failed.",
		}, []string{"outcome"}),
		gitHub: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sponsor_api_github_duration_seconds", Help: "How long GitHub took to answer, by call and outcome (ok or failed).",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 12},
		}, []string{"call", "outcome"}),
		reconciled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sponsor_api_reconciliations_total", Help: "Comparisons with GitHub's list of sponsors: complete or failed.",
		}, []string{"outcome"}),
		listed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sponsor_api_github_sponsors", Help: "Sponsors on GitHub's list, the last time it was complete.",
		}),
		lastPass: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sponsor_api_last_reconciliation_timestamp_seconds", Help: "When GitHub's list was complete the last time, in unix seconds.",
		}),
	}
	m.registry.MustRegister(
		m.requests, m.durations, m.inFlight, m.limited, m.signIns, m.webhooks, m.erasures, m.gitHub,
		m.reconciled, m.listed, m.lastPass,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.begin()
	return m
}

// begin shows what can be counted as zero before it has happened: Prometheus sees no
// increase in a metric that begins with 1.
func (m *Metrics) begin() {
	for _, c := range []struct {
		counter *prometheus.CounterVec
		values  []string
	}{
		{m.limited, []string{"address", "person"}},
		{m.signIns, []string{"sponsor", "visitor", "unknown", "failed"}},
		{m.webhooks, []string{"accepted", "repeated", "ignored", "refused", "failed"}},
		{m.erasures, []string{"erased", "failed"}},
		{m.reconciled, []string{"complete", "failed"}},
	} {
		for _, v := range c.values {
			c.counter.WithLabelValues(v)
		}
	}
}

// Request counts a request as being answered, until done is called.
func (m *Metrics) Request() (done func(route string, status int)) {
	start := time.Now()
	m.inFlight.Inc()
	return func(route string, status int) {
		m.inFlight.Dec()
		m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
		m.durations.WithLabelValues(route).Observe(time.Since(start).Seconds())
	}
}

// Limited counts a request that was refused, by what it was too many of.
func (m *Metrics) Limited(by string) { m.limited.WithLabelValues(by).Inc() }

// SignIn counts a sign-in by its result.
func (m *Metrics) SignIn(result string) { m.signIns.WithLabelValues(result).Inc() }

// Webhook counts a delivery by its outcome.
func (m *Metrics) Webhook(outcome string) { m.webhooks.WithLabelValues(outcome).Inc() }

// Erasure counts an erasure.
func (m *Metrics) Erasure(err error) { m.erasures.WithLabelValues(outcome(err == nil, "erased")).Inc() }

// GitHub counts a call to GitHub.
func (m *Metrics) GitHub(call string, ok bool, d time.Duration) {
	m.gitHub.WithLabelValues(call, outcome(ok, "ok")).Observe(d.Seconds())
}

// Reconciled counts a comparison with GitHub's list: whether the list was complete,
// how many sponsors it had, and when that was.
func (m *Metrics) Reconciled(complete bool, listed int, at time.Time) {
	m.reconciled.WithLabelValues(outcome(complete, "complete")).Inc()
	if complete {
		m.listed.Set(float64(listed))
		m.lastPass.Set(float64(at.Unix()))
	}
}

func outcome(ok bool, good string) string {
	if ok {
		return good
	}
	return "failed"
}

// Handler shows the metrics to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
