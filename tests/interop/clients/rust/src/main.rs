//! RocketMQ's client for Rust, which speaks the gRPC API.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocketmq::conf::{ClientOption, ProducerOption, SimpleConsumerOption};
use rocketmq::model::common::{FilterExpression, FilterType};
use rocketmq::model::message::{Message, MessageBuilder, MessageView};
use rocketmq::model::transaction::{Transaction, TransactionResolution};
use rocketmq::{Producer, SimpleConsumer};
use tokio::time::{Instant, sleep};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long something may take that happens by itself, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);
const RECEIVED_AT_ONCE: i32 = 16;
const HIDDEN: Duration = Duration::from_secs(1200);
/// As short as the servers allow.
const HIDDEN_SHORTLY: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(3);
    let world = World {
        proxy: arguments.next().ok_or("the proxy's address is missing")?,
        name: arguments.next().ok_or("the program's name is missing")?,
    };
    let sender = world.producer().await?;
    single(&world, &sender).await?;
    println!("single messages, by tag");
    batch(&world, &sender).await?;
    println!("a batch");
    ordered(&world, &sender).await?;
    println!("in order");
    delayed(&world, &sender).await?;
    println!("delayed");
    transactions(&world).await?;
    println!("transactions");
    again(&world, &sender).await?;
    println!("again if not acknowledged");
    restart(&world, sender).await?;
    println!("over a restart");
    Ok(())
}

/// The servers, and names of this program's own.
struct World {
    proxy: String,
    name: String,
}

