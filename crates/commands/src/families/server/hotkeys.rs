//! HOTKEYS: which keys took the most time and the most bytes, measured for a while on request.

use basalt_resp::parse_i64;

use super::{ALWAYS, ROW};
use crate::argument::Argument;
use crate::command::{Command, EngineCommand, Flags, Run};
use crate::error::CommandError;

const HOTKEYS_ROW: Command =
    Command { since: "8.6.0", arity: 2, flags: Flags::ADMIN.or(Flags::NOSCRIPT), ..ROW };

pub(super) const HOTKEYS: Command = Command {
    name: "hotkeys",
    since: "8.6.0",
    summary: "A container for commands that measure which keys cost the most.",
    complexity: "That of the subcommand",
    arity: -2,
    subcommands: &[GET, HELP, RESET, START, STOP],
    shows: r#"@only ours
> HOTKEYS NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try HOTKEYS HELP.
"#,
    ..ROW
};

const GET: Command = Command {
    name: "hotkeys|get",
    summary: "Returns the keys that cost the most in the session of HOTKEYS that runs or ran last.",
    complexity: "O(K) for K keys returned",
    run: Run::Engine(EngineCommand::HotKeysGet),
    shows: r#"@only ours
> HOTKEYS GET
(nil)
"#,
    ..HOTKEYS_ROW
};

const HELP: Command = Command {
    name: "hotkeys|help",
    since: "8.6.1",
    summary: "Lists the subcommands.",
    flags: ALWAYS,
    run: Run::Engine(EngineCommand::HotKeysHelp),
    shows: r#"@only ours
> HOTKEYS HELP
<any text>1) HOTKEYS <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..HOTKEYS_ROW
};

const RESET: Command = Command {
    name: "hotkeys|reset",
    summary: "Forgets what was measured; the session must be stopped.",
    run: Run::Engine(EngineCommand::HotKeysReset),
    shows: r#"@only ours
> HOTKEYS START METRICS 1 CPU
OK
> HOTKEYS RESET
(error) ERR hotkey tracking session in progress, stop tracking first
> HOTKEYS STOP
OK
> HOTKEYS RESET
OK
"#,
    ..HOTKEYS_ROW
};

const START: Command = Command {
    name: "hotkeys|start",
    summary: "Starts to measure which keys take the most time (CPU) and the most bytes of requests and replies (NET).",
    arity: -2,
    arguments: &[
        Argument::block(
            "metrics",
            &[
                Argument::integer("count"),
                Argument::word("cpu", "CPU").optional(),
                Argument::word("net", "NET").optional(),
            ],
        )
        .after("METRICS"),
        Argument::integer("k").after("COUNT").optional(),
        Argument::integer("seconds").after("DURATION").optional(),
        Argument::integer("ratio").after("SAMPLE").optional(),
        Argument::block(
            "slots",
            &[Argument::integer("count"), Argument::integer("slot").multiple()],
        )
        .after("SLOTS")
        .optional(),
    ],
    run: Run::Engine(EngineCommand::HotKeysStart),
    shows: r#"@only ours
> HOTKEYS START METRICS 2 CPU NET COUNT 5 SAMPLE 1
OK
> HOTKEYS START METRICS 1 CPU
(error) ERR hotkey tracking session already in progress
> HOTKEYS STOP
OK
> HOTKEYS RESET
OK
"#,
    ..HOTKEYS_ROW
};

const STOP: Command = Command {
    name: "hotkeys|stop",
    summary: "Stops to measure; HOTKEYS GET still returns what was found.",
    run: Run::Engine(EngineCommand::HotKeysStop),
    shows: r#"@only ours
> HOTKEYS STOP
(nil)
"#,
    ..HOTKEYS_ROW
};

