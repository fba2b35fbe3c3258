//! CL.THROTTLE: the generic cell rate algorithm (GCRA), as redis-cell and Dragonfly define it.
//!
//! The key holds the theoretical arrival time of the next request, in Unix nanoseconds; it expires then.

use basalt_keyspace::{Content, Effect};
use basalt_resp::parse_i64;

use super::number::COUNT_ROW;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Run};
use crate::error::CommandError;

pub(super) const CL_THROTTLE: Command = Command {
    name: "cl.throttle",
    since: "4.0.0",
    summary: "Takes tokens from a bucket that refills at a steady rate; returns whether there were enough.",
    arity: -5,
    arguments: &[
        Argument::KEY,
        Argument::integer("max-burst"),
        Argument::integer("count"),
        Argument::integer("period"),
        Argument::integer("quantity").optional(),
    ],
    run: Run::Shard(cl_throttle),
    shows: r#"@skip-oracle a command of redis-cell and Dragonfly
> CL.THROTTLE user 1 30 60
1) (integer) 0
2) (integer) 2
3) (integer) 1
4) (integer) -1
5) (integer) 2
> CL.THROTTLE user 1 30 60
1) (integer) 0
2) (integer) 2
3) (integer) 0
4) (integer) -1
5) (integer) <between 3 4>
> CL.THROTTLE user 1 30 60
1) (integer) 1
2) (integer) 2
3) (integer) 0
4) (integer) <between 1 2>
5) (integer) <between 3 4>
> CL.THROTTLE user 1 30 60 3
1) (integer) 1
2) (integer) 2
3) (integer) 0
4) (integer) -1
5) (integer) <between 3 4>
> CL.THROTTLE user 1 1 0
(error) ERR zero rates are not supported
> CL.THROTTLE user 1 0 1
(error) ERR value is not an integer or out of range
"#,
    ..COUNT_ROW
};

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_SECOND: i64 = 1_000_000_000;

/// A bucket's properties, and how much a request takes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    /// The tokens of a full bucket.
    limit: i64,
    /// The time in which one token comes back; not 0.
    interval_ns: i64,
    /// The time in which an empty bucket fills: `limit` intervals.
    fill_ns: i64,
    /// The time in which the tokens that are asked for come back.
    cost_ns: i64,
}

/// The answer, and the arrival time to be stored, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    is_limited: bool,
    remaining: i64,
    /// Until as many tokens will be there; `None` if they are, or never will.
    retry_after_ns: Option<i64>,
    /// Until the bucket is full.
    reset_after_ns: i64,
    arrival_ns: Option<i64>,
}

fn parse(args: &[&[u8]]) -> Result<Request, CommandError> {
    let number = |text: &[u8]| parse_i64(text).filter(|number| *number >= 0);
    let numbers = (|| {
        let quantity = args.get(5).map_or(Some(1), |text| number(text))?;
        Some([number(args[2])?, number(args[3])?, number(args[4])?, quantity])
    })();
    let [max_burst, count, period, quantity] = numbers.ok_or(CommandError::NOT_INTEGER)?;
    if count == 0 {
        return Err(CommandError::NOT_INTEGER);
    }
    let interval = i128::from(period) * i128::from(NS_PER_SECOND) / i128::from(count);
    let interval_ns = i64::try_from(interval).map_err(|_| CommandError::NOT_INTEGER)?;
    if interval_ns == 0 {
        return Err(CommandError::text("ERR zero rates are not supported"));
    }
    let products = (|| {
        let limit = max_burst.checked_add(1)?;
        Some((limit, interval_ns.checked_mul(limit)?, interval_ns.checked_mul(quantity)?))
    })();
    let (limit, fill_ns, cost_ns) = products.ok_or(CommandError::NOT_INTEGER)?;
    Ok(Request { limit, interval_ns, fill_ns, cost_ns })
}

impl Request {
    /// What becomes of it at a moment, with the arrival time that is stored. `None` if a time is beyond what an
    /// integer holds.
    fn judge(&self, stored_ns: Option<i64>, now_ns: i64) -> Option<Verdict> {
        let before_ns = stored_ns.unwrap_or(now_ns).max(now_ns);
        let after_ns = before_ns.checked_add(self.cost_ns)?;
        let early_ns = after_ns.checked_sub(self.fill_ns)?.checked_sub(now_ns)?;
        let is_limited = early_ns > 0;
        let reset_after_ns = if is_limited { before_ns } else { after_ns }.checked_sub(now_ns)?;
        let left_ns = self.fill_ns.checked_sub(reset_after_ns)?;
        Some(Verdict {
            is_limited,
            remaining: left_ns.max(0) / self.interval_ns,
            retry_after_ns: (is_limited && self.cost_ns <= self.fill_ns).then_some(early_ns),
            reset_after_ns,
            arrival_ns: (!is_limited && self.cost_ns > 0).then_some(after_ns),
        })
    }
}

/// Whole seconds, rounded up: who comes back after them does not come too early.
fn seconds(ns: i64) -> i64 {
    ns / NS_PER_SECOND + i64::from(ns % NS_PER_SECOND > 0)
}

