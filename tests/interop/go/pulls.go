package main

import (
	"context"
	"fmt"
	"sort"
	"sync"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// pulls reads at an offset of one's own choice, and works with offsets. The Go client has no queries by id or key.
type pulls struct {
	mutex sync.Mutex
	open  map[string]rocketmq.PullConsumer
}

func newPulls() *pulls { return &pulls{open: map[string]rocketmq.PullConsumer{}} }

func (p *pulls) register(operations map[string]operation) {
	operations["pull_start"] = p.start
	operations["pull_stop"] = p.stop
	operations["queues"] = p.queues
	operations["pull"] = p.pull
	operations["commit"] = p.commit
	operations["committed"] = p.committed
	operations["decode_id"] = p.decodeID
}

func (p *pulls) start(asked request) (object, error) {
	name := asked.text("name", "")
	one, err := rocketmq.NewPullConsumer(
		consumer.WithNameServer([]string{asked.text("namesrv", "")}),
		consumer.WithGroupName(asked.text("group", "")),
		consumer.WithInstance(name),
	)
	if err != nil {
		return nil, err
	}
	selector := asked.selector()
	if err := one.Subscribe(asked.text("topic", ""), selector); err != nil {
		return nil, err
	}
	if err := one.Start(); err != nil {
		return nil, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.open[name] = one
	return nil, nil
}

func (p *pulls) get(asked request) (rocketmq.PullConsumer, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	one := p.open[asked.text("name", "")]
	if one == nil {
		return nil, fmt.Errorf("no pull consumer %s", asked.text("name", ""))
	}
	return one, nil
}

func (p *pulls) stop(asked request) (object, error) {
	one, err := p.get(asked)
	if err != nil {
		return nil, nil
	}
	p.mutex.Lock()
	delete(p.open, asked.text("name", ""))
	p.mutex.Unlock()
	return nil, one.Shutdown()
}

func (p *pulls) queues(asked request) (object, error) {
	tool, err := admin.NewAdmin(
		admin.WithResolver(primitive.NewPassthroughResolver([]string{asked.text("namesrv", "")})))
	if err != nil {
		return nil, err
	}
	defer tool.Close()
	found, err := tool.FetchPublishMessageQueues(context.Background(), asked.text("topic", ""))
	if err != nil {
		return nil, err
	}
	ids := make([]int, 0, len(found))
	for _, queue := range found {
		ids = append(ids, queue.QueueId)
	}
	sort.Ints(ids)
	return object{"queues": ids}, nil
}

func (p *pulls) pull(asked request) (object, error) {
	one, err := p.get(asked)
	if err != nil {
		return nil, err
	}
	got, err := one.PullFrom(
		context.Background(), queueOf(asked), asked.number("offset", 0), int(asked.number("max", 32)))
	if err != nil {
		return nil, err
	}
	messages := make([]object, 0)
	for _, message := range got.GetMessageExts() {
		line := toldMessage(message)
		line["queue"] = int(asked.number("queue", 0))
		messages = append(messages, line)
	}
	names := map[primitive.PullStatus]string{
		primitive.PullFound: "FOUND", primitive.PullNoNewMsg: "NO_NEW_MSG", primitive.PullNoMsgMatched: "NO_MATCHED_MSG",
		primitive.PullOffsetIllegal: "OFFSET_ILLEGAL"}
	return object{
		"status": names[got.Status], "next": got.NextBeginOffset, "min": got.MinOffset, "max": got.MaxOffset,
		"messages": messages}, nil
}

func (p *pulls) commit(asked request) (object, error) {
	one, err := p.get(asked)
	if err != nil {
		return nil, err
	}
	// Only offsets of queues that the consumer was given are persisted, and it looks for queues every 20 s.
	if able, ok := one.(interface{ Rebalance() }); ok {
		able.Rebalance()
	}
	if err := one.UpdateOffset(queueOf(asked), asked.number("offset", 0)); err != nil {
		return nil, err
	}
	return nil, one.PersistOffset(context.Background(), asked.text("topic", ""))
}

func (p *pulls) committed(asked request) (object, error) {
	one, err := p.get(asked)
	if err != nil {
		return nil, err
	}
	offset, err := one.CurrentOffset(queueOf(asked))
	return object{"offset": offset}, err
}

func (p *pulls) decodeID(asked request) (object, error) {
	id, err := primitive.UnmarshalMsgID([]byte(asked.text("id", "")))
	if err != nil {
		return nil, err
	}
	return object{"host": fmt.Sprintf("%s:%d", id.Addr, id.Port), "physical_offset": id.Offset}, nil
}

func queueOf(asked request) *primitive.MessageQueue {
	return &primitive.MessageQueue{
		Topic: asked.text("topic", ""), BrokerName: asked.text("broker", ""), QueueId: int(asked.number("queue", 0))}
}
