//! `kerolox inspect`: what clients and servers say to each other, from capture files or live.

mod metrics;
mod source;
mod views;

use std::fs::File;
use std::io::{BufWriter, Error, ErrorKind, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inspect::view::report::Report;
use inspect::view::time::read_duration;
use inspect::{
    Counts, Exchange, FileFormat, Filter, Inspector, Notice, Observed, Options, Recorder, Source,
    Timestamp, terminal,
};

use crate::client::OutputFormat;
use crate::error::CliError;
use metrics::Metrics;
use source::SourceArgs;
use views::pages::{Page, Pages};
use views::{Follower, Lines, Overview, SessionTables, StatTables, View};

/// How long a source is waited for before what waits is looked at again.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often it is said that packets are lost, where ever more of them are.
const REMIND: Duration = Duration::from_secs(60);

/// Options of `kerolox inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the exchanges of a capture file: pcap or pcapng, also packed with gzip
    Open(OpenArgs),
    /// Show exchanges as they end, a line each
    Watch(WatchArgs),
    /// Count exchanges by topic, group, client, broker and command
    Stat(StatArgs),
    /// Show connections, clients, groups and how far they have come
    Sessions(PageArgs),
    /// Show the way of one message: sent, delivered, retried, acknowledged
    Follow(FollowArgs),
    /// Browse topics, groups, clients, their exchanges and bytes in the terminal
    Browse(BrowseArgs),
    /// Show in a page what is going on
    Overview(PageArgs),
    /// Write what comes to a file, to be opened later
    Record(RecordArgs),
}

/// What is read and how it is shown.
#[derive(Debug, clap::Args)]
struct TrafficArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    show: ShowArgs,
}

/// What is read, and how a page of it is shown.
#[derive(Debug, clap::Args)]
struct PageArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
    /// Show it so often, with all so far [default: every second if it is live and on a terminal,
    /// else at the end]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    interval: Option<Duration>,
}

/// How exchanges are chosen and shown.
#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Ports of the servers [default: whatever speaks RocketMQ]
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',')]
    ports: Vec<u16>,
    /// How it is shown; json: one object a line
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    /// Bytes of each message's body that are shown, decompressed, with --output json
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    bodies: usize,
    /// Answer HTTP at this address with OpenMetrics of what is shown
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<SocketAddr>,
    /// Write a page with charts to this file at the end
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Which exchanges are shown.
#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Those of a topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Those of a producer or consumer group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Those of a client, by its id or address
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Those whose request or answer has a code, by number or name
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Those that took longer, without what a server held for want of messages: 10ms, 2s
    #[arg(long, value_name = "TIME", value_parser = time)]
    slower_than: Option<Duration>,
    /// Those that went wrong
    #[arg(long)]
    errors: bool,
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        Filter {
            topic: self.topic.clone(),
            group: self.group.clone(),
            client: self.client.clone(),
            code: self.code.clone(),
            slower_than: self.slower_than,
            errors: self.errors,
        }
    }
}

/// Options of `kerolox inspect open`.
#[derive(Debug, clap::Args)]
struct OpenArgs {
    /// The file; - is standard input
    file: PathBuf,
    #[command(flatten)]
    show: ShowArgs,
}

/// Options of `kerolox inspect watch`.
#[derive(Debug, clap::Args)]
struct WatchArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
}

/// Options of `kerolox inspect stat`.
#[derive(Debug, clap::Args)]
struct StatArgs {
    #[command(flatten)]
    page: PageArgs,
    /// Rows of each table
    #[arg(long, value_name = "ROWS", default_value_t = 10)]
    top: usize,
}

/// Options of `kerolox inspect browse`.
#[derive(Debug, clap::Args)]
struct BrowseArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Ports of the servers [default: whatever speaks RocketMQ]
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',')]
    ports: Vec<u16>,
}

/// Options of `kerolox inspect follow`.
#[derive(Debug, clap::Args)]
struct FollowArgs {
    /// The message's unique id, or its offset message id
    message_id: String,
    #[command(flatten)]
    page: PageArgs,
}

/// Options of `kerolox inspect record`.
#[derive(Debug, clap::Args)]
struct RecordArgs {
    /// The file; a pcap file if its name ends in .pcap, else pcapng
    out: PathBuf,
    /// Ports one of which must be at either end [default: all]
    #[arg(
        long = "port",
        value_name = "PORT",
        value_delimiter = ',',
        conflicts_with = "file"
    )]
    ports: Vec<u16>,
    #[command(flatten)]
    source: SourceArgs,
}

/// A time with its unit: `10ms`, `2s`, `500us`.
fn time(text: &str) -> Result<Duration, String> {
    read_duration(text).ok_or_else(|| {
        format!("\"{text}\" is no time: write a number with ns, us, ms or s, as 10ms")
    })
}

