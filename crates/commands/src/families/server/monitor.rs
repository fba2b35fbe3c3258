//! MONITOR, and the format of its output.

use super::slowlog::is_password;
use super::{ALWAYS, ROW};
use crate::command::{Command, EngineCommand, Flags, Run};
use crate::config::quoted_word;

pub(super) const MONITOR: Command = Command {
    name: "monitor",
    since: "1.0.0",
    summary: "Sends this connection every request that the server processes.",
    complexity: "",
    arity: 1,
    flags: ALWAYS.or(Flags::ADMIN).or(Flags::NOSCRIPT),
    run: Run::Engine(EngineCommand::Monitor),
    shows: r#"> MONITOR
OK
> GET key
(error) ERR Replica can't interact with the keyspace
> RESET
RESET
> GET key
(nil)
"#,
    ..ROW
};

/// Whether monitors see a command at all: not those for administrators. Those that run scripts are skipped in Redis only
/// to show themselves, before what they run (eval.c, `evalCommand`).
pub fn is_shown_to_monitors(command: &Command) -> bool {
    !command.flags.has(Flags::ADMIN)
}

/// Writes the line of a request: time, database, client and arguments, without passwords.
pub fn write_monitor_line(
    out: &mut Vec<u8>,
    at_us: u64,
    (database, address): (u16, &str),
    command: &Command,
    args: &[&[u8]],
) {
    let (seconds, us) = (at_us / 1_000_000, at_us % 1_000_000);
    out.extend_from_slice(format!("+{seconds}.{us:06} [{database} {address}]").as_bytes());
    for (index, arg) in args.iter().enumerate() {
        out.push(b' ');
        let arg = if is_password(command, args, index) { b"(redacted)" } else { *arg };
        out.extend_from_slice(&quoted_word(arg));
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    fn line(args: &[&[u8]]) -> String {
        let command = table::find(args[0]).expect("it has a row");
        let mut out = Vec::new();
        write_monitor_line(&mut out, 1_500_000_000_000_042, (3, "1.2.3.4:5"), command, args);
        String::from_utf8(out).expect("all else is escaped")
    }

    #[test]
    fn lines_are_as_redis_writes_them() {
        assert_eq!(
            line(&[b"SET", b"k", b"a\0\xc3\"\n\\ '"]),
            "+1500000000.000042 [3 1.2.3.4:5] \"SET\" \"k\" \"a\\x00\\xc3\\\"\\n\\\\ '\"\r\n"
        );
        assert!(line(&[b"AUTH", b"me", b"secret"]).ends_with("\"(redacted)\" \"(redacted)\"\r\n"));
    }
}
