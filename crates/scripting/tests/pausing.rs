//! A run that is paused wherever the script may be goes on as if nothing had happened.

use basalt_resp::{Protocol, Reply};
use basalt_scripting::{Called, Host, Interpreter, Interrupt, LogLevel, Progress};

/// A shard that pauses the script at every occasion.
#[derive(Default)]
struct Pausing {
    pauses: bool,
    has_paused: bool,
    pauses_seen: usize,
    command: Option<Vec<u8>>,
}

impl Host for Pausing {
    fn call(&mut self, args: &[&[u8]], _: Protocol, reply: &mut Vec<u8>) -> Called {
        if self.pauses {
            self.command = Some(args[1].to_vec());
            return Called::Later;
        }
        Reply::new(reply, Protocol::Resp2).bulk(args[1]);
        Called::Done
    }

    fn take_reply(&mut self, reply: &mut Vec<u8>) {
        let text = self.command.take().expect("it asked for it");
        Reply::new(reply, Protocol::Resp2).bulk(&text);
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn interrupt(&mut self) -> Interrupt {
        self.has_paused = !self.has_paused;
        if self.pauses && self.has_paused { Interrupt::Pause } else { Interrupt::Continue }
    }

    fn cpu_seconds(&mut self) -> f64 {
        0.0
    }

    fn may_call(&mut self, _: &[&[u8]]) -> Option<bool> {
        Some(true)
    }
}

const SCRIPTS: &[&str] = &[
    "local sum = 0 for i = 1, 1e5 do sum = sum + i end return sum",
    "return {pcall(function() for i = 1, 1e5 do end error('x') end)}",
    "local t = {} for i = 1, 3000 do t[i] = (i * 7919) % 3001 end
     table.sort(t, function(a, b) for i = 1, 10 do end return a < b end) return {t[1], t[2], t[3000]}",
    "return {(('ab'):rep(3000):gsub('a', function(c) for i = 1, 10 do end return c .. '-' end)):sub(1, 9)}",
    "local t = setmetatable({}, {__index = function(_, k) for i = 1, 5000 do end return k * 2 end}) return t[21]",
    "local f = coroutine.wrap(function() for i = 1, 5 do for j = 1, 3000 do end coroutine.yield(i) end end)
     f() f() return f()",
    "return {xpcall(function() for i = 1, 1e4 do end error({err = 'E x'}) end, function(e)
       for i = 1, 1e4 do end return e.err end)}",
    "local s = ('a'):rep(400) return {s:find('.-.-b'), #s}",
    "local out = {} for i = 1, 20 do out[i] = redis.call('echo', 'v' .. i) end return out",
    "return {pcall(redis.call, 'echo', 'x'), (('ab'):gsub('.', function(c) return redis.call('echo', c .. c) end))}",
    "local t = {3, 1, 2} table.sort(t, function(a, b) return redis.call('echo', a) < redis.call('echo', b) end) return t",
    "return cjson.encode({redis.call('echo', 'x'), ('y'):rep(10)})",
];

fn run(interpreter: &mut Interpreter, source: &str, pauses: bool) -> (Vec<u8>, usize) {
    let script = interpreter.compile(source.as_bytes()).expect("it is Lua");
    let mut host = Pausing { pauses, ..Pausing::default() };
    interpreter.begin(&script, &[], &[]).expect("there is a native stack");
    while interpreter.resume(&mut host) == Progress::Paused {
        host.pauses_seen += 1;
    }
    let mut out = Vec::new();
    let _ = interpreter.finish("sha", &mut Reply::new(&mut out, Protocol::Resp2));
    interpreter.forget(script);
    (out, host.pauses_seen)
}

#[test]
fn pauses_change_nothing() {
    let mut interpreter = Interpreter::new();
    for source in SCRIPTS {
        let (expected, none) = run(&mut interpreter, source, false);
        let (paused, pauses) = run(&mut interpreter, source, true);
        let text = String::from_utf8_lossy(&expected);
        assert!(!text.starts_with("-"), "{source}: {text}");
        assert_eq!(text, String::from_utf8_lossy(&paused), "{source}");
        assert_eq!(none, 0);
        assert!(pauses > 0, "{source}");
    }
}

/// An interpreter goes away in the middle of a run: what the run has on its native stack is dropped.
#[test]
fn a_paused_run_may_be_given_up() {
    for source in
        SCRIPTS.iter().chain(&["while true do pcall(function() while true do end end) end"])
    {
        for pauses in 0..4 {
            let mut interpreter = Interpreter::new();
            let script = interpreter.compile(source.as_bytes()).expect("it is Lua");
            let mut host = Pausing { pauses: true, ..Pausing::default() };
            interpreter.begin(&script, &[], &[]).expect("there is a native stack");
            for _ in 0..pauses {
                let _ = interpreter.resume(&mut host);
            }
        }
    }
}

/// Two interpreters take turns.
#[test]
fn runs_of_two_interpreters_alternate() {
    let (mut one, mut other) = (Interpreter::new(), Interpreter::new());
    let source = "local n = 0 for i = 1, 2e4 do n = n + 1 end return redis.call('echo', n)";
    let mut hosts = [0, 1].map(|_| Pausing { pauses: true, ..Pausing::default() });
    for interpreter in [&mut one, &mut other] {
        let script = interpreter.compile(source.as_bytes()).expect("it is Lua");
        interpreter.begin(&script, &[], &[]).expect("there is a native stack");
    }
    let mut left = 2;
    while left > 0 {
        left = 0;
        for (interpreter, host) in [&mut one, &mut other].into_iter().zip(&mut hosts) {
            left += usize::from(interpreter.resume(host) == Progress::Paused);
        }
    }
    for interpreter in [&mut one, &mut other] {
        let mut out = Vec::new();
        interpreter.finish("sha", &mut Reply::new(&mut out, Protocol::Resp2)).expect("it returns");
        assert_eq!(out, b"$5\r\n20000\r\n");
    }
}
