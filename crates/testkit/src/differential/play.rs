//! Runs a list of requests on both servers, and finds the first difference in replies or in the
//! data.

use super::compare::{self, Verdict};
use super::{Link, Peer};
use crate::client::{Request, is_blocked, request};
use crate::process::Program;
use basalt_resp::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

/// The protocols of the connections of a run.
pub(super) const CLIENTS: [u8; 4] = [2, 3, 2, 3];

/// The databases that requests may select.
const DATABASES: [&str; 4] = ["0", "1", "2", "15"];

/// One request of a run.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Adjacent steps with the same number are sent as one pipeline.
    pub(super) batch: usize,
    /// Index in `CLIENTS`.
    pub(super) client: usize,
    pub(super) request: Request,
    /// It may block: it is sent alone, and its reply is read after the next batch, when blocked
    /// clients are unblocked.
    pub(super) may_wait: bool,
}

/// A reply, or why there is none.
pub(super) type Answer = Result<Value, String>;

/// Where the difference is: in a reply, or in the data afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// In the reply to the step with this index.
    Reply(usize),
    /// In the reply to this query of the keys after all steps.
    State,
}

#[derive(Debug)]
pub(super) struct Difference {
    pub(super) place: Where,
    /// How many steps had been sent when it was found. Replies to blocked steps are read later than
    /// others.
    pub(super) sent: usize,
    /// The request whose replies differ.
    pub(super) request: Request,
    pub(super) ours: Answer,
    pub(super) oracle: Answer,
}

/// The two servers.
pub(super) struct Players<'a> {
    pub(super) ours: &'a dyn Peer,
    pub(super) oracle: &'a dyn Peer,
}

/// The two connections of one client.
struct Pair {
    ours: Box<dyn Link>,
    oracle: Box<dyn Link>,
    /// The commands that both have queued since MULTI.
    queued: Vec<Request>,
    /// The replies to CLIENT ID.
    ids: [Option<i64>; 2],
}

/// A step that may be blocked: its client, and its index.
#[derive(Clone, Copy)]
struct MayWait {
    client: usize,
    at: usize,
}

/// Allowed differences that occurred, by reason.
pub(super) type AllowedCounts = BTreeMap<&'static str, usize>;

/// Why a run ends before its last step.
enum End {
    Different(Box<Difference>),
    /// An allowed difference after which a comparison is impossible.
    Parted,
}

impl From<Difference> for End {
    fn from(difference: Difference) -> Self {
        Self::Different(Box::new(difference))
    }
}

/// Compares the replies of one run.
struct Referee<'a> {
    programs: (Program, Program),
    began: Instant,
    /// The number of sent steps.
    sent: usize,
    allowed: &'a mut AllowedCounts,
}

impl<'a> Referee<'a> {
    #[expect(clippy::disallowed_methods, reason = "the oracle is a process and lives in real time")]
    fn new(players: &Players<'_>, allowed: &'a mut AllowedCounts) -> Self {
        let programs = (players.ours.program(), players.oracle.program());
        Referee { programs, began: Instant::now(), sent: 0, allowed }
    }

    fn judge(
        &mut self,
        place: Where,
        request: &Request,
        (ours, oracle): (Answer, Answer),
    ) -> Result<(), End> {
        // A run starts on empty servers: times that one server counts from a moment of the run, the
        // other does as well.
        let lag = self.began.elapsed();
        match compare::compare(request, (&ours, &oracle), self.programs, lag) {
            Verdict::Equal => Ok(()),
            Verdict::Allowed(why) => {
                *self.allowed.entry(why).or_default() += 1;
                Ok(())
            }
            Verdict::Parting(why) => {
                *self.allowed.entry(why).or_default() += 1;
                Err(End::Parted)
            }
            Verdict::Different => {
                let (sent, request) = (self.sent, request.clone());
                Err(Difference { place, sent, request, ours, oracle }.into())
            }
        }
    }
}

