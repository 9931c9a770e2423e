// RocketMQ's client for Go that speaks the gRPC API.
package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	rocketmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"

	. "kerolox/interop/scenario"
)

const (
	receivedAtOnce = 16
	awaited        = 5 * time.Second
	hidden         = 10 * Patience
	// hiddenShortly is as short as the servers allow.
	hiddenShortly = 10 * time.Second
)

var (
	background = context.Background()
	sender     = newProducer(rocketmq.WithTopics(Named("normal")))
)

func main() {
	Step("single messages, by tag", single)
	Step("in order", ordered)
	Step("delayed", delayed)
	Step("transactions", transactions)
	Step("hidden for another time", hiding)
	Step("pushed, and again after a failure", push)
	Step("over a restart", restart)
}

func config(group string) *rocketmq.Config {
	return &rocketmq.Config{
		Endpoint:      Proxy(),
		ConsumerGroup: Named(group),
		Credentials:   &credentials.SessionCredentials{},
	}
}

func newProducer(options ...rocketmq.ProducerOption) rocketmq.Producer {
	var made rocketmq.Producer
	// It gives up soon where the proxy is slow.
	Eventually(func() (err error) {
		if made, err = rocketmq.NewProducer(config("sender"), options...); err == nil {
			err = made.Start()
		}
		return err
	})
	return made
}

// message is that of a sample.
func message(topic string, sample Message) *rocketmq.Message {
	made := text(topic, sample.Body)
	made.SetTag(sample.Tag)
	made.SetKeys(strings.Fields(sample.Keys)...)
	made.AddProperty("colour", sample.Colour)
	return made
}

// text is a message with nothing but a body.
func text(topic, body string) *rocketmq.Message {
	return &rocketmq.Message{Topic: Named(topic), Body: []byte(body)}
}

func found(view *rocketmq.MessageView) Message {
	colour := view.GetProperties()["colour"]
	keys := strings.Join(view.GetKeys(), " ")
	return Message{Body: string(view.GetBody()), Tag: *view.GetTag(), Keys: keys, Colour: colour}
}

func send(message *rocketmq.Message) {
	_, err := sender.Send(background, message)
	Must(err)
}

func subscription(topic, tags string) map[string]*rocketmq.FilterExpression {
	return map[string]*rocketmq.FilterExpression{Named(topic): rocketmq.NewFilterExpression(tags)}
}

func newConsumer(topic, group, tags string) rocketmq.SimpleConsumer {
	var made rocketmq.SimpleConsumer
	Eventually(func() (err error) {
		made, err = rocketmq.NewSimpleConsumer(config(group),
			rocketmq.WithSimpleAwaitDuration(awaited),
			rocketmq.WithSimpleSubscriptionExpressions(subscription(topic, tags)))
		if err == nil {
			err = made.Start()
		}
		return err
	})
	return made
}

// receive waits for so many messages.
func receive(consumer rocketmq.SimpleConsumer, count int, hidden time.Duration) []*rocketmq.MessageView {
	var received []*rocketmq.MessageView
	Eventually(func() error {
		views, err := consumer.Receive(background, receivedAtOnce, hidden)
		received = append(received, views...)
		if err == nil && len(received) < count {
			err = fmt.Errorf("%d of %d messages are received", len(received), count)
		}
		return err
	})
	Equal(len(received), count)
	return received
}

// take receives and acknowledges so many messages.
func take(consumer rocketmq.SimpleConsumer, count int) []*rocketmq.MessageView {
	received := receive(consumer, count, hidden)
	for _, view := range received {
		Must(consumer.Ack(background, view))
	}
	return received
}

func single() {
	a, b, c := Sample("a"), Sample("b"), Sample("c")
	send(message("normal", a))
	sent := NewInbox[error]()
	sender.SendAsync(background, message("normal", b), func(_ context.Context, _ []*rocketmq.SendReceipt, err error) {
		sent <- err
	})
	sent.Gets(nil)
	send(message("normal", c))
	for _, reader := range []struct {
		group, tags string
		wanted      []Message
	}{
		{"all", "*", []Message{a, b, c}},
		{"some", "a || c", []Message{a, c}},
	} {
		consumer := newConsumer("normal", reader.group, reader.tags)
		inbox := NewInbox[Message]()
		for _, view := range take(consumer, len(reader.wanted)) {
			inbox <- found(view)
		}
		inbox.Gets(reader.wanted...)
		Must(consumer.GracefulStop())
	}
}

