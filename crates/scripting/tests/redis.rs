//! Scripts answer as Redis does: what `golden/scripts.txt` has of a real one.

use std::fmt::Write as _;

use basalt_resp::{Protocol, Reply};
use basalt_scripting::{
    Called, Failure, Function, Host, Interpreter, Interrupt, LogLevel, Progress, Script, script_sha,
};

/// A shard with PING and ECHO.
#[derive(Default)]
struct Shard;

impl Host for Shard {
    fn call(&mut self, args: &[&[u8]], protocol: Protocol, reply: &mut Vec<u8>) -> Called {
        let mut reply = Reply::new(reply, protocol);
        match args {
            [b"ping"] => reply.simple("PONG"),
            [b"echo", text] => reply.bulk(text),
            _ => reply.error("ERR Unknown Redis command called from script"),
        }
        Called::Done
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn interrupt(&mut self) -> Interrupt {
        Interrupt::Continue
    }

    fn cpu_seconds(&mut self) -> f64 {
        1.5
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool> {
        matches!(args[0], b"ping" | b"echo").then_some(true)
    }
}

/// Runs a script with keys and arguments.
fn run_with(
    interpreter: &mut Interpreter,
    (script, name): (&Script, &str),
    (keys, args): (&[&[u8]], &[&[u8]]),
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    interpreter.begin(script, keys, args).expect("there is a native stack");
    while interpreter.resume(&mut Shard) == Progress::Paused {}
    interpreter.finish(name, reply)
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
            let ran = run_with(interpreter, (&script, &sha), (&[], &[]), &mut reply);
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

fn loads(interpreter: &mut Interpreter, source: &str) -> Result<Vec<Function>, String> {
    let loaded = interpreter.load_library(source.as_bytes(), &mut Shard);
    loaded.map_err(|text| String::from_utf8_lossy(&text).into_owned())
}

/// Texts are those of Redis 7 and 8.
#[test]
fn libraries_register_functions() {
    let mut interpreter = Interpreter::new();
    let register = "Error registering functions: ERR ";
    for (source, text) in [
        ("x y", "Error compiling function: user_function:1: '=' expected near 'y'".to_owned()),
        ("\x1bLua", "Error compiling function: attempt to load a binary chunk".to_owned()),
        ("", "No functions registered".to_owned()),
        (
            "math.random()",
            format!(
                "{register}user_function:1: Script attempted to access nonexistent global variable 'math'"
            ),
        ),
        (
            "redis.call('ping')",
            format!(
                "{register}user_function:1: Script attempted to access nonexistent global variable 'call'"
            ),
        ),
        ("a = 1", format!("{register}user_function:1: Attempt to modify a readonly table")),
        ("redis.x = 1", format!("{register}user_function:1: Attempt to modify a readonly table")),
        (
            "redis.register_function('f', 1)",
            format!("{register}second argument to redis.register_function must be a function"),
        ),
        (
            "redis.register_function{function_name = 'f', callback = redis.log, flags = {'x'}}",
            format!("{register}unknown flag given"),
        ),
        (
            "for _ = 1, 2 do redis.register_function('f', redis.log) end",
            format!("{register}Function already exists in the library"),
        ),
    ] {
        assert_eq!(loads(&mut interpreter, source), Err(text), "{source}");
    }
    let before = interpreter.used_bytes();
    for _ in 0..100 {
        let functions =
            loads(&mut interpreter, "redis.register_function('f', function() return 1 end)");
        for function in functions.expect("because it is right") {
            interpreter.forget(function.script);
        }
    }
    while !interpreter.collect_step() {}
    assert!(interpreter.used_bytes() < before + 20_000, "libraries that are forgotten are freed");
}

#[test]
fn functions_get_keys_and_arguments() {
    let mut interpreter = Interpreter::new();
    let source = "local lib = redis
        local count = 0
        lib.register_function('f', function(keys, args)
            count = count + 1
            return {keys[1], args[1], redis.call('echo', 'x'), math.floor(1.5), count}
        end)
        lib.register_function('keys', function() return KEYS end)
        lib.register_function('late', function() return lib.register_function('g', print) end)
        lib.register_function('chunk', function() return loadstring('return KEYS')() end)
        lib.register_function('set', function() lib.math = math end)";
    let functions = loads(&mut interpreter, source).expect("because it is right");
    let script = interpreter.compile(b"return KEYS[1]").expect("because it is Lua");
    let run = |interpreter: &mut Interpreter, script: &basalt_scripting::Script| {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        let _ = run_with(interpreter, (script, "f"), (&[b"k"], &[b"a"]), &mut reply);
        escaped(&out)
    };
    let mut shown: Vec<String> = Vec::new();
    for index in [0, 1, 2, 3, 4] {
        // Scripts before it leave nothing that a function would find.
        assert_eq!(run(&mut interpreter, &script), "$1\\r\\nk\\r\\n");
        shown.push(run(&mut interpreter, &functions[index].script));
        // Nor does a function hide anything from a script that is new.
        let new = interpreter.compile(b"return {KEYS[1], ARGV[1], loadstring('return KEYS[1]')()}");
        let new = new.expect("because it is Lua");
        assert_eq!(
            run(&mut interpreter, &new),
            "*3\\r\\n$1\\r\\nk\\r\\n$1\\r\\na\\r\\n$1\\r\\nk\\r\\n"
        );
        interpreter.forget(new);
    }
    let missing = "Script attempted to access nonexistent global variable 'KEYS'";
    assert_eq!(
        shown,
        [
            "*5\\r\\n$1\\r\\nk\\r\\n$1\\r\\na\\r\\n$1\\r\\nx\\r\\n:1\\r\\n:1\\r\\n".to_owned(),
            format!("-ERR user_function:7: {missing} script: f, on @user_function:7.\\r\\n"),
            "-ERR user_function:8: Script attempted to access nonexistent global variable 'print' script: f, \
             on @user_function:8.\\r\\n"
                .to_owned(),
            format!("-ERR [string \"return KEYS\"]:1: {missing} script: f, on return KEYS:1.\\r\\n"),
            "-ERR user_function:10: Attempt to modify a readonly table script: f, on @user_function:10.\\r\\n"
                .to_owned(),
        ]
    );
}