/// A time between two tables, which is not so short that nothing else is done.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = time(text)?;
    match interval >= PATIENCE {
        true => Ok(interval),
        false => Err(format!(
            "\"{text}\" is too short: tables can be shown every 100ms"
        )),
    }
}

/// Runs one of the commands.
pub(crate) fn run(args: Args) -> Result<(), CliError> {
    match args.command {
        Command::Open(args) => {
            let source = source::file(&args.file)?;
            show(source, false, &args.show, &mut Lines::new(args.show.output))
        }
        Command::Watch(args) => {
            let view = &mut Lines::new(args.traffic.show.output);
            args.traffic.show(view)
        }
        Command::Stat(args) => args.page.show(|output| StatTables::new(output, args.top)),
        Command::Sessions(args) => args.show(SessionTables::new),
        Command::Follow(args) => args
            .page
            .show(|output| Follower::new(output, &args.message_id)),
        Command::Browse(args) => browse(args),
        Command::Overview(args) => args.show(Overview::new),
        Command::Record(args) => record(&args),
    }
}

impl TrafficArgs {
    fn show(&self, view: &mut dyn View) -> Result<(), CliError> {
        let source = self.source.open(&self.show.ports)?;
        show(source, self.source.is_live(), &self.show, view)
    }
}

impl PageArgs {
    /// Shows the page that is made for a format.
    fn show<P: Page>(&self, page: impl FnOnce(OutputFormat) -> P) -> Result<(), CliError> {
        let output = self.traffic.show.output;
        let is_watched = self.traffic.source.is_live() && output == OutputFormat::Table;
        let mut pages = Pages::new(page(output), self.interval, is_watched);
        self.traffic.show(&mut pages)
    }
}

/// Reads a source to its end, or until it is interrupted, and shows what is in it.
fn show(
    source: Box<dyn Source>,
    live: bool,
    args: &ShowArgs,
    view: &mut dyn View,
) -> Result<(), CliError> {
    let filter = args.filter.filter();
    let mut inspector = Inspector::new(Options {
        ports: args.ports.clone(),
        keep_bodies: args.bodies,
        ..Options::default()
    });
    let mut report = args.report.as_deref().map(ReportFile::create).transpose()?;
    let metrics = args.metrics.map(Metrics::serve).transpose()?;
    let mut goes_on = ControlFlow::Continue(());
    let mut shown = 0_u64;
    let mut take = |seen: Seen<'_>| {
        if goes_on.is_break() {
            return goes_on;
        }
        match seen {
            Seen::Pause(inspector) => goes_on = view.pause(inspector),
            Seen::Exchange(exchange) if filter.matches(exchange) => {
                shown += 1;
                if let Some(report) = &mut report {
                    report.content.add(exchange);
                }
                if let Some(metrics) = &metrics {
                    metrics.add(exchange);
                }
                goes_on = view.take(exchange);
            }
            Seen::Exchange(_) => {}
        }
        goes_on
    };
    let read = read(source, live, &mut inspector, metrics.as_deref(), &mut take);
    if goes_on.is_continue() {
        view.end(&inspector)?;
        if read.is_ok() && shown == 0 {
            say_nothing_was_shown(inspector.counts());
        }
    }
    if let Some(report) = report {
        report.write(&inspector)?;
    }
    read
}

/// Tells those who see nothing from those who have overlooked something.
fn say_nothing_was_shown(counts: &Counts) {
    let read = counts.packets + counts.chunks;
    match counts.exchanges {
        0 => eprintln!("kerolox: nothing of RocketMQ is in the {read} packets that were read"),
        all => eprintln!("kerolox: none of the {all} exchanges matches the filters"),
    }
}

/// The report, and where it goes. The file is made before anything is read: who cannot have it
/// learns so at once.
struct ReportFile<'a> {
    content: Report,
    path: &'a Path,
    file: File,
}

impl<'a> ReportFile<'a> {
    fn create(path: &'a Path) -> Result<Self, CliError> {
        Ok(Self {
            content: Report::default(),
            path,
            file: File::create(path).map_err(CliError::capture_file(path))?,
        })
    }

    fn write(mut self, inspector: &Inspector) -> Result<(), CliError> {
        let page = self.content.page(inspector);
        let written = self.file.write_all(page.as_bytes());
        written.map_err(CliError::capture_file(self.path))
    }
}

/// Lets the user browse a source.
fn browse(args: BrowseArgs) -> Result<(), CliError> {
    let source = args.source.open(&args.ports)?;
    let interrupted = interruption()?;
    let options = Options {
        ports: args.ports,
        ..Options::default()
    };
    let until = || interrupted.load(Ordering::Relaxed);
    terminal::browse(source, args.source.is_live(), options, &until).map_err(|source| {
        CliError::System {
            what: "use the terminal",
            source,
        }
    })
}