func ordered() {
	inboxes := map[string]Inbox[string]{"even": NewInbox[string](), "odd": NewInbox[string]()}
	for number := range 10 {
		made := text("fifo", fmt.Sprint(number))
		made.SetMessageGroup([]string{"even", "odd"}[number%2])
		send(made)
	}
	consumer := newConsumer("fifo", "fifo", "*")
	for _, view := range take(consumer, 10) {
		inboxes[*view.GetMessageGroup()] <- string(view.GetBody())
	}
	inboxes["even"].GetsInOrder("0", "2", "4", "6", "8")
	inboxes["odd"].GetsInOrder("1", "3", "5", "7", "9")
	Must(consumer.GracefulStop())
}

func delayed() {
	made := text("delay", "later")
	due := time.Now().Add(3 * time.Second)
	made.SetDelayTimestamp(due)
	send(made)
	consumer := newConsumer("delay", "delay", "*")
	view := take(consumer, 1)[0]
	Equal(string(view.GetBody()), "later")
	// The servers count time in seconds.
	if time.Now().Before(due.Add(-time.Second)) {
		panic("the message comes early")
	}
	Must(consumer.GracefulStop())
}

func transactions() {
	sender := newProducer(
		rocketmq.WithTopics(Named("transaction")),
		rocketmq.WithTransactionChecker(&rocketmq.TransactionChecker{
			Check: func(view *rocketmq.MessageView) rocketmq.TransactionResolution {
				if string(view.GetBody()) == "committed when asked" {
					return rocketmq.COMMIT
				}
				return rocketmq.ROLLBACK
			},
		}))
	begin := func(body string) rocketmq.Transaction {
		transaction := sender.BeginTransaction()
		_, err := sender.SendWithTransaction(background, text("transaction", body), transaction)
		Must(err)
		return transaction
	}
	Must(begin("rolled back").RollBack())
	begin("rolled back when asked")
	begin("committed when asked")
	Must(begin("committed").Commit())
	consumer := newConsumer("transaction", "transaction", "*")
	inbox := NewInbox[string]()
	for _, view := range take(consumer, 2) {
		inbox <- string(view.GetBody())
	}
	inbox.Gets("committed", "committed when asked")
	Must(consumer.GracefulStop())
	Must(sender.GracefulStop())
}

func hiding() {
	send(text("hidden", "again"))
	consumer := newConsumer("hidden", "hidden", "*")
	view := receive(consumer, 1, hidden)[0]
	Equal(view.GetDeliveryAttempt(), int32(1))
	since := time.Now()
	Must(consumer.ChangeInvisibleDuration(view, hiddenShortly))
	again := take(consumer, 1)[0]
	Equal(string(again.GetBody()), "again")
	Equal(again.GetDeliveryAttempt(), int32(2))
	if time.Since(since) < hiddenShortly-time.Second {
		panic("the message comes again early")
	}
	Must(consumer.GracefulStop())
}

func push() {
	inbox := NewInbox[string]()
	consumer, err := rocketmq.NewPushConsumer(config("push"),
		rocketmq.WithPushAwaitDuration(awaited),
		rocketmq.WithPushSubscriptionExpressions(subscription("push", "a || c")),
		rocketmq.WithPushMessageListener(&rocketmq.FuncMessageListener{
			Consume: func(view *rocketmq.MessageView) rocketmq.ConsumerResult {
				inbox <- fmt.Sprint(string(view.GetBody()), view.GetDeliveryAttempt())
				if *view.GetTag() == "a" && view.GetDeliveryAttempt() == 1 {
					return rocketmq.FAILURE
				}
				return rocketmq.SUCCESS
			},
		}))
	Must(err)
	Must(consumer.Start())
	a, b, c := Sample("a"), Sample("b"), Sample("c")
	for _, sample := range []Message{a, b, c} {
		send(message("push", sample))
	}
	inbox.Gets(a.Body+"1", c.Body+"1", a.Body+"2")
	Must(consumer.GracefulStop())
}

func restart() {
	send(text("restart", "before"))
	consumer := newConsumer("restart", "restart", "*")
	Equal(string(take(consumer, 1)[0].GetBody()), "before")
	send(text("restart", "kept"))
	// Its settings, which it does not tell anew, are not known any more afterwards.
	Must(consumer.GracefulStop())
	Restarted()
	Eventually(func() error {
		_, err := sender.Send(background, text("restart", "after"))
		return err
	})
	consumer = newConsumer("restart", "restart", "*")
	inbox := NewInbox[string]()
	for _, view := range take(consumer, 2) {
		inbox <- string(view.GetBody())
	}
	inbox.Gets("kept", "after")
	Must(consumer.GracefulStop())
}
