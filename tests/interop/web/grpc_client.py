"""RocketMQ's own client for Python, which speaks the gRPC API."""

import json
import sys

from rocketmq.v5.client import ClientConfiguration, Credentials
from rocketmq.v5.consumer import SimpleConsumer
from rocketmq.v5.model import FilterExpression, Message
from rocketmq.v5.producer import Producer

RECEIVED_AT_ONCE = 32
HIDDEN_SECONDS = 60


def send(configuration, topic, body, tag, key, colour):
    producer = Producer(configuration, [topic])
    producer.startup()
    message = Message()
    message.topic, message.tag, message.keys = topic, tag, key
    message.body = body.encode()
    message.add_property("colour", colour)
    producer.send(message)
    producer.shutdown()
    print("sent")


def receive(configuration, topic, count, group):
    """Receives and acknowledges so many messages, each a line."""
    consumer = SimpleConsumer(configuration, group, {topic: FilterExpression()})
    consumer.startup()
    left = int(count)
    while left > 0:
        for message in consumer.receive(RECEIVED_AT_ONCE, HIDDEN_SECONDS):
            consumer.ack(message)
            properties = {**message.properties, "TAGS": message.tag, "KEYS": " ".join(message.keys)}
            print(json.dumps({"body": message.body.decode(), "properties": properties}))
            left -= 1
    consumer.shutdown()


def main(address, action, *more):
    configuration = ClientConfiguration(address, Credentials())
    {"send": send, "receive": receive}[action](configuration, *more)


main(*sys.argv[1:])
