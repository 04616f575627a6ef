package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// balance follows what every member holds and notes when the group became even.
type balance struct {
	sync.Mutex
	held   []int
	evenAt time.Time
	even   chan struct{}
	each   int
}

// change adds delta to what the member holds. Even means that each member holds its exact share: with as many shares
// as partitions, each partition then has one owner.
func (b *balance) change(member, delta int) {
	b.Lock()
	defer b.Unlock()
	b.held[member] += delta
	for _, count := range b.held {
		if count != b.each {
			return
		}
	}
	b.evenAt = time.Now()
	select {
	case b.even <- struct{}{}:
	default:
	}
}

func count(partitions map[string][]int32) (n int) {
	for _, list := range partitions {
		n += len(list)
	}
	return n
}

// join starts all members of one group (or of several) at once, on one client each, and waits until each group has the
// partitions spread evenly. The topic has to exist. The clock starts before the first client dials.
func join(ctx context.Context, args []string) (figures, error) {
	set, bootstrap, topic := flags("join")
	members := set.Int("members", 50, "members")
	partitions := set.Int("partitions", 100, "partitions of the topic, a multiple of members")
	group := set.String("group", "bench", "group")
	groups := set.Int("groups", 1, "groups, each with so many members")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if *partitions%*members != 0 {
		return nil, fmt.Errorf("%d partitions cannot be even over %d members", *partitions, *members)
	}
	all := *members * *groups
	b := &balance{held: make([]int, all), even: make(chan struct{}, 1), each: *partitions / *members}

	clients := make([]*kgo.Client, all)
	var closing sync.WaitGroup
	defer func() {
		for _, client := range clients {
			if client != nil {
				closing.Go(client.Close)
			}
		}
		closing.Wait()
	}()
	started := time.Now()
	for i := range clients {
		gained := func(_ context.Context, _ *kgo.Client, p map[string][]int32) { b.change(i, count(p)) }
		gone := func(_ context.Context, _ *kgo.Client, p map[string][]int32) { b.change(i, -count(p)) }
		client, err := connect(*bootstrap,
			kgo.ConsumerGroup(fmt.Sprintf("%s-%d", *group, i%*groups)), kgo.ConsumeTopics(*topic), kgo.DisableAutoCommit(),
			kgo.OnPartitionsAssigned(gained), kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone))
		if err != nil {
			return nil, err
		}
		clients[i] = client
		go func() {
			for !client.PollFetches(ctx).IsClientClosed() && ctx.Err() == nil {
			}
		}()
	}
	select {
	case <-b.even:
	case <-ctx.Done():
		return nil, fmt.Errorf("never even: %v", b.held)
	}
	b.Lock()
	defer b.Unlock()
	return figures{"balanced_s": b.evenAt.Sub(started).Seconds()}, nil
}
