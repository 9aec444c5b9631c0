package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// transactions is the transactional producers. A message's body begins with what its transaction answers, "local/check:":
// commit, rollback or unknown each. Each check becomes one line.
type transactions struct {
	out   *wire
	mutex sync.Mutex
	open  map[string]rocketmq.TransactionProducer
}

func newTransactions(out *wire) *transactions {
	return &transactions{out: out, open: map[string]rocketmq.TransactionProducer{}}
}

func (t *transactions) register(operations map[string]operation) {
	operations["transaction_start"] = t.start
	operations["transaction_send"] = t.send
	operations["transaction_stop"] = t.stop
}

// answers is the listener of one producer.
type answers struct {
	name string
	out  *wire
}

func (a *answers) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	return stateOf(string(message.Body), 0)
}

func (a *answers) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	state := stateOf(string(message.Body), 1)
	a.out.write(object{
		"event": "check", "producer": a.name, "topic": message.Topic, "queue": message.Queue.QueueId,
		"offset": message.QueueOffset, "body": string(message.Body), "msg_id": message.MsgId,
		"transaction_id": message.TransactionId, "times": message.GetProperty("TRANSACTION_CHECK_TIMES"),
		"tags": message.GetTags(), "keys": message.GetKeys(), "state": stateName(state)})
	return state
}

func (t *transactions) start(asked request) (object, error) {
	name := asked.text("name", "")
	one, err := rocketmq.NewTransactionProducer(
		&answers{name, t.out},
		producer.WithNameServer([]string{asked.text("namesrv", "")}),
		producer.WithGroupName(asked.text("group", "")),
		producer.WithInstanceName(name),
		producer.WithRetry(0),
		producer.WithSendMsgTimeout(10*time.Second),
	)
	if err != nil {
		return nil, err
	}
	t.mutex.Lock()
	t.open[name] = one
	t.mutex.Unlock()
	return nil, one.Start()
}

func (t *transactions) stop(asked request) (object, error) {
	t.mutex.Lock()
	one := t.open[asked.text("name", "")]
	delete(t.open, asked.text("name", ""))
	t.mutex.Unlock()
	if one == nil {
		return nil, nil
	}
	return nil, one.Shutdown()
}

func (t *transactions) send(asked request) (object, error) {
	t.mutex.Lock()
	one := t.open[asked.text("name", "")]
	t.mutex.Unlock()
	if one == nil {
		return nil, fmt.Errorf("no transactional producer %s", asked.text("name", ""))
	}
	results := []object{}
	for _, each := range asked.list("messages") {
		message, _ := newMessage(asked.text("topic", ""), "", each)
		if immunity := each.text("immunity", ""); immunity != "" {
			message.WithProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", immunity)
		}
		sent, err := one.SendMessageInTransaction(context.Background(), message)
		if err != nil {
			results = append(results, object{"error": err.Error(), "code": -1})
			continue
		}
		told := toldSent(sent.SendResult, nil)
		told["state"] = stateName(sent.State)
		told["transaction_id"] = sent.TransactionID
		results = append(results, told)
	}
	return object{"results": results}, nil
}

func stateOf(body string, place int) primitive.LocalTransactionState {
	listed := strings.Split(strings.SplitN(body, ":", 2)[0], "/")
	if place >= len(listed) {
		place = len(listed) - 1
	}
	switch listed[place] {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func stateName(state primitive.LocalTransactionState) string {
	switch state {
	case primitive.CommitMessageState:
		return "COMMIT_MESSAGE"
	case primitive.RollbackMessageState:
		return "ROLLBACK_MESSAGE"
	}
	return "UNKNOW"
}
