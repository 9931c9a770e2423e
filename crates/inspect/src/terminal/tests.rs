use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::capture::CaptureFile;

/// The interface on a screen of a test, with the exchanges of a capture.
struct Screen {
    board: Board,
    terminal: Terminal<TestBackend>,
}

impl Screen {
    fn new() -> Self {
        let mut screen = Self::empty(160, 40);
        screen.feed();
        screen
    }

    /// One on which nothing was seen yet.
    fn empty(width: u16, height: u16) -> Self {
        Self {
            board: Board::default(),
            terminal: Terminal::new(TestBackend::new(width, height)).unwrap(),
        }
    }

    fn feed(&mut self) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/remoting.pcap");
        let mut source = CaptureFile::open(&file).unwrap();
        let mut inspector = Inspector::new(Options {
            keep_bytes: 64,
            ..Options::default()
        });
        let board = &mut self.board;
        let mut goes_on = true;
        while goes_on {
            let read = source.read(Duration::ZERO, &mut |observed| {
                inspector.observe(observed, &mut |exchange| board.take(exchange));
            });
            goes_on = read.unwrap();
        }
        inspector.end(&mut |exchange| board.take(exchange));
    }

    fn press(&mut self, code: KeyCode) -> Goes {
        self.board.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn type_text(&mut self, text: &str) {
        for one in text.chars() {
            self.press(KeyCode::Char(one));
        }
    }

    /// What is on the screen, a text a line.
    fn lines(&mut self) -> Vec<String> {
        let board = &mut self.board;
        self.terminal
            .draw(|frame| screen::draw(board, frame))
            .unwrap();
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let rows = buffer.content().chunks(width);
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>())
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    #[track_caller]
    fn shows(&mut self, text: &str) {
        let lines = self.lines();
        let found = lines.iter().any(|line| line.contains(text));
        assert!(found, "{text:?} is not in\n{}", lines.join("\n"));
    }
}

#[test]
fn one_goes_from_a_topic_to_the_bytes_of_an_exchange_and_back() {
    let mut screen = Screen::new();
    screen.shows("133 exchanges");
    screen.shows("topic ");
    screen.press(KeyCode::Char('5'));
    screen.type_text("/send_batch");
    screen.press(KeyCode::Enter);
    screen.shows("1 exchanges");
    screen.shows("SEND_BATCH_MESSAGE");
    screen.press(KeyCode::Enter);
    screen.shows("› SEND_BATCH_MESSAGE");
    screen.shows("SUCCESS");
    screen.press(KeyCode::Enter);
    screen.shows("SEND_BATCH_MESSAGE (320)");
    let fields = screen.lines();
    let messages = fields.iter().filter(|line| line.starts_with("message "));
    assert_eq!(messages.count(), 2, "{fields:#?}");
    screen.press(KeyCode::Enter);
    screen.shows("request, the first 64 of ");
    screen.shows("00000000  00 00 ");
    screen.shows("response, ");
    for place in [
        "SEND_BATCH_MESSAGE (320)",
        "› SEND_BATCH_MESSAGE",
        "command ",
    ] {
        screen.press(KeyCode::Esc);
        screen.shows(place);
    }
    assert_eq!(screen.press(KeyCode::Esc), Goes::On);
    assert_eq!(screen.press(KeyCode::Char('q')), Goes::Away);
}

#[test]
fn every_table_sorts_and_keeps_what_is_chosen() {
    let mut screen = Screen::new();
    for digit in '1'..='5' {
        screen.press(KeyCode::Char(digit));
        let rows = screen.board.rows().len();
        assert!(rows > 1, "table {digit} has {rows} rows");
        screen.press(KeyCode::End);
        let chosen = screen.board.rows()[rows - 1].0.clone();
        for _ in 0..5 {
            screen.press(KeyCode::Char('s'));
            let at = screen.board.chosen();
            assert_eq!(screen.board.rows()[at].0, chosen);
            screen.lines();
        }
        screen.press(KeyCode::Home);
        assert_eq!(screen.board.chosen(), 0);
    }
    screen.press(KeyCode::Char('s'));
    screen.press(KeyCode::Char('s'));
    screen.shows("by errors");
    let errors: Vec<u64> = screen
        .board
        .rows()
        .iter()
        .map(|(_, row)| row.errors)
        .collect();
    assert!(errors.is_sorted_by(|a, b| a >= b), "{errors:?}");
}

