//! Requests that cannot run here, for want of a lead and of a permit: passed on, one hop, to a data plane that has one.

use std::{
    cmp::Reverse,
    future::pending,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use wire::{Fault, Operation};

use super::{Body, Inquiry, Worker, target};
use crate::{
    config::{Planes, Snapshot},
    dispatch::Lends,
    journal::Note,
    peer::address::{self, Address},
    provider::{self, Base},
    report::Outcome,
    route::Found,
    upstream::{UpstreamError, Wire},
};

mod passed;

pub use passed::Passed;

/// Data planes that one request is offered to at most.
const PEERS_MAX: usize = 8;
/// To connect to one.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
/// One that has the request is asked so often whether it lives: it may be long before there is an answer.
const LIFE_EVERY: Duration = Duration::from_secs(2);
/// It says so within this time.
const LIFE_WITHIN: Duration = Duration::from_secs(2);
/// The path of that question.
const LIFE: &str = "/healthz";

/// On a request: the id of the data plane that passes it on. It counts where other data planes knock, and nowhere else.
const BY: HeaderName = HeaderName::from_static("x-llmb-forwarded-by");
/// On a request that is passed on: the address of its client.
const CLIENT: HeaderName = HeaderName::from_static("x-llmb-forwarded-client");
/// On an answer: who gave it.
const TO: HeaderName = HeaderName::from_static("x-llmb-forwarded-to");
/// On an answer of 421: it is not that of a server, the request is to be offered to another data plane.
const DECLINED: HeaderName = HeaderName::from_static("x-llmb-declined");

/// A request that has been read.
#[derive(Debug)]
pub struct Parcel<'a> {
    /// By whom.
    pub inquiry: &'a Inquiry,
    /// What for.
    pub operation: Operation,
    /// As it came.
    pub method: &'a Method,
    /// As it came.
    pub uri: &'a Uri,
    /// As they came.
    pub headers: &'a HeaderMap,
    /// Unpacked.
    pub body: &'a Bytes,
    /// The model, hashed.
    pub asked: u64,
    /// What is noted of it.
    pub note: &'a Arc<Note>,
}

/// Whether a request can run at another data plane alone.
pub fn wanted(worker: &Worker, snapshot: &Snapshot, found: &Found) -> bool {
    // Most have no other.
    snapshot.planes.rows.len() > 1 && worker.shared.dispatch.lends(&found.numbered()) == Lends::Elsewhere
}

/// Returns when a request that waits here can run at another data plane alone, since the lead does not answer any more.
pub async fn stranded(worker: &Worker, found: &Found) {
    let shared = &worker.shared;
    let Some(mut lead) = shared.lead.get().cloned() else { return pending().await };
    // One that has been silent for longer was so when the request came.
    lead.mark_unchanged();
    while lead.changed().await.is_ok() {
        let silent = lead.borrow_and_update().is_some_and(|lead| lead.silent);
        if silent && wanted(worker, &shared.snapshot.load(), found) {
            return;
        }
    }
    pending().await
}

/// Offers the request to one data plane after another. `None`: none of those that are reached has a permit for it.
pub async fn forward(
    worker: &Rc<Worker>,
    snapshot: &Snapshot,
    parcel: Parcel<'_>,
    quiet_max: Duration,
) -> Option<Response<Body>> {
    let own = snapshot.planes.own?;
    let by = snapshot.planes.rows.iter().find(|row| row.number == own.plane).map(|row| &*row.id);
    let (id, report) = (&parcel.inquiry.id, &worker.shared.report);
    for (plane, base) in order(&snapshot.planes, (parcel.inquiry.key, parcel.asked), address::here()) {
        let request = || request(&parcel, by.unwrap_or_default());
        match offer(worker, &base, request).await {
            Ok((answer, wire)) if declined(&answer) => {
                report.forwarded(Outcome::Declined);
                if answer.body().is_end_stream() {
                    worker.pool.put(wire);
                }
            }
            Ok(answer) => {
                report.forwarded(Outcome::Answered);
                tracing::debug!(request_id = %id, plane, "passed on: no lead, and no permit here");
                return Some(passed::response(worker, &parcel, plane, answer, quiet_max));
            }
            Err(problem) => {
                report.forwarded(Outcome::Unreached);
                tracing::warn!(request_id = %id, plane, problem, "it could not be passed on there");
            }
        }
    }
    None
}

/// Who is offered a request of `key`, one after another: all data planes have the same order of the others, so that what
/// belongs together meets at one of them.
fn order(planes: &Planes, key: (u64, u64), here: Option<&str>) -> Vec<(String, Arc<Base>)> {
    let own = planes.own.map(|own| own.plane);
    let living = planes.rows.iter().filter(|row| row.dead_through < row.incarnation && !row.draining);
    let others = living.filter(|row| Some(row.number) != own);
    let mut found: Vec<_> = others
        .filter_map(|row| {
            let address = Address::of(&row.peer, here).ok()?;
            let base = Base::parse(&format!("http://{}", address.authority), None).ok()?;
            Some((row.id.clone(), Arc::new(base)))
        })
        .collect();
    found.sort_by_cached_key(|(id, _)| Reverse(weight(key, id)));
    found.truncate(PEERS_MAX);
    found
}

