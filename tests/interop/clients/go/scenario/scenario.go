// Package scenario is what the programs tell each other and the one that runs them.
package scenario

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"time"
)

// Patience is how long something may take that happens by itself, however slow the machine is.
const Patience = 2 * time.Minute

// Message is what a consumer must find of what was sent.
type Message struct {
	Body, Tag, Keys, Colour string
}

// Sample has more than ASCII everywhere.
func Sample(tag string) Message {
	return Message{"„" + tag + "“ grüßt", tag, "key-" + tag + " ключ", "grün wie " + tag}
}

// NameServer is its address.
func NameServer() string {
	return os.Args[1]
}

// Broker is its address.
func Broker() string {
	return os.Args[2]
}

// Proxy is its address.
func Proxy() string {
	return os.Args[3]
}

// Named makes a name of this program's own, of a topic or a group.
func Named(what string) string {
	return os.Args[4] + "-" + what
}

// Step does one thing and says that it went well.
func Step(name string, do func()) {
	do()
	fmt.Println(name)
}

// Restarted has the servers started again.
func Restarted() {
	fmt.Println("restart")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	Must(err)
}

// Must ends the program if something went wrong.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Equal ends the program if what is found is not what is wanted.
func Equal[T comparable](found, wanted T) {
	if found != wanted {
		panic(fmt.Sprintf("%v instead of %v", found, wanted))
	}
}

// Eventually tries until it goes well.
func Eventually(try func() error) {
	started := time.Now()
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Since(started) > Patience {
			panic(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Inbox is what a consumer has received.
type Inbox[T comparable] chan T

// NewInbox has room for what a program may receive.
func NewInbox[T comparable]() Inbox[T] {
	return make(Inbox[T], 1000)
}

// Next waits for one.
func (inbox Inbox[T]) Next() T {
	select {
	case received := <-inbox:
		return received
	case <-time.After(Patience):
		panic("nothing is received")
	}
}

// Gets waits for so many, which must be these, in whatever order, and no more.
func (inbox Inbox[T]) Gets(wanted ...T) {
	for left := slices.Clone(wanted); len(left) > 0; {
		received := inbox.Next()
		at := slices.Index(left, received)
		if at < 0 {
			panic(fmt.Sprintf("%v is received instead of %v", received, left))
		}
		left = slices.Delete(left, at, at+1)
	}
	inbox.IsEmpty()
}

// GetsInOrder waits for exactly these.
func (inbox Inbox[T]) GetsInOrder(wanted ...T) {
	for _, next := range wanted {
		Equal(inbox.Next(), next)
	}
	inbox.IsEmpty()
}

// IsEmpty tells that nothing more has come.
func (inbox Inbox[T]) IsEmpty() {
	select {
	case received := <-inbox:
		panic(fmt.Sprintf("%v is received, too", received))
	default:
	}
}
