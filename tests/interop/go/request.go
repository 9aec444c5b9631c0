package main

import "fmt"

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

func (r request) list(name string) []request {
	values, _ := r[name].([]interface{})
	all := make([]request, 0, len(values))
	for _, value := range values {
		all = append(all, request(value.(object)))
	}
	return all
}
