package main

import (
	"fmt"

	"github.com/apache/rocketmq-client-go/v2/consumer"
)

// request is one line from the test: typed access to its members.
type request object

func (r request) text(name, otherwise string) string {
	if value, ok := r[name]; ok && value != nil {
		return fmt.Sprint(value)
	}
	return otherwise
}

func (r request) number(name string, otherwise int64) int64 {
	if value, ok := r[name].(float64); ok {
		return int64(value)
	}
	return otherwise
}

func (r request) flag(name string) bool {
	value, _ := r[name].(bool)
	return value
}

// texts gives the members of an object whose values are texts.
func (r request) texts(name string) map[string]string {
	values, _ := r[name].(object)
	all := make(map[string]string, len(values))
	for key, value := range values {
		all[key] = fmt.Sprint(value)
	}
	return all
}

// selector is the request's expression, of tags unless sql says otherwise.
func (r request) selector() consumer.MessageSelector {
	kind := consumer.TAG
	if r.flag("sql") {
		kind = consumer.SQL92
	}
	return consumer.MessageSelector{Type: kind, Expression: r.text("expression", "*")}
}

func (r request) list(name string) []request {
	values, _ := r[name].([]interface{})
	all := make([]request, 0, len(values))
	for _, value := range values {
		all = append(all, request(value.(object)))
	}
	return all
}
