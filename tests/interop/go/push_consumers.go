package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// slow is how long the listener is busy with a message whose body begins with "slow-".
const slow = 1500 * time.Millisecond

// pushConsumers are push consumers; each message that was consumed becomes one line, written before the consumption is
// confirmed.
type pushConsumers struct {
	mutex sync.Mutex
	out   *wire
	open  map[string]rocketmq.PushConsumer
}

func newPushConsumers(out *wire) *pushConsumers {
	return &pushConsumers{out: out, open: map[string]rocketmq.PushConsumer{}}
}

func (p *pushConsumers) register(operations map[string]operation) {
	operations["consumer_start"] = p.start
	operations["consumer_stop"] = p.stop
	operations["rebalance"] = p.rebalance
}

func (p *pushConsumers) start(asked request) (object, error) {
	name := asked.text("name", "")
	from := consumer.ConsumeFromFirstOffset
	if asked.text("from", "") == "CONSUME_FROM_LAST_OFFSET" {
		from = consumer.ConsumeFromLastOffset
	}
	model := consumer.Clustering
	if asked.flag("broadcasting") {
		model = consumer.BroadCasting
	}
	orderly := asked.flag("orderly")
	one, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer([]string{asked.text("namesrv", "")}),
		consumer.WithGroupName(asked.text("group", "")),
		consumer.WithInstance(name),
		consumer.WithConsumeFromWhere(from),
		consumer.WithConsumerModel(model),
		consumer.WithConsumerOrder(orderly),
		consumer.WithConsumeGoroutineNums(int(asked.number("threads", 8))),
		consumer.WithMaxReconsumeTimes(int32(asked.number("max_reconsume", -1))),
		consumer.WithSuspendCurrentQueueTimeMillis(time.Duration(asked.number("suspend_ms", 200))*time.Millisecond),
		consumer.WithRebalanceLockInterval(time.Duration(asked.number("lock_interval_ms", 20_000))*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	script := asked.text("script", "ok")
	pause := time.Duration(asked.number("consume_ms", 0)) * time.Millisecond
	err = one.Subscribe(
		asked.text("topic", ""),
		asked.selector(),
		func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			good := true
			for _, message := range messages {
				began := time.Now().UnixMicro()
				if strings.HasPrefix(string(message.Body), "slow-") {
					time.Sleep(slow)
				} else {
					time.Sleep(pause)
				}
				line := toldMessage(message)
				line["event"], line["consumer"] = "message", name
				line["began"], line["ended"] = began, time.Now().UnixMicro()
				p.out.write(line)
				good = good && (script == "ok" || script == "fail_first" && message.ReconsumeTimes > 0)
			}
			if good {
				return consumer.ConsumeSuccess, nil
			}
			if orderly {
				return consumer.SuspendCurrentQueueAMoment, nil
			}
			return consumer.ConsumeRetryLater, nil
		})
	if err != nil {
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

func (p *pushConsumers) stop(asked request) (object, error) {
	p.mutex.Lock()
	one := p.open[asked.text("name", "")]
	delete(p.open, asked.text("name", ""))
	p.mutex.Unlock()
	if one == nil {
		return nil, nil
	}
	return nil, one.Shutdown()
}

// rebalance asks the client to look at its queues now; alone it does so every 20 s and when the broker tells of a change.
func (p *pushConsumers) rebalance(asked request) (object, error) {
	p.mutex.Lock()
	one := p.open[asked.text("name", "")]
	p.mutex.Unlock()
	able, ok := one.(interface{ Rebalance() })
	if !ok {
		return nil, fmt.Errorf("no consumer %s", asked.text("name", ""))
	}
	able.Rebalance()
	return nil, nil
}

func toldMessage(message *primitive.MessageExt) object {
	queue := -1
	if message.Queue != nil {
		queue = message.Queue.QueueId
	}
	return object{
		"topic": message.Topic, "queue": queue, "offset": message.QueueOffset, "body": string(message.Body),
		"msg_id": message.MsgId, "offset_msg_id": message.OffsetMsgId, "reconsume": message.ReconsumeTimes,
		"tags": message.GetTags(), "keys": message.GetKeys(), "property": message.GetProperty("interop"),
		"store_ms": message.StoreTimestamp, "born_ms": message.BornTimestamp, "size": message.StoreSize}
}
