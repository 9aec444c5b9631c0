package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// producers is everything that sends. The choice of the queue is a setting of the whole Go producer, so each name has
// two: one that goes round the queues and one that obeys the message.
type producers struct {
	mutex sync.Mutex
	round map[string]rocketmq.Producer
	aimed map[string]rocketmq.Producer
}

func newProducers() *producers {
	return &producers{round: map[string]rocketmq.Producer{}, aimed: map[string]rocketmq.Producer{}}
}

func (p *producers) register(operations map[string]operation) {
	operations["producer_start"] = p.start
	operations["producer_stop"] = p.stop
	operations["create_topic"] = p.createTopic
	operations["send"] = p.send
	operations["bulk"] = p.bulk
}

func (p *producers) start(asked request) (object, error) {
	name := asked.text("name", "")
	opened := func(suffix string, selector producer.QueueSelector) (rocketmq.Producer, error) {
		one, err := rocketmq.NewProducer(
			producer.WithNameServer([]string{asked.text("namesrv", "")}),
			producer.WithGroupName(asked.text("group", "")),
			producer.WithInstanceName(name+suffix),
			// No silent second copy: a send that fails is a failure the test must see.
			producer.WithRetry(int(asked.number("retries", 0))),
			producer.WithSendMsgTimeout(time.Duration(asked.number("timeout_ms", 10_000))*time.Millisecond),
			producer.WithCompressMsgBodyOverHowmuch(int(asked.number("compress_over", 4096))),
			producer.WithQueueSelector(selector),
		)
		if err != nil {
			return nil, err
		}
		return one, one.Start()
	}
	round, err := opened("", producer.NewRoundRobinQueueSelector())
	if err != nil {
		return nil, err
	}
	aimed, err := opened("-aimed", producer.NewManualQueueSelector())
	if err != nil {
		return nil, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.round[name], p.aimed[name] = round, aimed
	return nil, nil
}

func (p *producers) stop(asked request) (object, error) {
	round, aimed, err := p.get(asked)
	if err != nil {
		return nil, nil
	}
	p.mutex.Lock()
	delete(p.round, asked.text("name", ""))
	delete(p.aimed, asked.text("name", ""))
	p.mutex.Unlock()
	if err := round.Shutdown(); err != nil {
		return nil, err
	}
	return nil, aimed.Shutdown()
}

func (p *producers) get(asked request) (rocketmq.Producer, rocketmq.Producer, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	name := asked.text("name", "")
	if p.round[name] == nil {
		return nil, nil, fmt.Errorf("no producer %s", name)
	}
	return p.round[name], p.aimed[name], nil
}

func (p *producers) createTopic(asked request) (object, error) {
	tool, err := admin.NewAdmin(
		admin.WithResolver(primitive.NewPassthroughResolver([]string{asked.text("namesrv", "")})))
	if err != nil {
		return nil, err
	}
	defer tool.Close()
	queues := int(asked.number("queues", 8))
	return nil, tool.CreateTopic(context.Background(),
		admin.WithTopicCreate(asked.text("topic", "")),
		admin.WithBrokerAddrCreate(asked.text("broker_address", "")),
		admin.WithReadQueueNums(queues),
		admin.WithWriteQueueNums(queues))
}

// send sends the listed messages in one of the ways of the client and tells each result.
func (p *producers) send(asked request) (object, error) {
	round, aimed, err := p.get(asked)
	if err != nil {
		return nil, err
	}
	topic := asked.text("topic", "")
	var messages []*primitive.Message
	var through []rocketmq.Producer
	for _, one := range asked.list("messages") {
		message, isAimed := newMessage(topic, asked.text("broker", ""), one)
		messages = append(messages, message)
		if isAimed {
			through = append(through, aimed)
		} else {
			through = append(through, round)
		}
	}
	ctx := context.Background()
	results := make([]object, len(messages))
	switch asked.text("mode", "sync") {
	case "batch":
		sent, err := round.SendSync(ctx, messages...)
		results = []object{toldSent(sent, err)}
	case "oneway":
		for i, message := range messages {
			if err := through[i].SendOneWay(ctx, message); err != nil {
				return nil, err
			}
		}
		results = nil
	case "async":
		var done sync.WaitGroup
		for i, message := range messages {
			place := i
			done.Add(1)
			err := through[i].SendAsync(ctx, func(_ context.Context, sent *primitive.SendResult, err error) {
				results[place] = toldSent(sent, err)
				done.Done()
			}, message)
			if err != nil {
				return nil, err
			}
		}
		done.Wait()
	default:
		for i, message := range messages {
			results[i] = toldSent(through[i].SendSync(ctx, message))
		}
	}
	return object{"results": results}, nil
}

// bulk sends count messages whose bodies are prefix + number. async keeps window of them in flight; ordered sends number
// n to queue n % queues, each send begun after the former of its queue was acknowledged.
func (p *producers) bulk(asked request) (object, error) {
	round, aimed, err := p.get(asked)
	if err != nil {
		return nil, err
	}
	topic, prefix := asked.text("topic", ""), asked.text("prefix", "")
	count := int(asked.number("count", 0))
	var mutex sync.Mutex
	acks := make([][]interface{}, 0, count)
	failures := make([][]interface{}, 0)
	note := func(number int, sent *primitive.SendResult, err error) {
		mutex.Lock()
		defer mutex.Unlock()
		if err != nil {
			failures = append(failures, []interface{}{number, err.Error()})
		} else {
			acks = append(acks, []interface{}{number, sent.MessageQueue.QueueId, sent.QueueOffset, statusName(sent.Status)})
		}
	}
	ctx := context.Background()
	var done sync.WaitGroup
	if asked.text("mode", "async") == "ordered" {
		queues := int(asked.number("queues", 8))
		for q := 0; q < queues; q++ {
			first := q
			done.Add(1)
			go func() {
				defer done.Done()
				for n := first; n < count; n += queues {
					message := primitive.NewMessage(topic, []byte(fmt.Sprintf("%s%d", prefix, n)))
					message.Queue = &primitive.MessageQueue{
						Topic: topic, BrokerName: asked.text("broker", ""), QueueId: first}
					sent, err := aimed.SendSync(ctx, message)
					note(n, sent, err)
				}
			}()
		}
	} else {
		window := make(chan struct{}, asked.number("window", 64))
		for n := 0; n < count; n++ {
			number := n
			window <- struct{}{}
			done.Add(1)
			message := primitive.NewMessage(topic, []byte(fmt.Sprintf("%s%d", prefix, n)))
			err := round.SendAsync(ctx, func(_ context.Context, sent *primitive.SendResult, err error) {
				note(number, sent, err)
				<-window
				done.Done()
			}, message)
			if err != nil {
				note(number, nil, err)
				<-window
				done.Done()
			}
		}
	}
	done.Wait()
	return object{"acks": acks, "failures": failures}, nil
}

func newMessage(topic, broker string, one request) (*primitive.Message, bool) {
	message := primitive.NewMessage(topic, []byte(one.text("body", "")))
	if tags := one.text("tags", ""); tags != "" {
		message.WithTag(tags)
	}
	if keys := one.text("keys", ""); keys != "" {
		message.WithKeys(strings.Split(keys, " "))
	}
	if delay := one.number("delay", 0); delay > 0 {
		message.WithDelayTimeLevel(int(delay))
	}
	if timer := one.text("timer", ""); timer != "" {
		message.WithProperty("TIMER_"+strings.ToUpper(timer), fmt.Sprint(one.number("time", 0)))
	}
	if property := one.text("property", ""); property != "" {
		message.WithProperty("interop", property)
	}
	for key, value := range one.texts("properties") {
		message.WithProperty(key, value)
	}
	queue := one.number("queue", -1)
	if queue >= 0 {
		message.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: broker, QueueId: int(queue)}
	}
	return message, queue >= 0
}

func toldSent(sent *primitive.SendResult, err error) object {
	if err != nil {
		return object{"error": err.Error(), "code": -1}
	}
	return object{
		"status": statusName(sent.Status), "msg_id": sent.MsgID, "offset_msg_id": sent.OffsetMsgID,
		"broker": sent.MessageQueue.BrokerName, "queue": sent.MessageQueue.QueueId, "offset": sent.QueueOffset}
}

func statusName(status primitive.SendStatus) string {
	switch status {
	case primitive.SendOK:
		return "SEND_OK"
	case primitive.SendFlushDiskTimeout:
		return "FLUSH_DISK_TIMEOUT"
	case primitive.SendFlushSlaveTimeout:
		return "FLUSH_SLAVE_TIMEOUT"
	case primitive.SendSlaveNotAvailable:
		return "SLAVE_NOT_AVAILABLE"
	}
	return "UNKNOWN"
}