impl Players<'_> {
    /// Whether the replies of both are not errors.
    pub(super) fn both_know(&self, probe: &Request) -> bool {
        let Ok(mut pair) = self.connect(2) else { return false };
        let (ours, oracle) = pair.ask(probe);
        [ours, oracle].iter().all(|answer| !matches!(answer, Ok(Value::Error(_)) | Err(_)))
    }

    /// Empties both servers, runs all steps and compares every reply, then every key. Returns the
    /// number of steps.
    pub(super) fn play(
        &self,
        steps: &[Step],
        allowed: &mut AllowedCounts,
    ) -> Result<usize, Box<Difference>> {
        let mut referee = Referee::new(self, allowed);
        match self.play_all(steps, &mut referee) {
            Ok(()) | Err(End::Parted) => Ok(referee.sent),
            Err(End::Different(difference)) => Err(difference),
        }
    }

    fn play_all(&self, steps: &[Step], referee: &mut Referee<'_>) -> Result<(), End> {
        let mut inspector = self.connected(2)?;
        self.ask_both(&mut inspector, &request(&["FLUSHALL"]), referee)?;
        let mut pairs: Vec<Option<Pair>> = CLIENTS.iter().map(|_| None).collect();
        let mut at = 0;
        let mut waiting: Option<MayWait> = None;
        for batch in steps.chunk_by(|one, next| one.batch == next.batch) {
            let client = batch[0].client;
            if let Some(one) = waiting.take_if(|one| one.client == client || batch[0].may_wait) {
                self.end_wait(one, steps, &mut pairs, &mut inspector, referee)?;
            }
            let pair = match &mut pairs[client] {
                Some(pair) => pair,
                empty => empty.insert(self.connected(CLIENTS[client])?),
            };
            let requests: Vec<&Request> = batch.iter().map(|step| &step.request).collect();
            referee.sent += batch.len();
            let broken = [pair.ours.send(&requests), pair.oracle.send(&requests)];
            if batch[0].may_wait {
                pair.settle(&mut inspector);
                waiting = Some(MayWait { client, at });
                at += 1;
                continue;
            }
            let mut lost = broken.iter().any(Result::is_err);
            // Reads all replies, also after a difference: requests that a server has not processed
            // yet would otherwise run within the next run.
            let answers: Vec<(Answer, Answer)> = requests.iter().map(|_| pair.receive()).collect();
            for (request, answers) in requests.iter().zip(answers) {
                lost |= answers.0.is_err() || answers.1.is_err();
                for (request, answers) in pair.answered(request, answers) {
                    referee.judge(Where::Reply(at), &request, answers)?;
                }
                at += 1;
            }
            if lost {
                // Both have closed (else it would be a difference): the next batch starts with a
                // new connection.
                pairs[client] = None;
            }
            if let Some(one) = waiting.take() {
                self.end_wait(one, steps, &mut pairs, &mut inspector, referee)?;
            }
        }
        if let Some(one) = waiting {
            self.end_wait(one, steps, &mut pairs, &mut inspector, referee)?;
        }
        self.compare_states(&mut inspector, referee)
    }

    /// Reads the replies to a step that may be blocked, after unblocking it.
    fn end_wait(
        &self,
        MayWait { client, at }: MayWait,
        steps: &[Step],
        pairs: &mut [Option<Pair>],
        inspector: &mut Pair,
        referee: &mut Referee<'_>,
    ) -> Result<(), End> {
        let Some(pair) = &mut pairs[client] else { return Ok(()) };
        for (link, id) in [&mut inspector.ours, &mut inspector.oracle].into_iter().zip(pair.ids) {
            let unblock = request(&["CLIENT", "UNBLOCK", &id.unwrap_or(0).to_string()]);
            let _ = link.send(&[&unblock]).and_then(|()| link.receive());
        }
        let answers = pair.receive();
        let is_lost = answers.0.is_err() || answers.1.is_err();
        for (request, answers) in pair.answered(&steps[at].request, answers) {
            referee.judge(Where::Reply(at), &request, answers)?;
        }
        if is_lost {
            pairs[client] = None;
        }
        Ok(())
    }

    fn compare_states(&self, pair: &mut Pair, referee: &mut Referee<'_>) -> Result<(), End> {
        for database in DATABASES {
            self.ask_both(pair, &request(&["SELECT", database]), referee)?;
            let keys = self.ask_both(pair, &request(&["KEYS", "*"]), referee)?;
            let Value::Array(keys) = keys else { continue };
            let keys: BTreeSet<&[u8]> = keys.iter().filter_map(Value::as_bytes).collect();
            for key in keys {
                for question in [&["TYPE"][..], &["GET"], &["OBJECT", "ENCODING"], &["PEXPIRETIME"]]
                {
                    let mut question = request(question);
                    question.push(key.to_vec());
                    self.ask_both(pair, &question, referee)?;
                }
            }
        }
        Ok(())
    }

    /// Queries both outside of the steps and returns our reply.
    fn ask_both(
        &self,
        pair: &mut Pair,
        request: &Request,
        referee: &mut Referee<'_>,
    ) -> Result<Value, End> {
        let (ours, oracle) = pair.ask(request);
        let value = ours.clone();
        referee.judge(Where::State, request, (ours, oracle))?;
        value.map_err(|why| {
            let gone = |why: &str| Err(why.to_owned());
            let (ours, oracle) = (gone(&why), gone(&why));
            Difference {
                place: Where::State,
                sent: referee.sent,
                request: request.clone(),
                ours,
                oracle,
            }
            .into()
        })
    }

    fn connect(&self, resp: u8) -> io::Result<Pair> {
        let (ours, oracle) = (self.ours.connect(resp)?, self.oracle.connect(resp)?);
        let mut pair = Pair { ours, oracle, queued: Vec::new(), ids: [None; 2] };
        let (ours, oracle) = pair.ask(&request(&["CLIENT", "ID"]));
        pair.ids = [ours, oracle].map(|id| match id {
            Ok(Value::Integer(id)) => Some(id),
            _ => None,
        });
        Ok(pair)
    }

    /// As `connect`; if only one server accepts connections, that is a difference.
    fn connected(&self, resp: u8) -> Result<Pair, End> {
        let answer = |peer: &dyn Peer| match peer.connect(resp) {
            Ok(_) => Ok(Value::simple("connected")),
            Err(error) => Err(error.to_string()),
        };
        self.connect(resp).map_err(|_| {
            let (ours, oracle) = (answer(self.ours), answer(self.oracle));
            let request = request(&["(connect)"]);
            Difference { place: Where::State, sent: 0, request, ours, oracle }.into()
        })
    }
}

