// RocketMQ's client for Go that speaks the remoting protocol.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	. "kerolox/interop/scenario"
)

var (
	background = context.Background()
	resolver   = primitive.NewPassthroughResolver([]string{NameServer()})
	sender     = newProducer("sender")
)

func main() {
	Step("topics are made, listed and deleted", topics)
	Step("single messages, by tag", single)
	Step("a batch", batch)
	Step("in order", ordered)
	Step("delayed", delayed)
	Step("transactions", transactions)
	Step("again after a failure", retry)
	Step("pulled", pull)
	Step("to all of a group", broadcast)
	Step("request and reply", reply)
	Step("over a restart", restart)
	Must(sender.Shutdown())
}

func newProducer(instance string) rocketmq.Producer {
	made, err := rocketmq.NewProducer(
		producer.WithNsResolver(resolver),
		producer.WithGroupName(Named(instance)),
		producer.WithInstanceName(Named(instance)),
		producer.WithQueueSelector(producer.NewHashQueueSelector()),
		// A send that is given up may have been done.
		producer.WithSendMsgTimeout(Patience),
	)
	Must(err)
	Must(made.Start())
	return made
}

func topics() {
	tool, err := admin.NewAdmin(admin.WithResolver(resolver))
	Must(err)
	topic := Named("made")
	Must(tool.CreateTopic(background, admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(Broker()),
		admin.WithReadQueueNums(3), admin.WithWriteQueueNums(3)))
	Eventually(func() error {
		queues, err := tool.FetchPublishMessageQueues(background, topic)
		if err == nil && len(queues) != 3 {
			err = fmt.Errorf("%d queues", len(queues))
		}
		return err
	})
	isListed := func() bool {
		list, err := tool.FetchAllTopicList(background)
		Must(err)
		return slices.Contains(list.TopicList, topic)
	}
	Equal(isListed(), true)
	Must(tool.DeleteTopic(background, admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(Broker())))
	Equal(isListed(), false)
	Must(tool.Close())
}

// message is that of a sample.
func message(topic string, sample Message) *primitive.Message {
	made := primitive.NewMessage(Named(topic), []byte(sample.Body)).WithTag(sample.Tag)
	made.WithProperty(primitive.PropertyKeys, sample.Keys)
	made.WithProperty("colour", sample.Colour)
	return made
}

// text is a message with nothing but a body.
func text(topic, body string) *primitive.Message {
	return primitive.NewMessage(Named(topic), []byte(body))
}

func found(message *primitive.MessageExt) Message {
	colour := message.GetProperty("colour")
	return Message{Body: string(message.Body), Tag: message.GetTags(), Keys: message.GetKeys(), Colour: colour}
}

func send(messages ...*primitive.Message) *primitive.SendResult {
	result, err := sender.SendSync(background, messages...)
	Must(err)
	Equal(result.Status, primitive.SendOK)
	return result
}

// consume has a push consumer, that starts with the first message, give each to a function.
func consume(topic, group, instance, tags string, each func(*primitive.MessageExt) consumer.ConsumeResult,
	options ...consumer.Option) rocketmq.PushConsumer {
	made, err := rocketmq.NewPushConsumer(append(options,
		consumer.WithNsResolver(resolver),
		consumer.WithGroupName(Named(group)),
		consumer.WithInstance(Named(instance)),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)...)
	Must(err)
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	Must(made.Subscribe(Named(topic), selector,
		func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			return each(messages[0]), nil
		}))
	Must(made.Start())
	return made
}

// into puts what is received into an inbox.
func into(inbox Inbox[Message]) func(*primitive.MessageExt) consumer.ConsumeResult {
	return func(message *primitive.MessageExt) consumer.ConsumeResult {
		inbox <- found(message)
		return consumer.ConsumeSuccess
	}
}

func bodies(inbox Inbox[string]) func(*primitive.MessageExt) consumer.ConsumeResult {
	return func(message *primitive.MessageExt) consumer.ConsumeResult {
		inbox <- string(message.Body)
		return consumer.ConsumeSuccess
	}
}

func single() {
	a, b, c := Sample("a"), Sample("b"), Sample("c")
	send(message("normal", a))
	sent := NewInbox[primitive.SendStatus]()
	Must(sender.SendAsync(background, func(_ context.Context, result *primitive.SendResult, err error) {
		Must(err)
		sent <- result.Status
	}, message("normal", b)))
	sent.Gets(primitive.SendOK)
	Must(sender.SendOneWay(background, message("normal", c)))
	all, some := NewInbox[Message](), NewInbox[Message]()
	one := consume("normal", "all", "all", "*", into(all))
	other := consume("normal", "some", "some", "a || c", into(some))
	all.Gets(a, b, c)
	some.Gets(a, c)
	Must(one.Shutdown())
	Must(other.Shutdown())
}

func batch() {
	a, b, c := Sample("a"), Sample("b"), Sample("c")
	send(message("batch", a), message("batch", b), message("batch", c))
	inbox := NewInbox[Message]()
	receiver := consume("batch", "batch", "batch", "*", into(inbox))
	inbox.Gets(a, b, c)
	Must(receiver.Shutdown())
}