/// What HOTKEYS START asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotKeysRequest {
    pub cpu: bool,
    pub net: bool,
    /// How many keys are returned of each metric.
    pub count: usize,
    /// 0: until HOTKEYS STOP.
    pub duration_ms: u64,
    /// One call in so many is measured.
    pub sample_ratio: u32,
    /// In order; none: all.
    pub slots: Vec<u16>,
}

/// Parses the arguments of HOTKEYS START, with Redis' errors in Redis' order.
///
/// SLOTS is allowed outside of a cluster, unlike in Redis: keys have slots here in any case.
///
/// # Errors
/// Redis' texts (`hotkeys.c`).
pub fn parse_hotkeys_start(args: &[&[u8]]) -> Result<HotKeysRequest, CommandError> {
    const METRICS_MAX: i64 = 2;
    if args.len() < 4 || !args[2].eq_ignore_ascii_case(b"METRICS") {
        return Err(CommandError::text("ERR METRICS parameter is required"));
    }
    let metrics = ranged(args[3], METRICS_MAX, "ERR METRICS count must be > 0 and <= 2")? as usize;
    let (mut cpu, mut net) = (false, false);
    let given = args[4..].iter().take(metrics);
    let has_all = given.len() == metrics;
    for metric in given {
        // Words that are not known are passed over: they may be of a later version.
        if metric.eq_ignore_ascii_case(b"CPU") && std::mem::replace(&mut cpu, true) {
            return Err(CommandError::text("ERR METRICS CPU defined more than once!"));
        }
        if metric.eq_ignore_ascii_case(b"NET") && std::mem::replace(&mut net, true) {
            return Err(CommandError::text("ERR METRICS NET defined more than once!"));
        }
    }
    if !has_all {
        let text = "ERR METRICS count does not match number of metric types provided";
        return Err(CommandError::text(text));
    }
    if !cpu && !net {
        let text = "ERR METRICS no valid metrics passed. Supported: CPU|NET";
        return Err(CommandError::text(text));
    }
    let (count, duration_ms, sample_ratio, slots) = (10, 0, 1, Vec::new());
    let mut request = HotKeysRequest { cpu, net, count, duration_ms, sample_ratio, slots };
    let mut rest = &args[4 + metrics..];
    while let Some((word, values)) = rest.split_first() {
        let Some((value, behind)) = values.split_first() else {
            return Err(CommandError::SYNTAX);
        };
        rest = behind;
        if word.eq_ignore_ascii_case(b"COUNT") {
            request.count = ranged(value, 64, "ERR COUNT must be between 1 and 64")? as usize;
        } else if word.eq_ignore_ascii_case(b"DURATION") {
            let text = "ERR DURATION must be between 1 and 1000000";
            request.duration_ms = ranged(value, 1_000_000, text)? * 1000;
        } else if word.eq_ignore_ascii_case(b"SAMPLE") {
            let text = "ERR SAMPLE ratio must be positive";
            request.sample_ratio = ranged(value, i64::from(i32::MAX), text)? as u32;
        } else if word.eq_ignore_ascii_case(b"SLOTS") {
            if !request.slots.is_empty() {
                return Err(CommandError::text("ERR SLOTS parameter already specified"));
            }
            (request.slots, rest) = parse_slots(value, behind)?;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    Ok(request)
}

/// A number from 1 to `max`.
fn ranged(text: &[u8], max: i64, error: &'static str) -> Result<u64, CommandError> {
    let number = parse_i64(text).filter(|number| (1..=max).contains(number));
    number.map(i64::unsigned_abs).ok_or(CommandError::text(error))
}

type Slots<'a, 'b> = (Vec<u16>, &'a [&'b [u8]]);

/// The slots, in order, and the arguments behind them.
fn parse_slots<'a, 'b>(count: &[u8], args: &'a [&'b [u8]]) -> Result<Slots<'a, 'b>, CommandError> {
    const SLOTS: i64 = basalt_keyspace::SLOTS as i64;
    let count = ranged(count, SLOTS, "ERR SLOTS count must be between 1 and 16384")? as usize;
    let Some((given, rest)) = args.split_at_checked(count) else {
        return Err(CommandError::text("ERR not enough slot numbers provided"));
    };
    let mut seen = [false; SLOTS as usize];
    for text in given {
        let slot = parse_i64(text).filter(|slot| (0..SLOTS).contains(slot));
        let slot = slot.ok_or(CommandError::text("ERR Invalid or out of range slot"))?;
        if std::mem::replace(&mut seen[slot as usize], true) {
            return Err(CommandError::text("ERR duplicate slot number"));
        }
    }
    Ok(((0..).zip(seen).filter(|(_, is_given)| *is_given).map(|(slot, _)| slot).collect(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<HotKeysRequest, String> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        parse_hotkeys_start(&args)
            .map_err(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    #[test]
    fn what_is_asked_for() {
        let plain = parse("hotkeys start METRICS 1 cpu").expect("as in the manual");
        let slots = Vec::new();
        let expected = HotKeysRequest {
            cpu: true,
            net: false,
            count: 10,
            duration_ms: 0,
            sample_ratio: 1,
            slots,
        };
        assert_eq!(plain, expected);
        let all = "hotkeys start metrics 2 NET CPU COUNT 64 DURATION 3 SAMPLE 7 SLOTS 3 10 5 6";
        let expected = HotKeysRequest {
            cpu: true,
            net: true,
            count: 64,
            duration_ms: 3000,
            sample_ratio: 7,
            slots: vec![5, 6, 10],
        };
        assert_eq!(parse(all), Ok(expected));
        let later = parse("hotkeys start METRICS 2 GPU CPU").expect("one is known");
        assert!(later.cpu && !later.net);
    }

    #[test]
    fn what_is_refused() {
        for (line, error) in [
            ("hotkeys start", "METRICS parameter is required"),
            ("hotkeys start METRICS", "METRICS parameter is required"),
            ("hotkeys start METRICS 0", "METRICS count must be > 0 and <= 2"),
            ("hotkeys start METRICS x CPU", "METRICS count must be > 0 and <= 2"),
            ("hotkeys start METRICS 3 CPU NET", "METRICS count must be > 0 and <= 2"),
            (
                "hotkeys start METRICS 2 CPU",
                "METRICS count does not match number of metric types provided",
            ),
            ("hotkeys start METRICS 2 CPU cpu", "METRICS CPU defined more than once!"),
            ("hotkeys start METRICS 2 NET NET", "METRICS NET defined more than once!"),
            ("hotkeys start METRICS 1 GPU", "METRICS no valid metrics passed. Supported: CPU|NET"),
            ("hotkeys start METRICS 1 CPU NET", "syntax error"),
            ("hotkeys start METRICS 1 CPU COUNT", "syntax error"),
            ("hotkeys start METRICS 1 CPU COUNT 65", "COUNT must be between 1 and 64"),
            ("hotkeys start METRICS 1 CPU DURATION 0", "DURATION must be between 1 and 1000000"),
            ("hotkeys start METRICS 1 CPU SAMPLE 0", "SAMPLE ratio must be positive"),
            ("hotkeys start METRICS 1 CPU SLOTS 0", "SLOTS count must be between 1 and 16384"),
            ("hotkeys start METRICS 1 CPU SLOTS 2 1", "not enough slot numbers provided"),
            ("hotkeys start METRICS 1 CPU SLOTS 1 16384", "Invalid or out of range slot"),
            ("hotkeys start METRICS 1 CPU SLOTS 1 -1", "Invalid or out of range slot"),
            ("hotkeys start METRICS 1 CPU SLOTS 2 4 4", "duplicate slot number"),
            (
                "hotkeys start METRICS 1 CPU SLOTS 1 4 SLOTS 1 5",
                "SLOTS parameter already specified",
            ),
        ] {
            assert_eq!(parse(line), Err(format!("ERR {error}")), "{line}");
        }
    }
}
