use super::*;

const TARGET: &str = "host:1";
const TCP: (&str, &[&str]) = ("tcp", &["remoting"]);
const WS: (&str, &[&str]) = ("ws", &["websocket"]);
const TLS: (&str, &[&str]) = ("tls", &["tls", "remoting"]);
const WSS: (&str, &[&str]) = ("wss", &["tls", "websocket"]);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The schemes in the order in which they are tried.
fn order(choice: &Choice, now: u64) -> Vec<String> {
    let ways = choice.order(seconds(now)).into_iter();
    ways.map(|way| way.scheme).collect()
}

/// The way that has this scheme now.
fn way(choice: &Choice, scheme: &str) -> Way {
    let candidates = &mut choice.candidates.iter();
    let found = candidates.find(|it| it.way.scheme == scheme);
    found.unwrap().way.clone()
}

fn offer(json: &str) -> Offer {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_way_that_failed_comes_last_for_a_minute() {
    let mut choice = Choice::new(TARGET, &[TCP, WS, TLS], false, false);
    assert_eq!(order(&choice, 0), ["tcp", "ws", "tls"]);
    choice.failed(&way(&choice, "tcp"), seconds(10));
    assert_eq!(order(&choice, 69), ["ws", "tls", "tcp"]);
    assert_eq!(order(&choice, 70), ["tcp", "ws", "tls"]);
    choice.failed(&way(&choice, "tcp"), seconds(70));
    choice.connected(&way(&choice, "tcp"));
    assert_eq!(order(&choice, 71), ["tcp", "ws", "tls"]);
}

#[test]
fn what_the_server_does_not_offer_comes_last() {
    let mut choice = Choice::new(TARGET, &[WS, TLS, WSS], false, false);
    let all = r#"{"protocols":["tls","remoting","websocket"],"tls":"permissive","listeners":[]}"#;
    choice.learn(&offer(&all.replace("\"websocket\"", "\"other\"")));
    assert_eq!(order(&choice, 0), ["tls", "ws", "wss"]);
    choice.learn(&offer(&all.replace("permissive", "enforcing")));
    assert_eq!(order(&choice, 0), ["tls", "wss", "ws"]);
    choice.learn(&Offer::untold());
    assert_eq!(order(&choice, 0), ["tls", "ws", "wss"]);
    choice.learn(&offer(all));
    assert_eq!(order(&choice, 0), ["ws", "tls", "wss"]);
}

#[test]
fn what_a_port_does_not_speak_is_spoken_on_another_of_the_same_host() {
    let mut choice = Choice::new("10.0.0.1:2", &[WS, TLS], false, false);
    let listeners = |main, pinned| {
        offer(&format!(
            r#"{{"protocols":["tls","remoting","websocket"],"tls":"permissive","listeners":[
            {{"address":"{main}:1","protocols":[]}},{{"address":"{pinned}:2","protocols":["tls"]}}]}}"#
        ))
    };
    choice.learn(&listeners("0.0.0.0", "0.0.0.0"));
    let ways = choice.order(seconds(0));
    let ways: Vec<_> = ways.iter().map(Way::to_string).collect();
    assert_eq!(ways, ["ws://10.0.0.1:1", "tls://10.0.0.1:2"]);
    choice.learn(&listeners("10.0.0.9", "10.0.0.1"));
    assert_eq!(
        order(&choice, 0),
        ["tls", "ws"],
        "nobody is sent to another host"
    );
}