/// Rendezvous: the greatest comes first.
fn weight(key: (u64, u64), plane: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, plane).hash(&mut hasher);
    hasher.finish()
}

/// The request as it came, with who passes it on and for whom.
fn request(parcel: &Parcel<'_>, by: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(parcel.body.clone()));
    *request.method_mut() = parcel.method.clone();
    *request.uri_mut() = parcel.uri.clone();
    let mut headers = provider::headers_passed_on(parcel.headers);
    for name in [BY, CLIENT, TO, DECLINED] {
        headers.remove(name);
    }
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("?"));
    headers.insert(BY, value(by));
    headers.insert(CLIENT, value(&parcel.inquiry.from.to_string()));
    *request.headers_mut() = headers;
    request
}

type Answer = (Response<Incoming>, Wire);

/// Waits for the head of an answer as long as the other data plane lives.
async fn offer(
    worker: &Worker,
    base: &Arc<Base>,
    request: impl Fn() -> Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let words = |error: UpstreamError| error.to_string();
    tokio::select! {
        answer = worker.pool.send(base, request, CONNECT_WITHIN) => answer.map_err(words),
        problem = dead(worker, base) => Err(problem),
    }
}

/// Returns when a data plane that has a request does not say in time that it lives.
async fn dead(worker: &Worker, base: &Arc<Base>) -> String {
    let question = || {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = Uri::from_static(LIFE);
        request.headers_mut().insert(http::header::HOST, base.authority.clone());
        request.headers_mut().insert(BY, HeaderValue::from_static("?"));
        request
    };
    loop {
        tokio::time::sleep(LIFE_EVERY).await;
        let asked = worker.pool.send(base, question, CONNECT_WITHIN);
        match tokio::time::timeout(LIFE_WITHIN, asked).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "it does not answer any more".to_owned(),
        }
    }
}

fn declined(answer: &Response<Incoming>) -> bool {
    answer.status() == StatusCode::MISDIRECTED_REQUEST && answer.headers().contains_key(DECLINED)
}

/// What a request that another data plane passes on is answered without being read, if it is: it may only be a call, or
/// the question whether this one lives.
pub fn received(request: &Request<Incoming>, call: bool) -> Option<Response<Body>> {
    match request.headers().contains_key(BY) {
        true if request.uri().path() == LIFE => Some(target::json(200, "{}")),
        true if call => None,
        _ => Some(decline()),
    }
}

/// Whose request is passed on.
pub fn client(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(CLIENT)?.to_str().ok()?.parse().ok()
}

/// The answer to a request that is to be offered to another data plane.
pub fn decline() -> Response<Body> {
    let mut response = target::json(StatusCode::MISDIRECTED_REQUEST.as_u16(), Bytes::new());
    response.headers_mut().insert(DECLINED, HeaderValue::from_static("true"));
    response
}

/// Whether a fault is that of this data plane, so that another may do better.
pub fn concerns_us(fault: &Fault) -> bool {
    matches!(fault, Fault::Spare | Fault::Draining { .. })
}

#[cfg(test)]
mod tests {
    use sched::permit::{Incarnation, Member, PlaneId};

    use super::*;
    use crate::config::Plane;

    fn planes(own: u32, of: u32) -> Planes {
        let row = |number: u32| Plane {
            id: format!("plane-{number}"),
            number: PlaneId(number),
            incarnation: 2,
            peer: format!("10.0.0.{number}:8803"),
            dead_through: 1,
            draining: false,
            permits: true,
        };
        let own = Some(Member { plane: PlaneId(own), incarnation: Incarnation(2) });
        Planes { own, rows: (0..of).map(row).collect(), ..Planes::default() }
    }

    #[test]
    fn all_have_the_same_order_of_the_others_and_each_comes_first_for_some() {
        let mut first = std::collections::BTreeMap::<String, u32>::new();
        for key in 0..300 {
            let ids = |own| order(&planes(own, 4), (key, 9), None).into_iter().map(|(id, _)| id);
            let all: Vec<String> = ids(77).collect();
            for own in 0..4 {
                let others = all.iter().filter(|id| **id != format!("plane-{own}")).cloned();
                assert!(ids(own).eq(others), "{key} {own}");
            }
            *first.entry(all[0].clone()).or_default() += 1;
        }
        assert!(first.len() == 4 && first.values().all(|count| *count > 40), "{first:?}");
    }

    #[test]
    fn the_dead_who_drain_and_who_cannot_be_reached_are_left_out_and_many_are_too_many() {
        let mut some = planes(0, 5);
        some.rows[1].dead_through = 2;
        some.rows[2].draining = true;
        some.rows[3].peer = String::new();
        let left: Vec<String> = order(&some, (1, 1), None).into_iter().map(|(id, _)| id).collect();
        assert_eq!(left, ["plane-4"]);
        assert_eq!(order(&planes(0, 40), (1, 1), None).len(), PEERS_MAX);
    }
}
