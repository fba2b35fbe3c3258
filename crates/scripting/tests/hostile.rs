//! Scripts that mean harm end, harm no script after them, and give their memory back.

use basalt_resp::{Protocol, Reply};
use basalt_scripting::{Called, Host, Interpreter, Interrupt, LogLevel, Progress};

/// A shard that ends a script which asks too often whether it may go on.
struct Impatient {
    patience: u32,
}

const KILLED: &str = "Script killed by user with SCRIPT KILL.";

impl Host for Impatient {
    fn call(&mut self, _: &[&[u8]], _: Protocol, reply: &mut Vec<u8>) -> Called {
        reply.extend_from_slice(b"+OK\r\n");
        Called::Done
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn interrupt(&mut self) -> Interrupt {
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 { Interrupt::End(KILLED) } else { Interrupt::Continue }
    }

    fn cpu_seconds(&mut self) -> f64 {
        0.0
    }

    fn may_call(&mut self, _: &[&[u8]]) -> Option<bool> {
        Some(true)
    }
}

const MEMORY: usize = 16 << 20;

fn run(interpreter: &mut Interpreter, source: &str) -> String {
    run_for(interpreter, source, 400)
}

/// Runs a script that is ended after so many questions whether it may go on.
fn run_for(interpreter: &mut Interpreter, source: &str, patience: u32) -> String {
    let script = match interpreter.compile(source.as_bytes()) {
        Ok(script) => script,
        Err(text) => return format!("-{}", String::from_utf8_lossy(&text)),
    };
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, Protocol::Resp2);
    let mut host = Impatient { patience };
    interpreter.begin(&script, &[], &[]).expect("there is a stack");
    while interpreter.resume(&mut host) == Progress::Paused {}
    let _ = interpreter.finish("sha", &mut reply);
    interpreter.forget(script);
    let text = String::from_utf8_lossy(&out);
    text.chars().take(200).collect()
}

/// What a script may do afterwards, and whether memory came back.
fn is_well(interpreter: &mut Interpreter, after: &str) {
    let check = "local t = {3,1,2} table.sort(t) return {t[1], ('ab'):upper(), type(redis.call),
        cjson.encode({1}), #KEYS, ({pcall(error, 'x')})[2], ('x'):rep(3), math.floor(1.5)}";
    let answer = run(interpreter, check);
    let expected = "*8\r\n:1\r\n$2\r\nAB\r\n$8\r\nfunction\r\n$3\r\n[1]\r\n:0\r\n$1\r\nx\r\n$3\r\nxxx\r\n:1\r\n";
    assert_eq!(answer, expected, "after {after}");
    for _ in 0..2 {
        while !interpreter.collect_step() {}
    }
    let used = interpreter.used_bytes();
    assert!(used < 2 << 20, "{used} bytes are left after {after}");
}

#[test]
fn endless_scripts_are_ended() {
    let mut interpreter = Interpreter::with_memory(MEMORY);
    for source in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "xpcall(function() error('x') end, function() while true do end end)",
        "local function f() return pcall(f) end while true do f() end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "local f f = function() return coroutine.wrap(f)() end while true do pcall(f) end",
        "while true do redis.pcall('get', 'x') end",
        "for i = 1, 1e12 do local s = ('x'):rep(100000) end",
        "local s = ('a'):rep(300000) return s:find(('.-'):rep(150) .. 'b')",
        "local s = ('a'):rep(100000) return s:find('.-.-.-.-b')",
        "local s = ('a'):rep(100000) .. 'b' while true do s:gsub('a*c', '') end",
        "local s = ('a'):rep(100000) while true do s:find(('a'):rep(50000) .. 'b', 1, true) end",
        "local t = {} for i = 1, 100000 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
        "local t = {} for i = 1, 100000 do t[i] = -i end while true do table.sort(t, function(a, b) return a < b end) end",
        "table.sort({1,2,3,4,5,6}, function() while true do end end)",
        "return ('x'):gsub('x', function() while true do end end)",
        "return setmetatable({}, {__index = function() while true do end end}).x",
        "return load(function() return ' ' end)",
        "while true do loadstring('local a = 1')() end",
        "while true do cjson.decode('[1,2,3]') end",
        "while true do collectgarbage() end",
        "local t = {} for i = 1, 30 do t = {t, t} end return t",
        "local t = {} for i = 1, 30 do t = {t, t} end return cjson.encode(t)",
        "local a = {} a[1] = a a[2] = a return a",
    ] {
        let answer = run(&mut interpreter, source);
        let is_ended = answer.starts_with("-ERR") && !answer.contains("attempt to");
        assert!(is_ended, "{source}: {answer}");
        is_well(&mut interpreter, source);
    }
}

#[test]
fn what_would_take_too_much_memory_is_refused() {
    let mut interpreter = Interpreter::with_memory(MEMORY);
    for source in [
        "return ('x'):rep(1e10)",
        "return ('x'):rep(2^53)",
        "return ('x'):rep(15e6)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} while true do t = {t} end",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 1000 do t[i] = s end return table.concat(t)",
        "return ('x'):rep(1e5):gsub('x', ('y'):rep(1e5))",
        "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
        "local t = {} for i = 1, 100 do t[i] = ('x'):rep(1e6) end return cjson.encode(t)",
        "local t = {} local s = ('x'):rep(1e6) for i = 1, 100 do t[i] = s end return cmsgpack.pack(t)",
        "return struct.pack('c16000000', 'x')",
    ] {
        let answer = run_for(&mut interpreter, source, u32::MAX);
        let texts = ["not enough memory", "too large", "Missing bytes", "too short"];
        let is_refused = texts.iter().any(|text| answer.contains(text));
        assert!(answer.starts_with("-ERR") && is_refused, "{source}: {answer}");
        is_well(&mut interpreter, source);
    }
}

