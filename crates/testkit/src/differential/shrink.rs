//! Shrinks thousands of requests to the few that still show a difference.

use super::Finding;
use super::play::{AllowedCounts, Answer, CLIENTS, Difference, Players, Step, Where};
use crate::print::{print, quoted};
use basalt_resp::Value;
use std::fmt::Write as _;

/// LIMIT: the number of reruns while shrinking.
const TRIALS_MAX: usize = 2000;

/// LIMIT: the printed length of an argument.
const SHOWN_BYTES: usize = 200;

/// Lengths that a long argument is cut to, if the difference stays. Numbers are shorter; cutting
/// one would change its meaning.
const SHORT_LENS: [usize; 2] = [30, 100];

pub(super) fn shrink(
    players: &Players<'_>,
    seed: u64,
    steps: Vec<Step>,
    found: &Difference,
) -> Finding {
    let mut shrinker =
        Shrinker { players, trials: 0, command: found.request[0].to_ascii_uppercase() };
    let mut steps = steps;
    match shrinker.differs(&steps) {
        Some(again) => {
            let again = shrinker.cut_to_hidden(&mut steps).unwrap_or(again);
            let difference = shrinker.cut_down(&mut steps, again);
            let text = describe(players, &steps, &difference);
            let requests = steps.into_iter().map(|step| step.request).collect();
            Finding { seed, requests, text }
        }
        None => {
            if let Where::Reply(index) = found.place {
                steps.truncate(index + 1);
            }
            steps.drain(..steps.len().saturating_sub(20));
            let text = "it did not happen again; these were the last requests:\n".to_owned()
                + &describe(players, &steps, found);
            Finding { seed, requests: steps.into_iter().map(|step| step.request).collect(), text }
        }
    }
}

struct Shrinker<'a> {
    players: &'a Players<'a>,
    trials: usize,
    /// The request whose replies differed. With requests missing, other commands may differ for
    /// other reasons.
    command: Vec<u8>,
}

impl Shrinker<'_> {
    fn differs(&mut self, steps: &[Step]) -> Option<Difference> {
        self.trials += 1;
        let difference = self.players.play(steps, &mut AllowedCounts::new()).err()?;
        difference.request[0].eq_ignore_ascii_case(&self.command).then_some(*difference)
    }

    /// Finds the first moment at which keys differ, which a reply may show much later, and cuts the
    /// steps there.
    fn cut_to_hidden(&mut self, steps: &mut Vec<Step>) -> Option<Difference> {
        let (mut same, mut differs, mut found) = (0, steps.len(), None);
        while differs - same > 1 {
            let middle = usize::midpoint(same, differs);
            self.trials += 1;
            match self.players.play(&steps[..middle], &mut AllowedCounts::new()) {
                Ok(_) => same = middle,
                Err(difference) => {
                    differs = middle;
                    found = Some(*difference);
                }
            }
        }
        let found = found.filter(|difference| difference.place == Where::State)?;
        self.command = found.request[0].to_ascii_uppercase();
        steps.truncate(differs);
        Some(found)
    }

    /// Removes what is not needed: all steps after the difference, then smaller and smaller pieces,
    /// then pipelining.
    fn cut_down(&mut self, steps: &mut Vec<Step>, mut difference: Difference) -> Difference {
        self.cut_after(steps, &difference);
        let mut piece = steps.len().div_ceil(2);
        while piece > 0 && self.trials < TRIALS_MAX {
            let mut removed = false;
            let mut at = 0;
            while at < steps.len() && self.trials < TRIALS_MAX {
                let mut fewer = steps.clone();
                fewer.drain(at..(at + piece).min(steps.len()));
                match self.differs(&fewer) {
                    Some(still) => {
                        *steps = fewer;
                        difference = still;
                        self.cut_after(steps, &difference);
                        removed = true;
                    }
                    None => at += piece,
                }
            }
            piece = if removed { piece.min(steps.len()) } else { piece / 2 };
        }
        difference = self.with_short_arguments(steps, difference);
        let mut alone = steps.clone();
        alone.iter_mut().enumerate().for_each(|(index, step)| step.batch = index);
        if let Some(still) = self.differs(&alone) {
            *steps = alone;
            difference = still;
        }
        difference
    }

    fn with_short_arguments(&mut self, steps: &mut [Step], mut last: Difference) -> Difference {
        for step in 0..steps.len() {
            for arg in 1..steps[step].request.len() {
                for len in SHORT_LENS {
                    let mut shorter = steps.to_vec();
                    let value = &mut shorter[step].request[arg];
                    if value.len() <= len || self.trials >= TRIALS_MAX {
                        break;
                    }
                    value.truncate(len);
                    if let Some(still) = self.differs(&shorter) {
                        steps.clone_from_slice(&shorter);
                        last = still;
                        break;
                    }
                }
            }
        }
        last
    }

    /// Steps after a wrong reply cannot be its cause.
    fn cut_after(&self, steps: &mut Vec<Step>, difference: &Difference) {
        if difference.place != Where::State {
            steps.truncate(difference.sent);
        }
    }
}

/// A transcript with the oracle's replies, and at its end our different reply.
fn describe(players: &Players<'_>, steps: &[Step], difference: &Difference) -> String {
    let (ours, oracle) = (players.ours.program().name(), players.oracle.program().name());
    let mut text = format!("{ours} and {oracle} differ.\n");
    let mut client = None;
    for (index, step) in steps.iter().enumerate() {
        if client != Some(step.client) {
            client = Some(step.client);
            let _ = writeln!(text, "@client resp{}-{}", CLIENTS[step.client], step.client);
        }
        let pipelined = index > 0 && steps[index - 1].batch == step.batch;
        let note = if pipelined { "# in one pipeline with the last one\n" } else { "" };
        let _ = writeln!(text, "{note}> {}", words(&step.request));
    }
    if difference.place == Where::State {
        let _ = writeln!(text, "# afterwards:\n> {}", words(&difference.request));
    }
    let _ =
        write!(text, "{oracle}: {}{ours}: {}", told(&difference.oracle), told(&difference.ours));
    text
}

fn told(answer: &Answer) -> String {
    match answer {
        Ok(Value::Error(text)) if !text.is_ascii() => format!("(error) {}\n", quoted(text)),
        Ok(value) => print(value),
        Err(why) => format!("(no reply: {why})\n"),
    }
}

fn words(request: &[Vec<u8>]) -> String {
    let plain = |word: &[u8]| {
        !word.is_empty()
            && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte))
    };
    let words: Vec<String> = request
        .iter()
        .map(|word| {
            let shown = &word[..word.len().min(SHOWN_BYTES)];
            let text = match plain(shown) {
                true => String::from_utf8_lossy(shown).into_owned(),
                false => quoted(shown),
            };
            match word.len() - shown.len() {
                0 => text,
                hidden => format!("{text}<{hidden} bytes more>"),
            }
        })
        .collect();
    words.join(" ")
}
