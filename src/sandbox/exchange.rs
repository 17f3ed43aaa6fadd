//! The edge to actix-web: turns its requests into calls and replies into its responses, hangs up where a reply says so, writes the log.
//! Owns what is below FHIR: the `Date` header, compression, held answers, closed connections.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, DATE, HeaderName, HeaderValue, VARY};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;

use crate::answer::{Answer, Body, Reply};
use crate::call::Call;
use crate::ehr::Ehr;
use crate::faults::FaultKind;
use crate::instant::{SECOND, http_date};
use crate::request_log::RequestRecord;

/// A second handle to a connection's socket, with which it can be closed before an answer is written.
pub(crate) struct Line {
    socket: std::net::TcpStream,
    /// Closed at accept. The system may have received a request by then, which must not be answered.
    refused: bool,
}

impl Line {
    /// The handle for a new connection; none where the system gives no second descriptor.
    pub(crate) fn of(connection: &actix_web::rt::net::TcpStream, ehr: &Ehr) -> Option<Self> {
        let descriptor = std::os::fd::AsFd::as_fd(connection).try_clone_to_owned().ok()?;
        let refused = ehr.faults.take("", "", |kind| *kind == FaultKind::ClosedAtAccept).is_some();
        let line = Self { socket: descriptor.into(), refused };
        if refused {
            line.hang_up();
        }
        Some(line)
    }

    fn hang_up(&self) {
        // It fails only where the client has gone already.
        let _gone = self.socket.shutdown(Shutdown::Both);
    }

    /// Makes the closing of the connection a reset.
    fn end_with_reset(&self) -> std::io::Result<()> {
        actix_web::rt::net::TcpStream::from_std(self.socket.try_clone()?)?.set_zero_linger()
    }
}

/// Answers every request.
pub(crate) async fn answer(request: HttpRequest, body: Bytes, ehr: Data<Arc<Ehr>>) -> HttpResponse {
    let line = request.conn_data::<Line>();
    if let Some(line) = line.filter(|line| line.refused) {
        return hung_up(Some(line));
    }
    let call = call_of(&request, body);
    let mut now = ehr.now();
    ehr.settle(now);
    if let Some(FaultKind::ClockSkew { seconds }) = ehr.fault(&call, |kind| matches!(kind, FaultKind::ClockSkew { .. })) {
        now = now.saturating_add(seconds.saturating_mul(SECOND));
    }
    let held = ehr.fault(&call, |kind| matches!(kind, FaultKind::PageTimeout { .. }));
    let reply = ehr.reply(&call, now);
    record(&ehr, &call, &reply);
    if let Some(FaultKind::PageTimeout { millis }) = held {
        actix_web::rt::time::sleep(Duration::from_millis(millis)).await;
    }
    match reply {
        Reply::Answer(answer) if breaks_off(&ehr, &call, &answer) => broken_off(answer, now, line),
        Reply::Answer(answer) => response_of(answer, now, accepts_gzip(&call)),
        Reply::Hangup => hung_up(line),
    }
}

fn hung_up(line: Option<&Line>) -> HttpResponse {
    if let Some(line) = line {
        line.hang_up();
    }
    HttpResponse::InternalServerError().force_close().finish()
}

fn breaks_off(ehr: &Ehr, call: &Call, answer: &Answer) -> bool {
    let long = match &answer.body {
        Body::Text(text) => text.len() > 1,
        Body::Bytes(bytes) => bytes.len() > 1,
        Body::Empty | Body::Flood(_) => false,
    };
    long && ehr.fault(call, |kind| *kind == FaultKind::ResetMidBody).is_some()
}

fn record(ehr: &Ehr, call: &Call, reply: &Reply) {
    if call.path.starts_with("/sandbox/") {
        return;
    }
    let status = match reply {
        Reply::Answer(answer) => answer.status,
        Reply::Hangup => 0,
    };
    let path = if call.query.is_empty() { call.path.clone() } else { format!("{}?{}", call.path, call.query) };
    ehr.log.add(RequestRecord { at_micros: ehr.now(), method: call.method.clone(), path, status });
}

fn call_of(request: &HttpRequest, body: Bytes) -> Call {
    let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    Call {
        method: request.method().as_str().to_owned(),
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        headers: headers.collect(),
        body: body.to_vec(),
    }
}

fn accepts_gzip(call: &Call) -> bool {
    call.header("accept-encoding").is_some_and(|header| header.split(',').any(|part| part.trim().starts_with("gzip")))
}

/// Bodies shorter than this are not worth compressing.
const WORTH_COMPRESSING: usize = 2048;

fn headed(answer: &Answer, now: i64) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    for (name, value) in &answer.headers {
        insert(&mut builder, name, value);
    }
    builder.insert_header((DATE, http_date(now)));
    builder
}

fn response_of(answer: Answer, now: i64, gzip: bool) -> HttpResponse {
    let mut builder = headed(&answer, now);
    match answer.body {
        Body::Empty => builder.finish(),
        Body::Flood(bytes) => flood(&mut builder, bytes),
        Body::Bytes(bytes) => builder.body(bytes),
        Body::Text(text) if gzip && text.len() >= WORTH_COMPRESSING => match compressed(text.as_bytes()) {
            Ok(packed) => builder.insert_header((CONTENT_ENCODING, "gzip")).insert_header((VARY, "Accept-Encoding")).body(packed),
            Err(_) => builder.body(text),
        },
        Body::Text(text) => builder.body(text),
    }
}

/// Half of the answer under the length of the whole.
fn broken_off(answer: Answer, now: i64, line: Option<&Line>) -> HttpResponse {
    let whole = match &answer.body {
        Body::Text(text) => Bytes::from(text.clone()),
        Body::Bytes(bytes) => Bytes::from(bytes.clone()),
        Body::Empty | Body::Flood(_) => return response_of(answer, now, false),
    };
    if line.is_none_or(|line| line.end_with_reset().is_err()) {
        tracing::warn!("this connection ends without a reset");
    }
    let mut builder = headed(&answer, now);
    let half = whole.slice(..whole.len() / 2);
    let pieces = stream::unfold(Some(half), |half| async {
        if let Some(half) = half {
            return Some((Ok(half), None));
        }
        // The server writes out what it has only when the body lets it wait.
        tokio::task::yield_now().await;
        Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)), None))
    });
    builder.body(SizedStream::new(whole.len() as u64, Box::pin(pieces)))
}

// A planted value may be nonsense on purpose, but a header that HTTP cannot carry is left out.
fn insert(builder: &mut HttpResponseBuilder, name: &'static str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
        builder.insert_header((name, value));
    }
}

fn compressed(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn flood(builder: &mut HttpResponseBuilder, bytes: u64) -> HttpResponse {
    const BLOCK: u64 = 64 * 1024;
    let block = Bytes::from_static(&[b' '; BLOCK as usize]);
    let blocks = stream::unfold(bytes, move |left| {
        let now = left.min(BLOCK);
        let piece = block.slice(..usize::try_from(now).unwrap_or(0));
        async move { (now > 0).then_some((Ok::<_, std::io::Error>(piece), left - now)) }
    });
    builder.body(SizedStream::new(bytes, Box::pin(blocks)))
}
