//! Lines: requests in redis-cli's form and replies as texts, for tests of replies.

use basalt_resp::{Value, decode, encode_request};

use super::{ClientId, Simulation};

impl Simulation {
    /// The client sends a request: the words of a line.
    pub fn send_line(&mut self, client: ClientId, line: &str) {
        let mut bytes = Vec::new();
        encode_request(&line.split_whitespace().collect::<Vec<_>>(), &mut bytes);
        self.send(client, &bytes);
    }

    /// The replies that the client has received since the last call, each with its texts joined.
    pub fn received_lines(&mut self, client: ClientId) -> Vec<String> {
        let bytes = self.take_received(client);
        let (mut rest, mut lines) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (value, len) = decode(rest).expect("it is well-formed").expect("it is whole");
            lines.push(text(&value));
            rest = &rest[len..];
        }
        lines
    }

    /// As [`Simulation::ask_line`], for arguments that may be empty.
    pub fn ask_args(&mut self, client: ClientId, args: &[&str]) -> String {
        let mut bytes = Vec::new();
        encode_request(args, &mut bytes);
        self.send(client, &bytes);
        self.settle();
        self.received_lines(client).join(" | ")
    }

    /// Sends a request and runs until nothing moves; returns the received replies.
    pub fn ask_line(&mut self, client: ClientId, line: &str) -> String {
        self.send_line(client, line);
        self.settle();
        self.received_lines(client).join(" | ")
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null | Value::NullArray => "(nil)".into(),
        Value::Integer(value) => value.to_string(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(" "),
        value => String::from_utf8_lossy(value.as_bytes().expect("a text")).into_owned(),
    }
}