/// What is seen of a source.
enum Seen<'a> {
    /// An exchange has ended.
    Exchange(&'a Exchange),
    /// More may be long in coming.
    Pause(&'a Inspector),
}

/// Has an inspector see a source to its end, or until it is interrupted.
fn read(
    mut source: Box<dyn Source>,
    live: bool,
    inspector: &mut Inspector,
    metrics: Option<&Metrics>,
    take: &mut dyn FnMut(Seen<'_>) -> ControlFlow<()>,
) -> Result<(), CliError> {
    let interrupted = interruption()?;
    let mut goes_on = ControlFlow::Continue(());
    let mut losses = Losses::default();
    let read = loop {
        let mut sink = |exchange: Exchange| {
            if goes_on.is_continue() {
                goes_on = take(Seen::Exchange(&exchange));
            }
        };
        let read = source.read(PATIENCE, &mut |observed| {
            inspector.observe(observed, &mut sink)
        });
        if live {
            inspector.tick(Timestamp::now(), &mut sink);
        }
        goes_on = take(Seen::Pause(inspector));
        say(inspector.notices());
        inspector.set_lost(source.lost());
        if let Some(metrics) = metrics {
            metrics.set_lost(source.lost());
        }
        losses.say(source.lost(), REMIND);
        match read {
            Ok(true) if goes_on.is_continue() && !interrupted.load(Ordering::Relaxed) => {}
            other => break other,
        }
    };
    inspector.end(&mut |exchange| {
        if goes_on.is_continue() {
            goes_on = take(Seen::Exchange(&exchange));
        }
    });
    say(inspector.notices());
    losses.say(source.lost(), Duration::ZERO);
    match read {
        Err(source) => Err(CliError::Capture { source }),
        Ok(_) => Ok(()),
    }
}

/// What was said of packets that were lost: how many, and when.
#[derive(Debug, Default)]
struct Losses(Option<(u64, Instant)>);

impl Losses {
    /// Says how many there are, if these are more than was said longer ago than `pause`.
    fn say(&mut self, lost: u64, pause: Duration) {
        let (said, is_time) = self
            .0
            .map_or((0, true), |(said, then)| (said, then.elapsed() >= pause));
        if lost > said && is_time {
            eprintln!(
                "kerolox: {lost} packets were lost so far, since they came faster than they were read; \
                 --buffer gives them more memory"
            );
            self.0 = Some((lost, Instant::now()));
        }
    }
}

fn say(notices: Vec<Notice>) {
    for notice in notices {
        eprintln!("kerolox: {notice}");
    }
}

/// Becomes true at Ctrl-C or SIGTERM, so that what was read is shown.
fn interruption() -> Result<Arc<AtomicBool>, CliError> {
    let system = |what| move |source| CliError::System { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start a runtime"))?;
    let mut signals = {
        let _entered = runtime.enter();
        crate::signals::Signals::listen()?
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(signals.next());
            flag.store(true, Ordering::Relaxed);
            // Who is not patient presses it again.
            std::process::exit(runtime.block_on(signals.next()));
        })
        .map_err(system("start a thread"))?;
    Ok(interrupted)
}

/// Writes what a source sees to a file.
fn record(args: &RecordArgs) -> Result<(), CliError> {
    let failed = CliError::capture_file(&args.out);
    let is_read = args.source.file().and_then(|path| path.canonicalize().ok());
    if is_read.is_some() && args.out.canonicalize().ok() == is_read {
        let why = "this is the file that is read: give the copy another name";
        return Err(failed(Error::new(ErrorKind::InvalidInput, why)));
    }
    let mut source = args.source.open(&args.ports)?;
    let format = match args.out.extension() {
        Some(extension) if extension == "pcap" => FileFormat::Pcap,
        _ => FileFormat::Pcapng,
    };
    let file = File::create(&args.out).map_err(&failed)?;
    let mut recorder = Recorder::new(BufWriter::new(file), format).map_err(&failed)?;
    let interrupted = interruption()?;
    let mut count = 0_u64;
    let mut written = Ok(());
    let read = loop {
        let before = count;
        let read = source.read(PATIENCE, &mut |observed: Observed<'_>| {
            if written.is_ok() {
                count += 1;
                written = recorder.write(&observed);
            }
        });
        // More may be long in coming, and somebody may look at the file meanwhile.
        if count == before && written.is_ok() {
            written = recorder.flush();
        }
        match read {
            Ok(true) if written.is_ok() && !interrupted.load(Ordering::Relaxed) => {}
            other => break other,
        }
    };
    let finished = recorder.finish(source.lost()).map(drop);
    written.and(finished).map_err(&failed)?;
    eprintln!(
        "kerolox: {count} packets are in {}, {} were lost",
        args.out.display(),
        source.lost()
    );
    read.map(drop)
        .map_err(|source| CliError::Capture { source })
}

/// Writes a line to standard output. Broken off: nobody reads any more.
fn put(out: &mut impl Write, line: &str) -> std::io::Result<ControlFlow<()>> {
    match out
        .write_all(line.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
    {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}
