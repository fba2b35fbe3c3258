//! Tracking: the arguments of CLIENT TRACKING.

use super::ROW;
use super::client::{OFF, ON, OWN, on_or_off};
use crate::args::{Grammar, flag, integer, value};
use crate::argument::Argument;
use crate::command::{Command, EngineCommand, Run};
use crate::error::CommandError;

pub(super) const TRACKING: Command = Command {
    name: "client|tracking",
    since: "6.0.0",
    summary: "Turns the tracking of keys that this connection reads on or off.",
    arity: -3,
    flags: OWN,
    arguments: &[
        Argument::one_of("status", &[ON, OFF]),
        Argument::integer("client-id").after("REDIRECT").optional(),
        Argument::string("prefix").after("PREFIX").repeating_token().optional(),
        Argument::word("bcast", "BCAST").optional(),
        Argument::word("optin", "OPTIN").optional(),
        Argument::word("optout", "OPTOUT").optional(),
        Argument::word("noloop", "NOLOOP").optional(),
    ],
    run: Run::Engine(EngineCommand::ClientTracking),
    shows: r#"> CLIENT TRACKING OFF
OK
> CLIENT TRACKING maybe
(error) ERR syntax error
> CLIENT TRACKING ON PREFIX user:
(error) ERR PREFIX option requires BCAST mode to be enabled
> CLIENT TRACKING ON OPTIN OPTOUT
(error) ERR You can't specify both OPTIN mode and OPTOUT mode
"#,
    ..ROW
};

/// A parsed CLIENT TRACKING.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackingRequest<'a> {
    pub on: bool,
    /// The connection that gets the messages; the engine checks that it exists.
    pub redirect: Option<i64>,
    pub prefixes: Vec<&'a [u8]>,
    pub broadcast: bool,
    pub opt_in: bool,
    pub opt_out: bool,
    pub no_loop: bool,
}

#[derive(Clone, Copy)]
pub(super) enum TrackingOption {
    Redirect,
    Prefix,
    Broadcast,
    OptIn,
    OptOut,
    NoLoop,
}

pub(super) const TRACKING_OPTIONS: Grammar<TrackingOption> = Grammar(&[
    value("redirect", TrackingOption::Redirect),
    value("prefix", TrackingOption::Prefix),
    flag("bcast", TrackingOption::Broadcast),
    flag("optin", TrackingOption::OptIn),
    flag("optout", TrackingOption::OptOut),
    flag("noloop", TrackingOption::NoLoop),
]);

/// Parses CLIENT TRACKING's arguments, as far as possible without the session.
pub fn parse_client_tracking<'a>(
    args: &'a [&'a [u8]],
) -> Result<TrackingRequest<'a>, CommandError> {
    let mut asked = TrackingRequest::default();
    for option in TRACKING_OPTIONS.parse(&args[3..]) {
        match option? {
            (TrackingOption::Redirect, _) if asked.redirect.is_some() => {
                return Err(CommandError::text(
                    "ERR A client can only redirect to a single other client",
                ));
            }
            (TrackingOption::Redirect, values) => asked.redirect = Some(integer(values[0])?),
            (TrackingOption::Prefix, values) => asked.prefixes.push(values[0]),
            (TrackingOption::Broadcast, _) => asked.broadcast = true,
            (TrackingOption::OptIn, _) => asked.opt_in = true,
            (TrackingOption::OptOut, _) => asked.opt_out = true,
            (TrackingOption::NoLoop, _) => asked.no_loop = true,
        }
    }
    asked.on = on_or_off(args[2])?;
    if asked.on {
        asked.refuse_conflicts()?;
    }
    Ok(asked)
}

impl TrackingRequest<'_> {
    fn refuse_conflicts(&self) -> Result<(), CommandError> {
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err(CommandError::text("ERR PREFIX option requires BCAST mode to be enabled"));
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err(CommandError::text("ERR OPTIN and OPTOUT are not compatible with BCAST"));
        }
        if self.opt_in && self.opt_out {
            return Err(CommandError::text(
                "ERR You can't specify both OPTIN mode and OPTOUT mode",
            ));
        }
        for (index, prefix) in self.prefixes.iter().enumerate() {
            for other in &self.prefixes[index + 1..] {
                if prefix.starts_with(other) || other.starts_with(prefix) {
                    let before =
                        [b"ERR Prefix '", *prefix, b"' overlaps with another provided prefix '"];
                    let after = b"'. Prefixes for a single client must not overlap.";
                    return Err(CommandError::new([&before.concat(), *other, after].concat()));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_conflicts() {
        let refusal = |line: &str| {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            parse_client_tracking(&args).map(|_| ()).map_err(|error| error.to_string())
        };
        let refused = |text: &str| Err(format!("ERR {text}"));
        assert_eq!(refusal("client tracking on optin noloop redirect 5"), Ok(()));
        assert_eq!(refusal("client tracking off optin optout"), Ok(()));
        assert_eq!(refusal("client tracking on bcast prefix a prefix b"), Ok(()));
        assert_eq!(refusal("client tracking maybe"), refused("syntax error"));
        assert_eq!(refusal("client tracking on redirect"), refused("syntax error"));
        assert_eq!(
            refusal("client tracking on redirect x"),
            refused("value is not an integer or out of range")
        );
        assert_eq!(
            refusal("client tracking on redirect 1 redirect 2"),
            refused("A client can only redirect to a single other client")
        );
        assert_eq!(
            refusal("client tracking on prefix a"),
            refused("PREFIX option requires BCAST mode to be enabled")
        );
        assert_eq!(
            refusal("client tracking on bcast optin"),
            refused("OPTIN and OPTOUT are not compatible with BCAST")
        );
        assert_eq!(
            refusal("client tracking on bcast prefix a prefix ab"),
            refused(
                "Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client \
                 must not overlap."
            )
        );
    }
}