#[test]
fn a_held_screen_stays_and_catches_up() {
    let mut screen = Screen::new();
    screen.press(KeyCode::Char('p'));
    screen.feed();
    screen.shows("133 exchanges");
    screen.shows("HELD");
    screen.press(KeyCode::Char('p'));
    screen.shows("266 exchanges");
}

#[test]
fn filters_choose_by_what_went_wrong_and_how_long_it_took() {
    let mut screen = Screen::new();
    let errors = screen.board.statistics.total.errors;
    assert!(errors > 0, "the capture has errors");
    screen.type_text("/!");
    screen.press(KeyCode::Enter);
    assert_eq!(screen.board.statistics.total.exchanges, errors);
    screen.type_text("/ >1000s");
    screen.press(KeyCode::Enter);
    assert_eq!(screen.board.statistics.total.exchanges, 0);
    screen.lines();
    screen.type_text("/");
    let forget = KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL);
    screen.board.press(forget);
    screen.type_text("!");
    screen.press(KeyCode::Enter);
    assert_eq!(screen.board.statistics.total.exchanges, errors);
    screen.type_text("/");
    screen.press(KeyCode::Esc);
    screen.shows("133 exchanges");
}

#[test]
fn keys_are_explained_on_any_screen() {
    let mut screen = Screen::new();
    screen.press(KeyCode::Char('?'));
    screen.shows("go to exchanges, fields, bytes");
    screen.press(KeyCode::Char('x'));
    assert!(!screen.board.is_helping);
    screen.board.say("something to know".to_owned());
    screen.shows("something to know");
    screen.terminal = Terminal::new(TestBackend::new(8, 3)).unwrap();
    screen.press(KeyCode::Char('?'));
    screen.lines();
    screen.terminal = Terminal::new(TestBackend::new(1, 1)).unwrap();
    screen.lines();
}

#[test]
fn a_narrow_screen_leaves_out_whole_columns_and_breaks_long_lines() {
    const NOTICE: &str = "parts of connections to 192.0.2.1:10911 are missing in the capture; \
                          reading goes on at the next frame that can be recognized";
    for (width, height) in [(80, 24), (60, 15)] {
        let mut screen = Screen::empty(width, height);
        screen.feed();
        screen.press(KeyCode::Char('5'));
        let head = screen.lines().swap_remove(2);
        let head: Vec<&str> = head.split_whitespace().collect();
        assert!(head.starts_with(&["command"]), "{head:?}");
        for column in ["exchanges", "errors", "p99"] {
            assert!(head.contains(&column), "{head:?}");
        }
        screen.type_text("/send_batch");
        screen.press(KeyCode::Enter);
        screen.press(KeyCode::Enter);
        let head = screen.lines().swap_remove(2);
        let head: Vec<&str> = head.split_whitespace().collect();
        assert!(
            head.starts_with(&["time", "command", "subject"]),
            "{head:?}"
        );
        assert!(head.contains(&"latency"), "{head:?}");
        screen.shows("5 commands  › SEND_BATCH_MESSAGE");
        screen.board.say(NOTICE.to_owned());
        let lines = screen.lines().join(" ");
        assert!(lines.contains(NOTICE), "{lines}");
        screen.press(KeyCode::Enter);
        screen.press(KeyCode::Enter);
        screen.shows("request, the first 64 of ");
        let dump = screen.lines();
        let first = dump.iter().find(|line| line.starts_with("00000000"));
        let bytes = if width < 76 { 8 } else { 16 };
        let text = first.unwrap().rsplit("  ").next().unwrap();
        assert_eq!(text.chars().count(), bytes, "{first:?}");
    }
}

#[test]
fn an_empty_screen_says_why() {
    let mut screen = Screen::empty(60, 15);
    screen.shows("Nothing was seen yet.");
    screen.board.has_ended = true;
    screen.shows("There are no exchanges of RocketMQ in this capture.");
    screen.feed();
    screen.type_text("/no such thing");
    screen.press(KeyCode::Enter);
    screen.shows("Nothing fits what was typed");
}