fn cl_throttle(call: &mut Call<'_>) -> Outcome {
    if call.args.len() > 6 {
        return Err(CommandError::wrong_arity(CL_THROTTLE.name));
    }
    let request = parse(call.args)?;
    let now_ms = call.keyspace.now_ms();
    let now_ns = i64::try_from(now_ms.saturating_mul(NS_PER_MS)).unwrap_or(i64::MAX);
    let edit = call.keyspace.edit(call.database, &call.key);
    let stored_ns = match edit.entry().map(|entry| super::content(&entry).map(integer_of)) {
        None => None,
        Some(number) => Some(number?.ok_or(CommandError::NOT_INTEGER)?),
    };
    let verdict = request.judge(stored_ns, now_ns).ok_or(CommandError::NOT_INTEGER)?;
    if let Some(arrival_ns) = verdict.arrival_ns {
        let expire_at_ms = u64::try_from(arrival_ns).unwrap_or(0).div_ceil(NS_PER_MS);
        edit.commit(Effect::SetInteger { value: arrival_ns, expire_at_ms: Some(expire_at_ms) });
    }
    let reply = &mut call.reply;
    reply.array(5);
    reply.integer(verdict.is_limited.into());
    reply.integer(request.limit);
    reply.integer(verdict.remaining);
    reply.integer(verdict.retry_after_ns.map_or(-1, seconds));
    reply.integer(seconds(verdict.reset_after_ns));
    Ok(())
}

fn integer_of(content: Content<'_>) -> Option<i64> {
    match content {
        Content::Integer(value) => Some(value),
        Content::Bytes(text) => parse_i64(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Request, CommandError> {
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        parse(&[&[&b"CL.THROTTLE"[..], b"key"], words.as_slice()].concat())
    }

    /// The cases of redis-cell's own test, one token a second, a bucket of five.
    #[test]
    fn requests_are_limited_as_by_redis_cell() {
        const SECOND: i64 = NS_PER_SECOND;
        const NEVER: i64 = -SECOND;
        let mut stored_ns = None;
        for (now_ms, quantity, remaining, reset_ms, retry_ns, is_limited) in [
            (0, 6, 5, 0, NEVER, true),
            (0, 1, 4, 1000, NEVER, false),
            (0, 1, 3, 2000, NEVER, false),
            (0, 1, 2, 3000, NEVER, false),
            (0, 1, 1, 4000, NEVER, false),
            (0, 1, 0, 5000, NEVER, false),
            (0, 1, 0, 5000, SECOND, true),
            (3000, 1, 2, 3000, NEVER, false),
            (3100, 1, 1, 3900, NEVER, false),
            (4000, 1, 1, 4000, NEVER, false),
            (8000, 1, 4, 1000, NEVER, false),
            (9500, 1, 4, 1000, NEVER, false),
            (9500, 0, 4, 1000, NEVER, false),
            (9500, 2, 2, 3000, NEVER, false),
            (9500, 5, 2, 3000, 3 * SECOND, true),
        ] {
            let now_ns = (1_000_000 + now_ms) * NS_PER_MS as i64;
            let request = request(&format!("4 1 1 {quantity}")).unwrap();
            let verdict = request.judge(stored_ns, now_ns).unwrap();
            let retry_after_ns = (retry_ns > 0).then_some(retry_ns);
            let expected = Verdict {
                is_limited,
                remaining,
                retry_after_ns,
                reset_after_ns: reset_ms * NS_PER_MS as i64,
                arrival_ns: verdict.arrival_ns,
            };
            assert_eq!(verdict, expected, "at {now_ms} ms, {quantity} tokens");
            stored_ns = verdict.arrival_ns.or(stored_ns);
        }
    }

    #[test]
    fn numbers_beyond_what_an_integer_holds_are_refused() {
        let max = i64::MAX;
        for text in [
            "-1 1 1",
            "1 -1 1",
            "1 1 -1",
            "1 1 1 -1",
            "1 0 1",
            "x 1 1",
            "1 1 1 x",
            &format!("{max} 1 1"),
            &format!("1 1 {max}"),
            &format!("1 1 1 {max}"),
            &format!("{} 1000000000 1 1", max - 1).replace("1000000000", "100000000"),
        ] {
            assert_eq!(request(text), Err(CommandError::NOT_INTEGER), "{text}");
        }
        assert!(request(&format!("1 {max} 1")).unwrap_err().to_string().contains("zero rates"));
        let largest = request(&format!("{} 1000000000 1", max - 1)).unwrap();
        assert_eq!(largest.limit, max);
        assert_eq!(largest.judge(Some(max), 1).map(|verdict| verdict.is_limited), None);
        assert!(!largest.judge(None, 1).unwrap().is_limited);
    }

    #[test]
    fn an_arrival_time_in_the_past_is_a_full_bucket() {
        let verdict = request("4 1 1").unwrap().judge(Some(7), 1_000 * NS_PER_SECOND).unwrap();
        assert_eq!((verdict.remaining, verdict.reset_after_ns), (4, NS_PER_SECOND));
        let verdict = request("4 1 1 9").unwrap().judge(Some(i64::MIN), NS_PER_SECOND).unwrap();
        assert_eq!((verdict.remaining, verdict.reset_after_ns), (5, 0));
    }
}