func ordered() {
	inboxes := map[string]Inbox[string]{"even": NewInbox[string](), "odd": NewInbox[string]()}
	for number := range 10 {
		key := []string{"even", "odd"}[number%2]
		send(text("fifo", fmt.Sprint(number)).WithShardingKey(key))
	}
	failed := make(chan bool, 1)
	failed <- true
	receiver := consume("fifo", "ordered", "ordered", "*",
		func(message *primitive.MessageExt) consumer.ConsumeResult {
			select {
			case <-failed:
				return consumer.SuspendCurrentQueueAMoment
			default:
			}
			inboxes[message.GetShardingKey()] <- string(message.Body)
			return consumer.ConsumeSuccess
		}, consumer.WithConsumerOrder(true), consumer.WithSuspendCurrentQueueTimeMillis(100*time.Millisecond))
	inboxes["even"].GetsInOrder("0", "2", "4", "6", "8")
	inboxes["odd"].GetsInOrder("1", "3", "5", "7", "9")
	Must(receiver.Shutdown())
}

func delayed() {
	inbox := NewInbox[string]()
	receiver := consume("delay", "delayed", "delayed", "*", bodies(inbox))
	sent := time.Now()
	send(text("delay", "later").WithDelayTimeLevel(1))
	inbox.Gets("later")
	if time.Since(sent) < time.Second {
		panic("the message comes early")
	}
	Must(receiver.Shutdown())
}

// decisions has messages be committed or rolled back as their bodies say.
type decisions struct{}

func (decisions) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	switch string(message.Body) {
	case "committed":
		return primitive.CommitMessageState
	case "rolled back":
		return primitive.RollbackMessageState
	default:
		return primitive.UnknowState
	}
}

func (decisions) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	if string(message.Body) == "committed when asked" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func transactions() {
	sender, err := rocketmq.NewTransactionProducer(decisions{},
		producer.WithNsResolver(resolver),
		producer.WithGroupName(Named("transactions")),
		producer.WithInstanceName(Named("transactions")),
		producer.WithSendMsgTimeout(Patience),
	)
	Must(err)
	Must(sender.Start())
	for _, body := range []string{"rolled back", "rolled back when asked", "committed when asked", "committed"} {
		_, err := sender.SendMessageInTransaction(background, text("transaction", body))
		Must(err)
	}
	inbox := NewInbox[string]()
	receiver := consume("transaction", "decided", "decided", "*", bodies(inbox))
	inbox.Gets("committed", "committed when asked")
	Must(receiver.Shutdown())
	Must(sender.Shutdown())
}

func retry() {
	send(text("retry", "once more"))
	inbox := NewInbox[string]()
	receiver := consume("retry", "failing", "failing", "*",
		func(message *primitive.MessageExt) consumer.ConsumeResult {
			inbox <- fmt.Sprint(string(message.Body), message.ReconsumeTimes)
			if message.ReconsumeTimes < 2 {
				return consumer.ConsumeRetryLater
			}
			return consumer.ConsumeSuccess
		})
	inbox.GetsInOrder("once more0", "once more1", "once more2")
	Must(receiver.Shutdown())
}

func pull() {
	a, b, c := Sample("a"), Sample("b"), Sample("c")
	for _, sample := range []Message{a, b, c} {
		send(message("pull", sample))
	}
	receiver, err := rocketmq.NewPullConsumer(
		consumer.WithNsResolver(resolver),
		consumer.WithGroupName(Named("pulling")),
		consumer.WithInstance(Named("pulling")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	Must(err)
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: "a || c"}
	Must(receiver.Subscribe(Named("pull"), selector))
	Must(receiver.Start())
	inbox := NewInbox[Message]()
	Eventually(func() error {
		polled, err := receiver.Poll(background, time.Second)
		if err != nil {
			return err
		}
		for _, message := range polled.GetMsgList() {
			inbox <- found(message)
		}
		receiver.ACK(background, polled, consumer.ConsumeSuccess)
		if len(inbox) < 2 {
			return errors.New("there is more")
		}
		return nil
	})
	inbox.Gets(a, c)
	Must(receiver.Shutdown())
}

func broadcast() {
	one, other := NewInbox[Message](), NewInbox[Message]()
	model := consumer.WithConsumerModel(consumer.BroadCasting)
	first := consume("broadcast", "every", "every-1", "*", into(one), model)
	second := consume("broadcast", "every", "every-2", "*", into(other), model)
	sample := Sample("a")
	send(message("broadcast", sample))
	one.Gets(sample)
	other.Gets(sample)
	Must(first.Shutdown())
	Must(second.Shutdown())
}

func reply() {
	receiver := consume("request", "replying", "replying", "*",
		func(message *primitive.MessageExt) consumer.ConsumeResult {
			answer, err := consumer.CreateReplyMessage(message, nil)
			Must(err)
			// It takes a body for properties.
			answer.Body = append([]byte("re: "), message.Body...)
			_, err = sender.SendSync(background, answer)
			Must(err)
			return consumer.ConsumeSuccess
		})
	answer, err := sender.Request(background, Patience, text("request", "как дела?"))
	Must(err)
	Equal(string(answer.Body), "re: как дела?")
	Must(receiver.Shutdown())
}

func restart() {
	inbox := NewInbox[string]()
	receiver := consume("restart", "lasting", "lasting-1", "*", bodies(inbox))
	send(text("restart", "before"))
	inbox.Gets("before")
	Restarted()
	Eventually(func() error {
		_, err := sender.SendSync(background, text("restart", "after"))
		return err
	})
	inbox.Gets("after")
	// Its offsets are the broker's now.
	Must(receiver.Shutdown())
	receiver = consume("restart", "lasting", "lasting-2", "*", bodies(inbox))
	send(text("restart", "for another"))
	inbox.Gets("for another")
	Must(receiver.Shutdown())
}
