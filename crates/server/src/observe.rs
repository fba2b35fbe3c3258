//! Observe: the metrics page for Prometheus, and whether the server is well.
//!
//!   Prometheus ──HTTP──► http ──► observe ──ask──► every shard, between two of its turns
//!                                    └──► page (what the shards said, as text)
//!
//! All of it runs on threads that are no shards. `docs/design/metrics.md` says why it is so.
//! Not here: what is counted (`engine::statistics`, `loop_stats`).

mod ask;
mod http;
mod page;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use basalt_commands::config::Config;

use crate::clock::Clock;
use crate::listen::{self, ListenError};
use crate::node::{Node, Stage};
use crate::serve::Serving;
use crate::statistics;
pub(crate) use ask::{Askers, Mailbox, Report, mailboxes};
use http::Reply;

/// The metrics page before anybody can see it.
#[derive(Debug)]
pub struct Page {
    listeners: Vec<TcpListener>,
}

/// Opens the sockets that `metrics-port` names, if it names any.
pub fn listen(config: &Config) -> Result<Page, ListenError> {
    Ok(Page { listeners: listen::for_metrics(config)? })
}

impl Page {
    /// Serves from now on, to the end of the process.
    pub fn serve(self, serving: &mut Serving) -> io::Result<()> {
        let Some(askers) = serving.take_askers() else { return Ok(()) };
        let seen = (0..serving.shard_count()).map(|_| None).collect();
        let observer = Arc::new(Observer { node: serving.node(), askers, seen: Mutex::new(seen) });
        let open = http::Open::default();
        for listener in self.listeners {
            let (observer, open) = (Arc::clone(&observer), Arc::clone(&open));
            http::serve(listener, open, observer.node.started, move |path| observer.reply(path))?;
        }
        Ok(())
    }
}

struct Observer {
    node: Arc<Node>,
    askers: Askers,
    /// What each shard reported last. Where one does not answer, that is told, and its counters stay as they
    /// were: if they vanished, all sums over shards would seem to start anew.
    seen: Mutex<Vec<Option<Arc<Report>>>>,
}

impl Observer {
    fn reply(&self, path: &str) -> Reply {
        match path {
            "/metrics" => self.metrics(),
            "/healthz" => self.health(),
            _ => Reply::text("404 Not Found", "There are /metrics and /healthz here.\n"),
        }
    }

    fn metrics(&self) -> Reply {
        let fresh = self.askers.reports(&self.node);
        let answers: Vec<bool> = fresh.iter().map(Option::is_some).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (seen, fresh) in seen.iter_mut().zip(fresh) {
            let is_newer = |new: &Arc<Report>| {
                seen.as_ref().is_none_or(|old| old.engine.at_us <= new.engine.at_us)
            };
            if let Some(fresh) = fresh.filter(is_newer) {
                *seen = Some(fresh);
            }
        }
        let reports: Option<Vec<Arc<Report>>> = seen.iter().cloned().collect();
        drop(seen);
        let Some(reports) = reports else {
            return Reply::text("503 Service Unavailable", silence(&answers));
        };
        let now_us = Clock::since(self.node.started).monotonic_us();
        let process = statistics::gather(&self.node, now_us);
        let view = page::View::new(&reports, &answers, process, now_us);
        Reply { status: "200 OK", kind: page::CONTENT_TYPE, body: view.render() }
    }

    fn health(&self) -> Reply {
        if self.node.stage() != Stage::Serving {
            return Reply::text("503 Service Unavailable", "The server is ending.\n");
        }
        let answers = self.askers.pulse(&self.node);
        if answers.iter().all(|answers| *answers) {
            Reply::text("200 OK", "ok\n")
        } else {
            Reply::text("503 Service Unavailable", silence(&answers))
        }
    }
}

/// Which shards said nothing, in words.
fn silence(answers: &[bool]) -> String {
    let silent = answers.iter().enumerate().filter(|(_, answers)| !**answers);
    let silent: Vec<String> = silent.map(|(shard, _)| shard.to_string()).collect();
    let within_ms = ask::ANSWER_WITHIN.as_millis();
    format!("These shards did not answer within {within_ms} ms: {}.\n", silent.join(", "))
}
