//! Who talks to whom.

/// Where a client begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Door {
    NameServer,
    Broker,
    BrokerSocket,
    Proxy,
}

/// A program that sends and receives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) name: &'static str,
    pub(super) door: Door,
    pub(super) program: &'static [&'static str],
    /// What it tells of its bad request, if it has one.
    pub(super) refusal: Option<&'static str>,
}

/// All of them. The first makes the topic, with the one queue that some look at alone.
pub(super) const CLIENTS: [Client; 18] = {
    use Door::{Broker, BrokerSocket, NameServer, Proxy};
    [
        Client::new("Node's ws", Broker, &["node", "node.js"]).refused("closed with 1003"),
        Client::new(
            "Python's websockets",
            Broker,
            &["python", "client.py", "websocket"],
        )
        .refused("closed with 1007"),
        Client::new("Python's h2", Broker, &["python", "client.py", "http2"])
            .refused("GOAWAY ENHANCE_YOUR_CALM"),
        Client::new("Chromium", Broker, &["node", "browser.js"]).refused("no WebSocket was opened"),
        Client::new("curl", Broker, &["node", "curl.js"]).refused("HTTP/2 400"),
        Client::new(
            "Python on a Unix socket",
            BrokerSocket,
            &["python", "client.py", "unix"],
        ),
        Client::new(
            "Java",
            NameServer,
            &["java", "@java.options", "JavaClient", "remoting"],
        ),
        Client::new(
            "Java in TLS",
            NameServer,
            &[
                "java",
                "@java.options",
                "-Dtls.enable=true",
                "JavaClient",
                "remoting",
            ],
        ),
        Client::new(
            "Java by gRPC",
            Proxy,
            &["java", "@java.options", "JavaClient", "grpc"],
        ),
        Client::new(
            "Java by gRPC in TLS",
            Proxy,
            &["java", "@java.options", "JavaClient", "grpcs"],
        ),
        Client::new(
            "Java by gRPC, broker's port",
            Broker,
            &["java", "@java.options", "JavaClient", "grpc"],
        ),
        Client::new("Python by gRPC", Proxy, &["python", "grpc_client.py"]),
        Client::new(
            "Python by gRPC, broker's port",
            Broker,
            &["python", "grpc_client.py"],
        ),
        Client::new("Node by gRPC", Proxy, &["node", "grpc_client.js"]),
        Client::new("kerolox", NameServer, &["sh", "kerolox.sh", ""]),
        Client::new(
            "kerolox tls://",
            NameServer,
            &["sh", "kerolox.sh", "tls://"],
        ),
        Client::new("kerolox ws://", NameServer, &["sh", "kerolox.sh", "ws://"]),
        Client::new("kerolox h2://", NameServer, &["sh", "kerolox.sh", "h2://"]),
    ]
};

impl Client {
    const fn new(name: &'static str, door: Door, program: &'static [&'static str]) -> Self {
        Self {
            name,
            door,
            program,
            refusal: None,
        }
    }

    const fn refused(mut self, how: &'static str) -> Self {
        self.refusal = Some(how);
        self
    }

    /// The body of what it sends: not only ASCII.
    pub(super) fn body(&self) -> String {
        format!("“{}” grüßt", self.name)
    }

    /// Tag, key and the property `colour` of what it sends.
    pub(super) fn details(&self) -> [String; 3] {
        let name = self.group();
        [
            format!("tag-{name}"),
            format!("key-{name}"),
            format!("grün wie {}", self.name),
        ]
    }

    /// The group that it receives in, if it needs one.
    pub(super) fn group(&self) -> String {
        let letter = |letter: char| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        };
        self.name.chars().map(letter).collect()
    }
}