impl World {
    fn named(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    fn options(&self) -> ClientOption {
        let mut options = ClientOption::default();
        options.set_access_url(&self.proxy);
        options.set_timeout(PATIENCE);
        options
    }

    async fn producer(&self) -> Result<Producer> {
        let mut producer = Producer::new(ProducerOption::default(), self.options())?;
        producer.start().await?;
        Ok(producer)
    }

    async fn consumer(&self, group: &str) -> Result<SimpleConsumer> {
        let mut group_options = SimpleConsumerOption::default();
        group_options.set_consumer_group(self.named(group));
        let mut consumer = SimpleConsumer::new(group_options, self.options())?;
        consumer.start().await?;
        Ok(consumer)
    }

    /// A message of a tag, with more than ASCII everywhere.
    fn sample(&self, topic: &str, tag: &str) -> Result<impl Message> {
        let builder = MessageBuilder::builder()
            .set_topic(self.named(topic))
            .set_body(format!("„{tag}“ grüßt").into_bytes())
            .set_tag(tag)
            .set_keys(vec![format!("key-{tag}"), "ключ".to_owned()])
            .set_properties(HashMap::from([("colour", format!("grün wie {tag}"))]));
        Ok(builder.build()?)
    }

    /// One with nothing but a body.
    fn text(&self, topic: &str, body: &str) -> Result<impl Message> {
        let builder = MessageBuilder::builder();
        let builder = builder.set_topic(self.named(topic));
        Ok(builder.set_body(body.as_bytes().to_vec()).build()?)
    }

    /// Receives so many messages.
    async fn receive(
        &self,
        consumer: &SimpleConsumer,
        topic: &str,
        tags: &str,
        count: usize,
        hidden: Duration,
    ) -> Result<Vec<MessageView>> {
        let tags = FilterExpression::new(FilterType::Tag, tags);
        let started = Instant::now();
        let mut received = Vec::new();
        while received.len() < count {
            match consumer
                .receive_with(self.named(topic), &tags, RECEIVED_AT_ONCE, hidden)
                .await
            {
                Ok(messages) => received.extend(messages),
                Err(error) if started.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => sleep(PAUSE).await,
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{} of {count} are received", received.len()).into());
            }
        }
        equal(received.len(), count)?;
        Ok(received)
    }

    /// Receives and acknowledges so many.
    async fn take(
        &self,
        consumer: &SimpleConsumer,
        topic: &str,
        tags: &str,
        count: usize,
    ) -> Result<Vec<MessageView>> {
        let received = self.receive(consumer, topic, tags, count, HIDDEN).await?;
        for message in &received {
            consumer.ack(message).await?;
        }
        Ok(received)
    }

    /// The same; what they say, sorted.
    async fn bodies(
        &self,
        consumer: &SimpleConsumer,
        topic: &str,
        count: usize,
    ) -> Result<Vec<String>> {
        let received = self.take(consumer, topic, "*", count).await?;
        let mut bodies: Vec<String> = received.iter().map(body).collect();
        bodies.sort();
        Ok(bodies)
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<()> {
    let same = found == wanted;
    same.then_some(())
        .ok_or_else(|| format!("{found:?} instead of {wanted:?}").into())
}

fn body(message: &MessageView) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

/// The tags of messages that are whole, sorted.
fn tags(received: &[MessageView]) -> Result<Vec<&str>> {
    let mut tags = Vec::new();
    for message in received {
        let tag = message.tag().ok_or("a tag is missing")?;
        equal(body(message), format!("„{tag}“ grüßt"))?;
        equal(message.keys().join(" "), format!("key-{tag} ключ"))?;
        let colour = message.properties().get("colour").cloned();
        equal(colour, Some(format!("grün wie {tag}")))?;
        tags.push(tag);
    }
    tags.sort();
    Ok(tags)
}

async fn single(world: &World, sender: &Producer) -> Result<()> {
    for tag in ["a", "b", "c"] {
        sender.send(world.sample("normal", tag)?).await?;
    }
    for (group, expression, wanted) in [
        ("all", "*", &["a", "b", "c"][..]),
        ("some", "a || c", &["a", "c"]),
    ] {
        let consumer = world.consumer(group).await?;
        let received = world.take(&consumer, "normal", expression, wanted.len());
        equal(tags(&received.await?)?, wanted.to_vec())?;
        consumer.shutdown().await?;
    }
    Ok(())
}

async fn batch(world: &World, sender: &Producer) -> Result<()> {
    let messages = ["a", "b", "c"].map(|tag| world.sample("batch", tag));
    let messages: Result<Vec<_>> = messages.into_iter().collect();
    // The reference gives one receipt for all.
    equal(sender.batch_send(messages?).await?.len(), 1)?;
    let consumer = world.consumer("batch").await?;
    let received = world.take(&consumer, "batch", "*", 3).await?;
    equal(tags(&received)?, vec!["a", "b", "c"])?;
    Ok(consumer.shutdown().await?)
}

async fn ordered(world: &World, sender: &Producer) -> Result<()> {
    for number in 0..10_u8 {
        let group = ["even", "odd"][usize::from(number % 2)];
        let body = number.to_string().into_bytes();
        let builder = MessageBuilder::fifo_message_builder(world.named("fifo"), body, group);
        sender.send(builder.build()?).await?;
    }
    let consumer = world.consumer("fifo").await?;
    let received = world.take(&consumer, "fifo", "*", 10).await?;
    for (group, wanted) in [("even", "02468"), ("odd", "13579")] {
        let of_group = received
            .iter()
            .filter(|message| message.message_group() == Some(group));
        equal(of_group.map(body).collect::<String>(), wanted.to_owned())?;
    }
    Ok(consumer.shutdown().await?)
}

async fn delayed(world: &World, sender: &Producer) -> Result<()> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH);
    let due = now()?.as_secs() as i64 + 3;
    let builder =
        MessageBuilder::delay_message_builder(world.named("delay"), b"later".to_vec(), due);
    sender.send(builder.build()?).await?;
    let consumer = world.consumer("delay").await?;
    equal(
        world.bodies(&consumer, "delay", 1).await?,
        vec!["later".to_owned()],
    )?;
    // The servers count time in seconds.
    if (now()?.as_secs() as i64) < due - 1 {
        return Err("the message comes early".into());
    }
    Ok(consumer.shutdown().await?)
}

async fn transactions(world: &World) -> Result<()> {
    let decide = |_, message: MessageView| match message.body() {
        b"committed when asked" => TransactionResolution::COMMIT,
        _ => TransactionResolution::ROLLBACK,
    };
    let mut options = ProducerOption::default();
    // A producer is asked about the topics that it names.
    options.set_topics(vec![world.named("transaction")]);
    let mut sender =
        Producer::new_transaction_producer(options, world.options(), Box::new(decide))?;
    sender.start().await?;
    let begin = |body: &str| {
        let builder = MessageBuilder::transaction_message_builder(
            world.named("transaction"),
            body.as_bytes().to_vec(),
        );
        builder
            .build()
            .map(|message| sender.send_transaction_message(message))
    };
    begin("rolled back")?.await?.rollback().await?;
    begin("rolled back when asked")?.await?;
    begin("committed when asked")?.await?;
    begin("committed")?.await?.commit().await?;
    let consumer = world.consumer("transaction").await?;
    let wanted = ["committed", "committed when asked"].map(str::to_owned);
    equal(
        world.bodies(&consumer, "transaction", 2).await?,
        wanted.to_vec(),
    )?;
    consumer.shutdown().await?;
    Ok(sender.shutdown().await?)
}

async fn again(world: &World, sender: &Producer) -> Result<()> {
    sender.send(world.text("hidden", "again")?).await?;
    let consumer = world.consumer("hidden").await?;
    let since = Instant::now();
    let first = world
        .receive(&consumer, "hidden", "*", 1, HIDDEN_SHORTLY)
        .await?;
    let second = world.take(&consumer, "hidden", "*", 1).await?;
    if since.elapsed() < HIDDEN_SHORTLY - Duration::from_secs(1) {
        return Err("the message comes again early".into());
    }
    for (attempt, received) in [(1, first), (2, second)] {
        let [message] = &received[..] else {
            return Err("more is received".into());
        };
        equal(
            (body(message), message.delivery_attempt()),
            ("again".to_owned(), attempt),
        )?;
    }
    Ok(consumer.shutdown().await?)
}

async fn restart(world: &World, sender: Producer) -> Result<()> {
    let consumer = world.consumer("restart").await?;
    sender.send(world.text("restart", "before")?).await?;
    let before = world.bodies(&consumer, "restart", 1).await?;
    equal(before, vec!["before".to_owned()])?;
    sender.send(world.text("restart", "kept")?).await?;
    // This client does not tell its settings anew; a new one has to.
    consumer.shutdown().await?;
    sender.shutdown().await?;
    println!("restart");
    io::stdin().read_line(&mut String::new())?;
    let sender = world.producer().await?;
    let started = Instant::now();
    while let Err(error) = sender.send(world.text("restart", "after")?).await {
        if started.elapsed() > PATIENCE {
            return Err(error.into());
        }
        sleep(PAUSE).await;
    }
    let consumer = world.consumer("restart").await?;
    let after = world.bodies(&consumer, "restart", 2).await?;
    equal(after, ["after", "kept"].map(str::to_owned).to_vec())?;
    consumer.shutdown().await?;
    Ok(sender.shutdown().await?)
}
