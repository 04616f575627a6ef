// The franz-go side of the benchmark: the work that asks for one record's latency, for metadata and for groups.
//
// Each subcommand does one piece of work against the broker at -bootstrap and prints one JSON object of numbers on
// one line. It judges nothing: the runner (benches/versus) measures the broker and makes the table. Client options
// are franz-go's defaults unless a subcommand says otherwise beside the option.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type figures map[string]float64

var commands = map[string]func(context.Context, []string) (figures, error){
	"create":  create,
	"sync":    produceSync,
	"paced":   paced,
	"leaders": leaders,
	"join":    join,
	"spread":  spread,
	"keyed":   keyed,
	"compact": compact,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: franz-go create|sync|paced|spread|leaders|join|keyed|compact -bootstrap HOST:PORT …")
		os.Exit(2)
	}
	// Above anything a sane broker needs, so that a stuck one fails the run instead of hanging it.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	result, err := commands[os.Args[1]](ctx, os.Args[2:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "franz-go %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		os.Exit(1)
	}
}

// flags returns a flag set that already knows -bootstrap and -topic.
func flags(name string) (set *flag.FlagSet, bootstrap, topic *string) {
	set = flag.NewFlagSet(name, flag.ExitOnError)
	return set, set.String("bootstrap", "127.0.0.1:9092", "HOST:PORT"), set.String("topic", "bench", "topic")
}

func connect(bootstrap string, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, options...)...)
}

// latencies reduces samples to what the table shows, in milliseconds.
func latencies(samples []time.Duration) figures {
	sort.Slice(samples, func(i, j int) bool { return samples[i] < samples[j] })
	at := func(q float64) float64 {
		return float64(samples[int(q*float64(len(samples)-1))].Nanoseconds()) / 1e6
	}
	return figures{
		"samples": float64(len(samples)), "p50_ms": at(0.50), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": at(1),
	}
}
