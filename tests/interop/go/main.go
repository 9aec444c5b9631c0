// Does what the lines on its standard input ask, with the official Go client, and answers in lines on its standard
// output. Requests carry a call number and run beside each other; the answer repeats it. It ends when its input ends.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

type object = map[string]interface{}

// wire writes whole lines. A line is handed to the operating system before write returns: what was reported stays
// reported when this process is killed, which is what the accounting of the killed consumer rests on.
type wire struct{ mutex sync.Mutex }

func (w *wire) write(line object) {
	data, err := json.Marshal(line)
	if err != nil {
		data, _ = json.Marshal(object{"call": line["call"], "error": err.Error()})
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if _, err := os.Stdout.Write(append(data, '\n')); err != nil {
		os.Exit(3)
	}
}

type operation func(request) (object, error)

func main() {
	rlog.SetLogLevel("error")
	out := &wire{}
	operations := map[string]operation{}
	newProducers().register(operations)
	newPushConsumers(out).register(operations)
	newPulls().register(operations)
	newTransactions(out).register(operations)
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 1<<20), 64<<20)
	out.write(object{"event": "ready"})
	for input.Scan() {
		var members object
		if err := json.Unmarshal(input.Bytes(), &members); err != nil {
			out.write(object{"error": err.Error()})
			continue
		}
		go out.answer(operations, request(members))
	}
}

func (w *wire) answer(operations map[string]operation, asked request) {
	w.write(answer(operations, asked))
}

func answer(operations map[string]operation, asked request) (told object) {
	defer func() {
		if failed := recover(); failed != nil {
			told = object{"call": asked["call"], "error": fmt.Sprintf("panic: %v\n%s", failed, debug.Stack())}
		}
	}()
	run, known := operations[asked.text("op", "")]
	if !known {
		return object{"call": asked["call"], "error": "no operation " + asked.text("op", "")}
	}
	told, err := run(asked)
	if err != nil {
		told = object{"error": err.Error()}
	}
	if told == nil {
		told = object{}
	}
	told["call"] = asked["call"]
	return told
}
