package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds the questions to Redis while Prometheus waits.
const scrapeTimeout = 2 * time.Second

// A Source is what is asked at each scrape. What fails is left out.
type Source struct {
	// Module returns the numbers of INFO sponsor.
	Module func(context.Context) (map[string]float64, error)
	// Sponsors counts those who are sponsors now.
	Sponsors func(context.Context) (int64, error)
}

// Watch shows what a source says at each scrape. Call it once.
func (m *Metrics) Watch(s Source) { m.registry.MustRegister(redisCollector{s}) }

// redisCollector asks Redis at each scrape. Its metrics are not known beforehand: a
// newer module may have more of them.
type redisCollector struct{ Source }

// counters are the fields of INFO sponsor that only grow while the module is
// loaded.
var counters = map[string]bool{
	"acknowledged": true, "fetched": true, "misses": true, "absent_hits": true,
	"timeouts": true, "lost": true, "errors": true,
}

// words say what the figures are that INFO sponsor has as text.
var words = map[string]string{
	"connected":           "1 if sponsor_state of INFO sponsor is connected.",
	"self_test":           "1 if sponsor_self_test of INFO sponsor is ok.",
	"users_without_grant": "How many users sponsor_users_without_grant of INFO sponsor names.",
}

var (
	redisUp = prometheus.NewDesc("sponsor_api_redis_up",
		"1 if the local Redis answers.", nil, nil)
	moduleUp = prometheus.NewDesc("sponsor_module_up",
		"1 if the module in the local Redis answers.", nil, nil)
	sponsorsNow = prometheus.NewDesc("sponsor_api_sponsors",
		"People and organisations that count as sponsors, by the set in the local Redis.", nil, nil)
)

// Describe implements prometheus.Collector: it describes nothing, and so the
// collector is an unchecked one.
func (redisCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c redisCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	up := func(desc *prometheus.Desc, err error) {
		v := 1.0
		if err != nil {
			v = 0
		}
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v)
	}
	n, err := c.Sponsors(ctx)
	up(redisUp, err)
	if err == nil {
		ch <- prometheus.MustNewConstMetric(sponsorsNow, prometheus.GaugeValue, float64(n))
	}
	figures, err := c.Module(ctx)
	up(moduleUp, err)
	for field, v := range figures {
		name, kind := "sponsor_module_"+field, prometheus.GaugeValue
		if counters[field] {
			name, kind = name+"_total", prometheus.CounterValue
		}
		help := "The field sponsor_" + field + " of INFO sponsor."
		if text, ok := words[field]; ok {
			help = text
		}
		desc := prometheus.NewDesc(name, help, nil, nil)
		ch <- prometheus.MustNewConstMetric(desc, kind, v)
	}
}