#[test]
fn depth_is_bounded() {
    let mut interpreter = Interpreter::with_memory(MEMORY);
    for source in [
        "local function f() return f() + 1 end return f()",
        "local function f() return pcall(f) end return f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
        "return loadstring(('('):rep(1e5) .. '1' .. (')'):rep(1e5))",
        "return cjson.decode(('['):rep(1e5))",
        "return cmsgpack.unpack(('\\145'):rep(1e5))",
        "return ('x'):rep(1e5):match(('(x'):rep(1000))",
        "return ('x'):rep(1e5):match(('x?'):rep(1e5) .. 'y')",
        "local a = {} a[1] = a return a",
        "local e = {} e.err = e error(e)",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function() return tostring(t) end return tostring(t)",
        "local function f(s) return s:gsub('.', f) end return f('x')",
        "return (('x'):gsub('x', function() return coroutine.yield() end))",
        "return unpack({}, 1, 1e8)",
        "return unpack({}, -2^31, 2^31 - 1)",
        "return string.byte(('x'):rep(1e6), 1, -1)",
    ] {
        let answer = run(&mut interpreter, source);
        assert!(!answer.is_empty(), "{source}");
        is_well(&mut interpreter, source);
    }
}

#[test]
fn nothing_is_left_for_the_next_script() {
    let mut interpreter = Interpreter::with_memory(MEMORY);
    for source in [
        "rawset(_G, 'x', 1)",
        "_G.redis = nil",
        "redis.call = nil",
        "rawset(redis, 'call', nil)",
        "table.insert(redis, 1)",
        "table.insert(_G, 1)",
        "setmetatable(_G, nil)",
        "setmetatable(string, {})",
        "string.upper = nil",
        "rawset(string, 'upper', nil)",
        "getmetatable('').__index = nil",
        "getmetatable('').__index.upper = nil",
        "rawset(getmetatable(''), '__index', nil)",
        "rawset(getmetatable('').__index, 'upper', nil)",
        "getmetatable(_G).__index = nil",
        "rawset(getmetatable(_G), '__index', nil)",
        "for k in pairs(_G) do _G[k] = nil end",
        "for k, v in pairs(_G) do if type(v) == 'table' then v.x = 1 end end",
        "local n, t = pairs(redis) t.call = nil",
        "local n, t = pairs(redis) rawset(t, 'call', nil)",
        "local k, v = next(_G) rawset(_G, k, nil)",
        "error(redis)",
        "error(string)",
        "redis.err = 'x' error(redis)",
        "setmetatable({}, getmetatable('')).x = 1",
        "setmetatable({}, {__index = redis}).x = 1 redis.x = 1",
        "collectgarbage('stop')",
        "collectgarbage('setpause', 100000)",
        "KEYS[1] = 'x' ARGV.n = 1",
        "return coroutine.wrap(function() redis.call = nil end)()",
        "table.sort(redis, function() return true end)",
        "string.gsub('call', '.*', redis)",
        "table.foreach(redis, function(k) redis[k] = nil end)",
    ] {
        run(&mut interpreter, source);
        is_well(&mut interpreter, source);
        let globals = run(
            &mut interpreter,
            "return rawget(_G, 'x') == nil and redis.x == nil and string.x == nil",
        );
        assert_eq!(globals, ":1\r\n", "after {source}");
    }
}

#[test]
fn binary_chunks_are_refused() {
    let mut interpreter = Interpreter::with_memory(MEMORY);
    for source in [
        "return loadstring(string.dump(function() return 1 end))",
        "local f = string.dump(function() return 1 end) return load(function() local g = f f = nil return g end)",
        "return loadstring('\\27Lua')",
    ] {
        assert_eq!(run(&mut interpreter, source), "$-1\r\n", "{source}");
    }
    assert!(interpreter.compile(b"\x1bLua").is_err());
    is_well(&mut interpreter, "binary chunks");
}

/// CVE-2025-49844: the parser's name of a chunk was freed while it parsed.
#[test]
fn parsing_survives_collections() {
    let mut interpreter = Interpreter::with_memory(MEMORY);
    let source = "for i = 1, 200 do
        local garbage = {} for j = 1, 200 do garbage[j] = ('g'):rep(j) .. i end
        loadstring(('local v%d = {'):format(i) .. ('\"text\" .. 1,'):rep(500) .. '}', 'name' .. i .. ('n'):rep(500))
    end return 1";
    assert_eq!(run(&mut interpreter, source), ":1\r\n");
    is_well(&mut interpreter, "many chunks");
}

#[test]
fn an_idle_interpreter_is_small() {
    let mut interpreter = Interpreter::new();
    while !interpreter.collect_step() {}
    assert!(interpreter.used_bytes() < 400 * 1024, "{} bytes", interpreter.used_bytes());
}
