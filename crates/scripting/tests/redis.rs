//! Scripts answer as Redis does: what `golden/scripts.txt` has of a real one.

use std::fmt::Write as _;

use basalt_resp::{Protocol, Reply};
use basalt_scripting::{Host, Interpreter, LogLevel, script_sha};

/// A shard with PING and ECHO.
#[derive(Default)]
struct Shard;

impl Host for Shard {
    fn call(&mut self, args: &[&[u8]], protocol: Protocol, reply: &mut Vec<u8>) {
        let mut reply = Reply::new(reply, protocol);
        match args {
            [b"ping"] => reply.simple("PONG"),
            [b"echo", text] => reply.bulk(text),
            _ => reply.error("ERR Unknown Redis command called from script"),
        }
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn interrupt(&mut self) -> Option<&'static str> {
        None
    }

    fn cpu_seconds(&mut self) -> f64 {
        1.5
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool> {
        matches!(args[0], b"ping" | b"echo").then_some(true)
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("because a String takes all"),
        }
    }
    text
}

/// The bytes of a script as the file has it: `\xNN` for what is not ASCII, backslashes as they are.
fn script_bytes(text: &str) -> Vec<u8> {
    let (mut rest, mut bytes) = (text.as_bytes(), Vec::new());
    while let Some((&byte, after)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|hex| hex.get(..2));
        let value = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        let value = value.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match value {
            Some(value) if value >= 0x80 => {
                bytes.push(value);
                rest = &rest[4..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

fn run(interpreter: &mut Interpreter, source: &[u8], protocol: Protocol) -> String {
    let sha = script_sha(source);
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, protocol);
    match interpreter.compile(source) {
        Ok(script) => {
            let ran = interpreter.run((&script, &sha), &[], &[], &mut Shard, &mut reply);
            let is_error = out.first() == Some(&b'-');
            assert!(ran.is_ok() || is_error, "a run that failed has no error: {}", escaped(&out));
            interpreter.forget(script);
        }
        Err(text) => {
            let text = [b"ERR Error compiling script (new function): ", text.as_slice()].concat();
            reply.error_bytes(&text);
        }
    }
    escaped(&out).replace(&sha, "SHA")
}

#[test]
fn scripts_answer_as_in_redis() {
    let mut interpreter = Interpreter::new();
    let mut wrong = String::new();
    let (mut script, mut both, mut count) = (Vec::new(), String::new(), 0);
    for line in include_str!("golden/scripts.txt").lines() {
        let (kind, text) = line.split_at(1);
        let text = text.strip_prefix(' ').unwrap_or(text);
        let protocol = match kind {
            ">" => {
                script = script_bytes(text);
                continue;
            }
            "2" => Protocol::Resp2,
            "3" => Protocol::Resp3,
            _ => continue,
        };
        both.clear();
        count += 1;
        let answer = run(&mut interpreter, &script, protocol);
        if answer != text {
            writeln!(wrong, "> {}\n  {text}\n  {answer}", escaped(&script))
                .expect("because a String takes all");
        }
    }
    assert!(count > 300, "only {count} replies were compared");
    assert!(wrong.is_empty(), "script, Redis, ours:\n{wrong}");
}