impl Pair {
    /// Returns once both have replied or are blocked.
    fn settle(&mut self, inspector: &mut Pair) {
        let own = [&mut self.ours, &mut self.oracle].into_iter().zip(self.ids);
        for ((link, id), inspector) in own.zip([&mut inspector.ours, &mut inspector.oracle]) {
            let Some(id) = id else { continue };
            let ask = request(&["CLIENT", "LIST", "ID", &id.to_string()]);
            while matches!(link.has_reply(), Ok(false)) {
                let told = inspector.send(&[&ask]).and_then(|()| inspector.receive());
                if told.is_ok_and(|line| is_blocked(&line)) {
                    break;
                }
            }
        }
    }

    /// The replies to compare: those received, or those within EXEC's to queued commands.
    fn answered(
        &mut self,
        request: &Request,
        answers: (Answer, Answer),
    ) -> Vec<(Request, (Answer, Answer))> {
        let is_queued =
            |answer: &Answer| answer.as_ref().is_ok_and(|it| *it == Value::simple("QUEUED"));
        if is_queued(&answers.0) && is_queued(&answers.1) {
            self.queued.push(request.clone());
            return Vec::new();
        }
        let ends = [&b"EXEC"[..], b"DISCARD", b"RESET"];
        if !ends.iter().any(|name| request[0].eq_ignore_ascii_case(name)) {
            return vec![(request.clone(), answers)];
        }
        let queued = std::mem::take(&mut self.queued);
        match answers {
            (Ok(Value::Array(ours)), Ok(Value::Array(oracle)))
                if ours.len() == queued.len() && oracle.len() == queued.len() =>
            {
                let answers = ours.into_iter().map(Ok).zip(oracle.into_iter().map(Ok));
                queued.into_iter().zip(answers).collect()
            }
            answers => vec![(request.clone(), answers)],
        }
    }

    fn ask(&mut self, request: &Request) -> (Answer, Answer) {
        let sent = [self.ours.send(&[request]), self.oracle.send(&[request])];
        // If sending fails, receiving does as well: the error comes from there.
        let _ = sent;
        self.receive()
    }

    fn receive(&mut self) -> (Answer, Answer) {
        let answer = |link: &mut Box<dyn Link>| link.receive().map_err(|error| error.to_string());
        (answer(&mut self.ours), answer(&mut self.oracle))
    }
}
