"""RocketMQ's client in C++, which speaks the remoting protocol, in the package for Python that carries it."""

import queue
import sys
import time

from rocketmq.client import Message, Producer, PullConsumer, PushConsumer, SendStatus
from rocketmq.ffi import MessageModel

NAME_SERVER, _, _, NAME = sys.argv[1:]

# How long something may take that happens by itself, however slow the machine is.
PATIENCE_SECONDS = 120


def named(what):
    return f"{NAME}-{what}"


def text(topic, body, *, tag=None):
    message = Message(named(topic))
    message.set_body(body)
    if tag is not None:
        message.set_tags(tag)
    return message


def sample(topic, tag):
    """A message with more than ASCII everywhere."""
    message = text(topic, f"„{tag}“ grüßt", tag=tag)
    message.set_keys(f"key-{tag} ключ")
    message.set_property("colour", f"grün wie {tag}")
    return message


def is_sample(message, tag):
    wanted = [f"„{tag}“ grüßt", tag, f"key-{tag} ключ", f"grün wie {tag}"]
    found = [message.body, message.tags, message.keys, message["colour"]]
    equal([value.decode() for value in found], wanted)
    return True


def equal(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found!r} instead of {wanted!r}")


def eventually(attempt):
    """Tries until it goes well."""
    started = time.monotonic()
    while True:
        try:
            return attempt()
        except Exception:
            if time.monotonic() - started > PATIENCE_SECONDS:
                raise
            time.sleep(0.1)


class Inbox:
    """What consumers have received."""

    def __init__(self):
        self.received = queue.Queue()

    def put(self, received):
        self.received.put(received)

    def gets(self, *wanted):
        """Waits for these, in whatever order, and no more."""
        found = [self.received.get(timeout=PATIENCE_SECONDS) for _ in wanted]
        equal(sorted(found), sorted(wanted))
        equal(self.received.qsize(), 0)

    def gets_in_order(self, *wanted):
        for one in wanted:
            equal(self.received.get(timeout=PATIENCE_SECONDS), one)
        equal(self.received.qsize(), 0)


def new_producer():
    producer = Producer(named("sender"), timeout=PATIENCE_SECONDS * 1000)
    producer.set_namesrv_addr(NAME_SERVER)
    producer.start()
    return producer


def consume(topic, group, each, tags="*", instance=None, **options):
    """A push consumer that gives each message to a function."""
    consumer = PushConsumer(named(group), **options)
    consumer.set_namesrv_addr(NAME_SERVER)
    consumer.set_instance_name(named(instance or group))
    consumer.subscribe(named(topic), each, tags)
    consumer.start()
    return consumer


def single(sender):
    equal(sender.send_sync(sample("normal", "a")).status, SendStatus.OK)
    equal(sender.send_sync(sample("normal", "b")).status, SendStatus.OK)
    sender.send_oneway(sample("normal", "c"))
    for tags, wanted in [("*", "abc"), ("a || c", "ac")]:
        inbox = Inbox()

        def each(message):
            tag = message.tags.decode()
            inbox.put((tag, is_sample(message, tag)))

        consumer = consume("normal", f"tags-{len(wanted)}", each, tags)
        inbox.gets(*((tag, True) for tag in wanted))
        consumer.shutdown()


def ordered(sender):
    for number in range(10):
        sender.send_orderly(text("fifo", str(number), tag=str(number % 2)), number % 2)
    inboxes = {b"0": Inbox(), b"1": Inbox()}
    consumer = consume("fifo", "ordered", lambda message: inboxes[message.tags].put(message.body), orderly=True)
    inboxes[b"0"].gets_in_order(b"0", b"2", b"4", b"6", b"8")
    inboxes[b"1"].gets_in_order(b"1", b"3", b"5", b"7", b"9")
    consumer.shutdown()


def delayed(sender):
    inbox = Inbox()
    consumer = consume("delay", "delayed", lambda message: inbox.put(message.body))
    message = text("delay", "later")
    message.set_delay_time_level(1)
    sent = time.monotonic()
    sender.send_sync(message)
    inbox.gets(b"later")
    if time.monotonic() - sent < 1:
        raise AssertionError("the message comes early")
    consumer.shutdown()


def retry(sender):
    sender.send_sync(text("retry", "once more"))
    inbox = Inbox()

    def each(message):
        inbox.put((message.body, message.reconsume_times))
        if message.reconsume_times < 2:
            raise RuntimeError("not yet")

    consumer = consume("retry", "failing", each)
    inbox.gets_in_order(*((b"once more", times) for times in range(3)))
    consumer.shutdown()


def pull(sender):
    for tag in "abc":
        sender.send_sync(sample("pull", tag))
    consumer = PullConsumer(named("pulling"))
    consumer.set_namesrv_addr(NAME_SERVER)
    consumer.start()
    found = [message.tags for message in consumer.pull(named("pull"), "a || c") if is_sample(message, message.tags.decode())]
    equal(sorted(found), [b"a", b"c"])
    consumer.shutdown()


def broadcast(sender):
    inboxes = [Inbox(), Inbox()]
    consumers = [
        consume(
            "broadcast",
            "every",
            lambda message, inbox=inbox: inbox.put(message.body),
            instance=f"every-{number}",
            message_model=MessageModel.BROADCASTING,
        )
        for number, inbox in enumerate(inboxes)
    ]

    def reach_all():
        # A consumer starts with what comes next.
        sender.send_sync(text("broadcast", "to all"))
        equal([inbox.received.empty() for inbox in inboxes], [False, False])

    eventually(reach_all)
    for consumer in consumers:
        consumer.shutdown()


def restart(sender):
    inbox = Inbox()
    consumer = consume("restart", "lasting", lambda message: inbox.put(message.body), instance="lasting-1")
    sender.send_sync(text("restart", "before"))
    inbox.gets(b"before")
    print("restart", flush=True)
    sys.stdin.readline()
    eventually(lambda: sender.send_sync(text("restart", "after")))
    inbox.gets(b"after")
    # Its offsets are the broker's now.
    consumer.shutdown()
    consumer = consume("restart", "lasting", lambda message: inbox.put(message.body), instance="lasting-2")
    sender.send_sync(text("restart", "for another"))
    inbox.gets(b"for another")
    consumer.shutdown()


def main():
    sender = new_producer()
    for name, step in {
        "single messages, by tag": single,
        "in order": ordered,
        "delayed": delayed,
        "again after a failure": retry,
        "pulled": pull,
        "to all of a group": broadcast,
        "over a restart": restart,
    }.items():
        step(sender)
        print(name, flush=True)
    sender.shutdown()


main()