#[test]
fn nothing_leads_from_an_encrypted_way_to_a_plain_one() {
    let wanted = Choice::new(TARGET, &[TCP, TLS, WS, WSS], true, false);
    assert_eq!(order(&wanted, 0), ["tls", "wss"]);
    let mut choice = Choice::new(TARGET, &[TCP, TLS, WS, WSS], false, false);
    assert_eq!(
        order(&choice, 0),
        ["tcp", "tls", "wss"],
        "ws stands behind tls"
    );
    choice.connected(&way(&choice, "tls"));
    for scheme in ["tls", "wss"] {
        choice.failed(&way(&choice, scheme), seconds(0));
    }
    let plain = offer(r#"{"protocols":["remoting"],"tls":"disabled","listeners":[]}"#);
    choice.learn(&plain);
    assert_eq!(order(&choice, 1), ["tls", "wss"]);
    assert_eq!(order(&Choice::new(TARGET, &[TCP], true, false), 0), [""; 0]);
}

#[test]
fn a_plain_way_that_is_allowed_comes_behind_the_encrypted_ones() {
    let mut choice = Choice::new(TARGET, &[TCP, TLS, WSS], true, true);
    assert_eq!(order(&choice, 0), ["tls", "wss", "tcp"]);
    for _ in 0..2 * ROUNDS {
        measure(&mut choice, &[("tls", 9.0), ("wss", 9.0), ("tcp", 0.1)]);
    }
    assert_eq!(
        order(&choice, 0),
        ["tls", "wss", "tcp"],
        "however fast it is"
    );
    choice.failed(&way(&choice, "tls"), seconds(0));
    choice.failed(&way(&choice, "wss"), seconds(0));
    assert_eq!(order(&choice, 1), ["tcp", "tls", "wss"]);
}

/// A round of measurements, in milliseconds; what new connections have from then on, if it ends
/// with a change.
fn measure(choice: &mut Choice, round_trips: &[(&str, f64)]) -> Option<String> {
    for (scheme, milliseconds) in round_trips {
        let way = way(choice, scheme);
        let time = Duration::from_secs_f64(milliseconds / 1e3);
        choice.measured(&way, Duration::ZERO, time);
    }
    choice.end_round(seconds(0)).map(|way| way.scheme)
}

#[test]
fn new_connections_move_to_what_is_faster_in_three_rounds() {
    let mut choice = Choice::new(TARGET, &[TCP, WS, TLS], false, false);
    let faster = [("tcp", 10.0), ("ws", 5.0), ("tls", 7.0)];
    assert_eq!(measure(&mut choice, &faster), None);
    assert_eq!(measure(&mut choice, &faster), None);
    assert_eq!(order(&choice, 0), ["tcp", "ws", "tls"]);
    assert_eq!(measure(&mut choice, &faster).as_deref(), Some("ws"));
    assert_eq!(order(&choice, 0), ["ws", "tcp", "tls"]);
    assert_eq!(measure(&mut choice, &faster), None, "it is there already");
    choice.failed(&way(&choice, "ws"), seconds(0));
    assert_eq!(order(&choice, 0), ["tcp", "tls", "ws"]);
}

#[test]
fn a_small_or_passing_advantage_moves_nothing() {
    let mut choice = Choice::new(TARGET, &[TCP, WS], false, false);
    for round in 0..100 {
        let swings = if round % 2 == 0 { 8.0 } else { 12.5 };
        assert_eq!(measure(&mut choice, &[("tcp", 10.0), ("ws", swings)]), None);
    }
    let mut choice = Choice::new(TARGET, &[TCP, WS], false, false);
    for _ in 0..100 {
        assert_eq!(measure(&mut choice, &[("tcp", 0.15), ("ws", 0.06)]), None);
    }
    let mut choice = Choice::new(TARGET, &[TCP, WS], false, false);
    for _ in 0..2 {
        assert_eq!(measure(&mut choice, &[("tcp", 10.0), ("ws", 5.0)]), None);
    }
    // One slow answer starts the count anew.
    assert_eq!(measure(&mut choice, &[("tcp", 10.0), ("ws", 50.0)]), None);
    assert_eq!(choice.rising, None);
}

#[test]
fn connecting_counts_for_a_hundredth() {
    let mut choice = Choice::new(TARGET, &[TCP, WS], false, false);
    let millis = Duration::from_millis;
    for _ in 0..2 * ROUNDS {
        let (tcp, ws) = (way(&choice, "tcp"), way(&choice, "ws"));
        choice.measured(&tcp, millis(1000), millis(1));
        choice.measured(&ws, millis(100), millis(2));
        choice.end_round(seconds(0));
    }
    assert_eq!(order(&choice, 0), ["ws", "tcp"]);
}

#[test]
fn rounds_are_a_period_apart() {
    let mut choice = Choice::new(TARGET, &[TCP], false, false);
    let mut begun = |now| choice.begin_round(seconds(now), seconds(60));
    assert!(begun(5) && !begun(64) && begun(65) && !begun(66));
}
